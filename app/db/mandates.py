"""What we may debit a customer by, and the notice that has to come before a debit."""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import BigInteger, CheckConstraint, Numeric, func
from sqlalchemy.orm import Mapped, mapped_column

from app.db.messages import OwnTable
from app.db.shop import ProductId, SubscriptionId


class Mandate(OwnTable):
    """A token at Razorpay that a subscription's deliveries may be debited from; the shop's backend writes it.

    `max_amount` is in rupees, None where the mandate has no limit.
    """

    __tablename__ = "mandates"

    # No foreign key: our migrations need no rights on the shop's tables, and the shop may delete what it owns.
    subscription_id: Mapped[SubscriptionId] = mapped_column(primary_key=True, autoincrement=False)
    customer_id: Mapped[str]
    token_id: Mapped[str]
    method: Mapped[str]
    max_amount: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    expires_at: Mapped[datetime | None]


class DebitNotice(OwnTable):
    """A delivery whose debit the bank announces days ahead, and the amount that it announces.

    It is to be made while `razorpay_order_id` and `refusal` (the gateway's reason) are None. `token_id` and `asked_at`
    are on record before the gateway is asked, so what it may have made without our hearing of it is known: a debit
    from that token for `product_id`, good for no other mandate or product. That it was made promises no delivery: the
    customer may pause before the day, and the order then stays unpaid.
    """

    __tablename__ = "debit_notices"
    __table_args__ = (CheckConstraint("amount_paise >= 100", name="amount_paise"),)

    # The date first, as in the charges.
    delivery_date: Mapped[date] = mapped_column(primary_key=True)
    subscription_id: Mapped[SubscriptionId] = mapped_column(primary_key=True, autoincrement=False)
    product_id: Mapped[ProductId | None]
    amount_paise: Mapped[int] = mapped_column(BigInteger)
    token_id: Mapped[str | None]
    asked_at: Mapped[datetime | None]
    razorpay_order_id: Mapped[str | None]
    refusal: Mapped[str | None]
    planned_at: Mapped[datetime] = mapped_column(server_default=func.now())
