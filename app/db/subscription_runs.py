"""The midnight runs: how far each came, what it planned, and what stopped it."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db.messages import OwnTable
from app.db.shop import SubscriptionId


class SubscriptionRun(OwnTable):
    """The planning of one delivery date. All who plan it share the row, and do its pages by turns.

    Subscriptions up to the id `position` were looked at. What is due of them all the same others held, or was resumed
    since: it is planned before the run has finished. `skipped` counts deliveries by reason; `outcomes` has
    `{state: {"charges": number, "paise": number}}` as of `outcomes_at`, among those refused how many were
    `not_charged_in_time`; `reported` are the figures that the owner was last told.
    """

    __tablename__ = "subscription_runs"
    __table_args__ = (CheckConstraint("(paused_at IS NULL) = (paused_because IS NULL)", name="paused_because"),)

    delivery_date: Mapped[date] = mapped_column(primary_key=True)
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_by: Mapped[str]
    position: Mapped[SubscriptionId] = mapped_column(server_default=text("0"))
    finished_at: Mapped[datetime | None]
    charges: Mapped[int] = mapped_column(server_default=text("0"))
    charges_paise: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    skipped: Mapped[dict[str, int]] = mapped_column(JSONB, server_default=text("'{}'"))
    notices: Mapped[int] = mapped_column(server_default=text("0"))
    paused_at: Mapped[datetime | None]
    paused_because: Mapped[str | None]
    # Whoever resumed it has seen why it paused: it does not pause again.
    resumed_at: Mapped[datetime | None]
    resumed_by: Mapped[str | None]
    outcomes: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    outcomes_at: Mapped[datetime | None]
    reported: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    reported_at: Mapped[datetime | None]
