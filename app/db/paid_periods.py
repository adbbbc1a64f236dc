"""What is paid for in advance: periods of Razorpay's own subscriptions."""

from datetime import date

from sqlalchemy.orm import Mapped, mapped_column

from app.db.messages import OwnTable
from app.db.shop import SubscriptionId


class PaidPeriod(OwnTable):
    """The latest period of a subscription that an invoice has paid for, as far as a charge has found out.

    It is from `first_date` to before `end_date`. Nothing in it is debited from a mandate as well.
    """

    __tablename__ = "paid_periods"

    subscription_id: Mapped[SubscriptionId] = mapped_column(primary_key=True, autoincrement=False)
    razorpay_subscription_id: Mapped[str]
    razorpay_invoice_id: Mapped[str]
    first_date: Mapped[date]
    end_date: Mapped[date]
