"""Which deliveries their customers were reminded of."""

from datetime import date, datetime

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from app.db.messages import OwnTable
from app.db.shop import SubscriptionId


class Reminder(OwnTable):
    """A delivery whose customer gets, or got, a reminder; the row is what makes it happen once."""

    __tablename__ = "reminders"

    # The date first, as in the charges.
    delivery_date: Mapped[date] = mapped_column(primary_key=True)
    subscription_id: Mapped[SubscriptionId] = mapped_column(primary_key=True, autoincrement=False)
    reminded_at: Mapped[datetime] = mapped_column(server_default=func.now())
