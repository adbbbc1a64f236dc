"""What Razorpay has, as far as we read it: never a customer's card, address or number.

Whatever is kept or logged of its answers is made from these, so it holds nothing personal either.
"""

from datetime import UTC, datetime
from typing import Annotated, Final, Generic, Literal, NewType, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Paise = NewType("Paise", int)
"""Hundredths of a rupee."""

GatewayOrderId = NewType("GatewayOrderId", str)
GatewayPaymentId = NewType("GatewayPaymentId", str)
GatewaySubscriptionId = NewType("GatewaySubscriptionId", str)
InvoiceId = NewType("InvoiceId", str)

CURRENCY: Final = "INR"
_LAST_SECOND: Final = 253_402_300_799  # of the year 9999


def _time(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if type(value) is not int or not 0 <= value <= _LAST_SECOND:
        raise ValueError("must be a time in seconds since 1970")
    return datetime.fromtimestamp(value, UTC)


OrderIdText = Annotated[GatewayOrderId, Field(pattern=r"^order_[A-Za-z0-9]+$")]
PaymentIdText = Annotated[GatewayPaymentId, Field(pattern=r"^pay_[A-Za-z0-9]+$")]
SubscriptionIdText = Annotated[GatewaySubscriptionId, Field(pattern=r"^sub_[A-Za-z0-9]+$")]
InvoiceIdText = Annotated[InvoiceId, Field(pattern=r"^inv_[A-Za-z0-9]+$")]
Amount = Annotated[Paise, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Time = Annotated[datetime, BeforeValidator(_time)]


class Entity(BaseModel):
    """Strict: the text "4500" is no amount. Fields that are not named are not kept."""

    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)


class GatewayOrder(Entity):
    """What is to be paid once, by any number of attempts."""

    id: OrderIdText
    receipt: str | None
    amount: Amount
    amount_paid: Amount
    currency: Literal["INR"]
    status: Literal["created", "attempted", "paid"]
    attempts: Count
    created_at: Time

    @model_validator(mode="after")
    def _paid_is_paid_in_full(self) -> Self:
        if self.status == "paid" and self.amount_paid != self.amount:
            raise ValueError(f"paid, but only {self.amount_paid} of {self.amount} paise")
        return self


class GatewayPayment(Entity):
    """One attempt to pay an order. `error_*` say why it failed; the description is written for the customer."""

    id: PaymentIdText
    order_id: OrderIdText
    amount: Amount
    currency: Literal["INR"]
    status: Literal["created", "authorized", "captured", "refunded", "failed"]
    error_code: str | None = None
    error_reason: str | None = None
    error_description: str | None = None
    created_at: Time


class GatewaySubscription(Entity):
    """A subscription that Razorpay charges by itself."""

    id: SubscriptionIdText
    status: Literal[
        "created", "authenticated", "active", "pending", "halted", "paused", "cancelled", "completed", "expired"
    ]


class Invoice(Entity):
    """The bill of one period of a subscription."""

    id: InvoiceIdText
    subscription_id: SubscriptionIdText
    order_id: OrderIdText | None
    payment_id: PaymentIdText | None
    status: Literal["draft", "issued", "partially_paid", "paid", "expired", "cancelled", "deleted"]
    amount: Amount
    currency: Literal["INR"]
    billing_start: Time | None
    billing_end: Time | None
    paid_at: Time | None

    @model_validator(mode="after")
    def _paid_by_a_payment(self) -> Self:
        if self.status == "paid" and (self.payment_id is None or self.paid_at is None):
            raise ValueError("paid, but by no payment")
        return self


class AcceptedDebit(Entity):
    """The answer to a recurring payment: taken on, not paid."""

    razorpay_payment_id: PaymentIdText
    razorpay_order_id: OrderIdText | None = None


E = TypeVar("E", bound=Entity)


class Listing(Entity, Generic[E]):
    """A list, or a page of one."""

    entity: Literal["collection"]
    count: Count
    items: list[E]

    @model_validator(mode="after")
    def _count_is_true(self) -> Self:
        if self.count != len(self.items):
            raise ValueError(f"has {len(self.items)} items, and says {self.count}")
        return self
