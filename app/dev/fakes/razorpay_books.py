"""The fake Razorpay's books: mandates, orders, payments, subscriptions, invoices, and what was captured."""

import heapq
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from app.dev.fakes.provider import Clock

PaymentStatus = Literal["created", "authorized", "captured", "refunded", "failed"]
Step = Literal["authorize", "capture", "fail", "refund"]

STATUS_AFTER: dict[Step, PaymentStatus] = {
    "authorize": "authorized",
    "capture": "captured",
    "fail": "failed",
    "refund": "refunded",
}
# What may follow: "failed" to "captured" is a bank that authorises late. Nothing but a refund follows a capture.
_FOLLOWS: dict[PaymentStatus, frozenset[PaymentStatus]] = {
    "created": frozenset({"authorized", "captured", "failed"}),
    "authorized": frozenset({"captured", "failed"}),
    "failed": frozenset({"authorized", "captured"}),
    "captured": frozenset({"refunded"}),
    "refunded": frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mandate:
    """A customer's leave to debit him. Amounts are paise; `max_amount` None sets no limit."""

    customer_id: str
    token_id: str
    method: Literal["upi", "card"] = "upi"
    status: Literal["initiated", "confirmed", "rejected", "paused", "cancelled"] = "confirmed"
    max_amount: int | None = None
    expires_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class Order:
    id: str
    receipt: str | None
    amount: int
    notes: dict[str, str]
    created_at: datetime
    token_id: str | None = None  # of the pre-debit notice
    payment_after: datetime | None = None
    payments: list["Payment"] = field(default_factory=list, repr=False)

    @property
    def amount_paid(self) -> int:
        """The whole amount or nothing, given back or not; that it was captured twice `Books.captured` tells."""
        return self.amount if any(payment.status in ("captured", "refunded") for payment in self.payments) else 0

    @property
    def status(self) -> str:
        return "paid" if self.amount_paid else "attempted" if self.payments else "created"


@dataclass(slots=True, kw_only=True)
class Payment:
    id: str
    order: Order
    mandate: Mandate | None
    status: PaymentStatus
    email: str
    contact: str
    description: str
    notes: dict[str, str]
    created_at: datetime
    reason: str | None = None
    invoice_id: str | None = None


@dataclass(slots=True, kw_only=True)
class Subscription:
    id: str
    customer_id: str
    status: str = "active"
    paid_count: int = 0
    current_start: datetime | None = None
    current_end: datetime | None = None
    charge_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class Invoice:
    id: str
    subscription_id: str
    order: Order
    status: str
    billing_start: datetime
    billing_end: datetime
    payment_id: str | None = None
    paid_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Captured:
    """Money that was taken, whether it was given back later or not. `amount` is paise."""

    payment_id: str
    order_id: str
    receipt: str | None
    amount: int
    at: datetime


@dataclass
class Books:
    """All that there is, in the order in which it came."""

    clock: Clock
    mandates: dict[str, Mandate] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    payments: dict[str, Payment] = field(default_factory=dict)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    invoices: dict[str, Invoice] = field(default_factory=dict)
    _by_receipt: dict[str, list[Order]] = field(default_factory=dict)
    _captured: list[Captured] = field(default_factory=list)
    _due: list[tuple[datetime, str]] = field(default_factory=list)  # payments that capture themselves

    def captured(self, *, receipt: str | None = None, order_id: str | None = None) -> list[Captured]:
        """What was captured by now, oldest first: of one receipt, one order, or all."""
        self.catch_up()
        return [
            each
            for each in self._captured
            if receipt in (None, each.receipt) and (order_id is None or order_id == each.order_id)
        ]

    def add_order(self, order: Order) -> None:
        self.orders[order.id] = order
        if order.receipt is not None:
            self._by_receipt.setdefault(order.receipt, []).append(order)

    def orders_with(self, receipt: str | None) -> list[Order]:
        """Those with exactly this receipt, oldest first; none for None."""
        return list(self._by_receipt.get(receipt, ())) if receipt else []

    def add_payment(self, payment: Payment, *, captures_at: datetime | None = None) -> None:
        """Enter an attempt at its order. `captures_at` None leaves it to explicit steps."""
        self.payments[payment.id] = payment
        payment.order.payments.append(payment)
        if captures_at is not None:
            heapq.heappush(self._due, (captures_at, payment.id))
        self.catch_up()

    def move(self, payment: Payment, status: PaymentStatus, reason: str | None = None) -> None:
        """Raises ValueError where that can't follow."""
        if status not in _FOLLOWS[payment.status]:
            raise ValueError(f"a payment that is {payment.status} can't become {status}")
        payment.status = status
        payment.reason = reason
        if status == "captured":
            order = payment.order
            self._captured.append(Captured(payment.id, order.id, order.receipt, order.amount, self.clock()))

    def catch_up(self) -> None:
        """Capture what was to be captured by now."""
        while self._due and self._due[0][0] <= self.clock():
            payment = self.payments[heapq.heappop(self._due)[1]]
            if payment.status in ("created", "authorized"):
                self.move(payment, "captured")

    def issue(
        self, subscription: Subscription, *, amount: int, billing_start: datetime, billing_end: datetime, paid: bool
    ) -> Invoice:
        """The bill of a period; `paid` charges it at once. Raises ValueError where its subscription is halted."""
        if paid:
            _charges(subscription)
        now = self.clock()
        order = Order(id=new_id("order"), receipt=None, amount=amount, notes={}, created_at=now)
        invoice = Invoice(
            id=new_id("inv"),
            subscription_id=subscription.id,
            order=order,
            status="issued",
            billing_start=billing_start,
            billing_end=billing_end,
        )
        self.add_order(order)
        self.invoices[invoice.id] = invoice
        subscription.current_start, subscription.current_end = billing_start, billing_end
        subscription.charge_at = billing_end
        if paid:
            self.pay(invoice)
        return invoice

    def pay(self, invoice: Invoice) -> None:
        """Raises ValueError where the invoice is not open, or its subscription is halted."""
        subscription = self.subscriptions[invoice.subscription_id]
        _charges(subscription)
        if invoice.status != "issued":
            raise ValueError(f"the invoice is {invoice.status}")
        now = self.clock()
        payment = Payment(
            id=new_id("pay"),
            order=invoice.order,
            mandate=None,
            status="authorized",
            email="",
            contact="",
            description="",
            notes={},
            created_at=now,
            invoice_id=invoice.id,
        )
        self.add_payment(payment)
        self.move(payment, "captured")
        invoice.status, invoice.payment_id, invoice.paid_at = "paid", payment.id, now
        subscription.paid_count += 1


def _charges(subscription: Subscription) -> None:
    if subscription.status in ("halted", "cancelled", "completed", "expired"):
        raise ValueError(f"a subscription that is {subscription.status} charges nothing")


def new_id(kind: str) -> str:
    """Unlike those of an earlier run: the shop keeps payment ids for good."""
    return f"{kind}_{secrets.token_hex(7)}"
