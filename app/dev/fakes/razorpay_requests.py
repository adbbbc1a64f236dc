"""What the fake Razorpay takes: bodies and queries, as strict as the real one's."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from app.dev.fakes.razorpay_errors import Problem

Text = Annotated[str, StringConstraints(min_length=1)]
Paise = Annotated[int, Field(ge=100)]
Notes = Annotated[dict[str, Annotated[str, StringConstraints(max_length=256)]], Field(max_length=15)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NotificationBody(_Body):
    token_id: Text
    payment_after: Annotated[int, Field(ge=0, lt=2**32)]  # seconds since 1970

    @property
    def due(self) -> datetime:
        return datetime.fromtimestamp(self.payment_after, UTC)


class OrderBody(_Body):
    """`POST /orders`."""

    amount: Paise
    currency: Literal["INR"]
    receipt: Annotated[str, StringConstraints(max_length=40)] | None = None
    payment_capture: Literal[True]  # the shop never captures by hand
    notes: Notes = {}
    notification: NotificationBody | None = None


class RecurringBody(_Body):
    """`POST /payments/create/recurring`."""

    email: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$")]
    contact: Annotated[str, StringConstraints(pattern=r"^\+?[0-9]{8,15}$")]
    amount: Paise
    currency: Literal["INR"]
    order_id: Text
    customer_id: Text
    token: Text
    recurring: Literal[True]
    description: str = ""
    notes: Notes = {}


class ListQuery(BaseModel):
    """`GET /orders` and `GET /invoices`. The real one ignores other names, so that a misspelt filter finds all."""

    model_config = ConfigDict(extra="forbid")

    receipt: str | None = None
    subscription_id: str | None = None
    count: int = Field(default=10, ge=1, le=100)
    skip: int = Field(default=0, ge=0)


def problem_of(invalid: ValidationError) -> Problem:
    """The first fault, in words like Razorpay's."""
    error = invalid.errors()[0]
    field = ".".join(map(str, error["loc"]))
    match error["type"]:
        case "missing":
            words = f"The {field} field is required."
        case "extra_forbidden":
            words = f"{field} is/are not required and should not be sent"
        case "greater_than_equal" if field == "amount":
            words = "Order amount less than minimum amount allowed"
        case _:
            words = f"The {field} field is invalid: {error['msg']}"
    return Problem(words, field=field or None)
