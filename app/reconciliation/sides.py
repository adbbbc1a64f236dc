"""A delivery as each of the three sides has it. Amounts are paise."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.db.charges import ChargeState, Way
from app.db.shop import OrderStatus, PaymentStatus, SubscriptionId


@dataclass(frozen=True, slots=True)
class LedgerSide:
    """The charge. `was_refused`: it was captured, or may yet be, after a refusal."""

    state: ChargeState
    way: Way
    paise: int
    reason: str | None
    is_owed: bool
    was_refused: bool
    gateway_order: str | None
    gateway_payment: str | None
    invoice: str | None


@dataclass(frozen=True, slots=True)
class ShopPayment:
    """A row of the shop's payments, under the gateway's id."""

    gateway_payment: str
    paise: int
    status: PaymentStatus


@dataclass(frozen=True, slots=True)
class ShopSide:
    """The order made for the delivery, and the payments on record for it."""

    order_number: str
    paise: int
    payment_status: PaymentStatus
    order_status: OrderStatus
    payments: Sequence[ShopPayment]


@dataclass(frozen=True, slots=True)
class GatewaySide:
    """One order at the gateway, or one invoice. `captured` are its captured payments, None where nobody asked;
    `refunded` those whose money was given back since."""

    id: str
    paise: int
    status: str
    attempts: int
    captured: Sequence[str] | None = None
    refunded: Sequence[str] = ()

    @property
    def is_paid(self) -> bool:
        return self.status == "paid" or bool(self.captured)

    @property
    def is_given_back(self) -> bool:
        return bool(self.refunded) and not self.captured


@dataclass(frozen=True, slots=True)
class Delivery:
    """One subscription on the date. A side that knows nothing of it is None; the gateway may have several orders."""

    subscription_id: SubscriptionId
    ledger: LedgerSide | None
    shop: ShopSide | None
    gateway: Sequence[GatewaySide] = ()
