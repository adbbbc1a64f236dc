"""Schedules as operators steer them, and what became of each of their slots."""

from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.messages import OwnTable

SlotOutcome = Literal["fired", "missed", "skipped_paused", "by_hand"]


class ScheduleState(OwnTable):
    """A schedule, named after its task. Every slot up to `settled_until` has become what its run says."""

    __tablename__ = "schedules"

    name: Mapped[str] = mapped_column(primary_key=True)
    # Nothing is caught up from before a schedule was first known.
    settled_until: Mapped[datetime] = mapped_column(server_default=func.now())
    paused_at: Mapped[datetime | None]
    paused_by: Mapped[str | None]


class ScheduleRun(OwnTable):
    """What became of a slot. One that started a job says which and when; by hand, the slot is when that was asked."""

    __tablename__ = "schedule_runs"
    __table_args__ = (
        CheckConstraint(f"outcome IN {get_args(SlotOutcome)}", name="outcome"),
        CheckConstraint("(fired_at IS NOT NULL) = (outcome IN ('fired', 'by_hand'))", name="fired_at"),
        # For the last run of each.
        Index("schedule_runs_fired_idx", "schedule", "fired_at", postgresql_where=text("fired_at IS NOT NULL")),
    )

    schedule: Mapped[str] = mapped_column(ForeignKey(ScheduleState.name), primary_key=True)
    slot: Mapped[datetime] = mapped_column(primary_key=True)
    outcome: Mapped[SlotOutcome] = mapped_column(Text)
    job_id: Mapped[str | None]
    fired_at: Mapped[datetime | None]
