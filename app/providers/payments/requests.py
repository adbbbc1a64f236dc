"""What Razorpay is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from app.providers.payments.entities import Paise


@dataclass(frozen=True, slots=True)
class Notice:
    """The pre-debit notice that goes out with an order; the debit may be asked for at `payment_after` or later."""

    token_id: str
    payment_after: datetime


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order to be made. `receipt` is our name for it (at most 40 characters), `notes` hold nothing personal."""

    receipt: str
    amount: Paise
    notes: Mapping[str, str] = field(default_factory=dict)
    notice: Notice | None = None


@dataclass(frozen=True, slots=True)
class Debit:
    """What an order is to be paid by: the customer's mandate, and whom the bank tells."""

    customer_id: str
    token_id: str
    email: str = field(repr=False)
    contact: str = field(repr=False)  # E.164
    description: str
    notes: Mapping[str, str] = field(default_factory=dict)
