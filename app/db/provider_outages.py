"""When providers of mail and SMS were left alone, and why."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from app.db.messages import OwnTable


class ProviderOutage(OwnTable):
    """A time in which a provider got probes only: `reason` is what failed last before it.

    `closed_at` is empty while it lasts.
    """

    __tablename__ = "provider_outages"

    provider: Mapped[str] = mapped_column(primary_key=True)
    opened_at: Mapped[datetime] = mapped_column(primary_key=True)
    reason: Mapped[str]
    closed_at: Mapped[datetime | None]
