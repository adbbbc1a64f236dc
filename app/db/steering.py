"""What operators decided: which queues are paused, and who did what."""

from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db.messages import OwnTable

AuditResult = Literal["done", "refused", "failed"]


class QueuePause(OwnTable):
    """A queue from which nobody claims. Redis tells workers; this is what Redis is told again when it forgot."""

    __tablename__ = "queue_pauses"

    queue: Mapped[str] = mapped_column(primary_key=True)
    paused_at: Mapped[datetime]
    paused_by: Mapped[str]


class AuditEntry(OwnTable):
    """An action of an operator: it is written once, and the database refuses to change it.

    `source` is where it came from, as "api 203.0.113.7" or "cli asha@shop". `details` name no argument that is hidden.
    """

    __tablename__ = "audit"
    __table_args__ = (
        CheckConstraint(f"result IN {get_args(AuditResult)}", name="result"),
        Index(None, "at", "id"),
    )

    # Made by whoever acts, so that a record which is written late is written once.
    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    actor: Mapped[str]
    role: Mapped[str]
    source: Mapped[str]
    action: Mapped[str]
    object_type: Mapped[str]
    object_id: Mapped[str | None]
    details: Mapped[dict[str, Any]] = mapped_column(JSONB)
    result: Mapped[AuditResult] = mapped_column(Text)
