"""A date compared three ways, as it is shown."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from datetime import date as Date  # noqa: N812 -- beside a field of that name
from decimal import Decimal
from typing import Self

from pydantic import BaseModel, ConfigDict, SecretStr

from app.billing.gateway import GuardedRazorpay
from app.db.charges import ChargeState, Way
from app.db.engine import Database
from app.db.shop import OrderStatus, PaymentStatus
from app.deliveries.days import end_of_day
from app.errors import Refused
from app.jobs.breaker import Breaker
from app.jobs.breaker_store import BreakerStore
from app.jobs.pool import JobPool
from app.money import rupees_of
from app.operations import examples
from app.providers.http import http_client
from app.providers.payments.razorpay import Razorpay
from app.reconciliation.discrepancies import Discrepancy, DiscrepancyKind
from app.reconciliation.gateway import MOST_QUESTIONS
from app.reconciliation.reconcile import Reconciliation
from app.reconciliation.sides import Delivery
from app.settings import GatewaySettings
from app.tasks.resources import breaker_rules

# What one answer lists; the totals count all.
MOST_DISCREPANCIES = 1_000


class NoGateway(Refused):
    """The settings name no account at the gateway."""

    def __str__(self) -> str:
        return "RAZORPAY_KEY_ID and RAZORPAY_KEY_SECRET are not set, so that the gateway can not be asked"


class ChargeSide(BaseModel):
    """What the ledger has."""

    state: ChargeState
    way: Way
    amount: Decimal
    reason: str | None
    owed: bool
    razorpay_order_id: str | None
    razorpay_payment_id: str | None
    razorpay_invoice_id: str | None


class OrderSide(BaseModel):
    """What the shop has: its order, and the payments on record for it."""

    order_number: str
    amount: Decimal
    payment_status: PaymentStatus
    order_status: OrderStatus
    payments: list[str]


class GatewayOrderSide(BaseModel):
    """What the gateway has: an order or an invoice, the payments captured for it, and those given back since."""

    id: str
    amount: Decimal
    status: str
    attempts: int
    captured: list[str]
    refunded: list[str]


class DiscrepancyView(BaseModel):
    """One thing that is wrong with a delivery, or waits for a person: what each side says, and what can be done."""

    kind: DiscrepancyKind
    subscription_id: int
    delivery_date: date
    sentence: str
    next_step: str
    ledger: ChargeSide | None
    shop: OrderSide | None
    gateway: list[GatewayOrderSide]

    @classmethod
    def of(cls, discrepancy: Discrepancy) -> Self:
        delivery = discrepancy.delivery
        return cls(
            kind=discrepancy.kind,
            subscription_id=delivery.subscription_id,
            delivery_date=discrepancy.delivery_date,
            sentence=discrepancy.sentence,
            next_step=discrepancy.next_step,
            ledger=_ledger(delivery),
            shop=_shop(delivery),
            gateway=[
                GatewayOrderSide(
                    id=order.id,
                    amount=rupees_of(order.paise),
                    status=order.status,
                    attempts=order.attempts,
                    captured=list(order.captured or ()),
                    refunded=list(order.refunded),
                )
                for order in delivery.gateway
            ],
        )


class ReconciliationView(BaseModel):
    """A date compared: deliveries by state of their charge, captured rupees, and what differs, counted by kind."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.RECONCILIATION]})

    date: Date
    deliveries: Mapping[ChargeState, int]
    captured: Decimal
    discrepancies: Mapping[DiscrepancyKind, int]
    items: Sequence[DiscrepancyView]


class DeliveryReconciliation:
    """Compares the ledger, the shop and the gateway for a date. It only reads; it is to be read once.

    Raises DatabaseUnavailable, and the failures of questions to the gateway.
    """

    def __init__(
        self,
        database: Database,
        gateway: Razorpay,
        day: date,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._day = day
        self._reconciliation = Reconciliation(database, gateway, day, day_is_over=now() >= end_of_day(day))

    async def discrepancies(
        self, told: Callable[[int, int], None] = lambda _done, _all: None
    ) -> AsyncIterator[DiscrepancyView]:
        """By subscription. `told` hears how many of the deliveries in doubt were looked up, and of how many."""
        async for discrepancy in self._reconciliation.discrepancies(told):
            yield DiscrepancyView.of(discrepancy)

    def summary(self, items: Sequence[DiscrepancyView]) -> ReconciliationView:
        """What was read so far, with these discrepancies."""
        totals = self._reconciliation.totals
        return ReconciliationView(
            date=self._day,
            deliveries=totals.deliveries,
            captured=rupees_of(totals.captured_paise),
            discrepancies=totals.discrepancies,
            items=items,
        )

    async def whole(self, most: int = MOST_DISCREPANCIES) -> ReconciliationView:
        """All of it, with the first of the discrepancies."""
        items: list[DiscrepancyView] = []
        async for discrepancy in self.discrepancies():
            if len(items) < most:
                items.append(discrepancy)
        return self.summary(items)


@asynccontextmanager
async def open_gateway(settings: GatewaySettings, pool: JobPool) -> AsyncIterator[Razorpay]:
    """The gateway, to be asked: left alone while the workers leave it alone, whose breaker it shares.

    Raises NoGateway.
    """
    if settings.razorpay_key_id is None or settings.razorpay_key_secret is None:
        raise NoGateway
    store = BreakerStore(pool.connection_pool)
    try:
        async with http_client(max_connections=MOST_QUESTIONS) as client:
            gateway = GuardedRazorpay(
                client,
                Breaker(Razorpay.name, store, breaker_rules(settings)),
                base_url=settings.razorpay_base_url,
                key_id=settings.razorpay_key_id,
                key_secret=SecretStr(settings.razorpay_key_secret.get_secret_value()),
            )
            try:
                yield gateway
            finally:
                await gateway.aclose()
    finally:
        await store.aclose()


def _ledger(delivery: Delivery) -> ChargeSide | None:
    side = delivery.ledger
    if side is None:
        return None
    return ChargeSide(
        state=side.state,
        way=side.way,
        amount=rupees_of(side.paise),
        reason=side.reason,
        owed=side.is_owed,
        razorpay_order_id=side.gateway_order,
        razorpay_payment_id=side.gateway_payment,
        razorpay_invoice_id=side.invoice,
    )


def _shop(delivery: Delivery) -> OrderSide | None:
    side = delivery.shop
    if side is None:
        return None
    return OrderSide(
        order_number=side.order_number,
        amount=rupees_of(side.paise),
        payment_status=side.payment_status,
        order_status=side.order_status,
        payments=[payment.gateway_payment for payment in side.payments],
    )
