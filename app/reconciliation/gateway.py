"""What the gateway has of a date's deliveries."""

import asyncio
import re
from collections.abc import Sequence
from datetime import date

from app.billing.invoice_way import invoice_of
from app.db.shop import SubscriptionId
from app.providers.payments.entities import GatewayOrder, GatewaySubscriptionId
from app.providers.payments.razorpay import Razorpay
from app.reconciliation.ours import OurSides
from app.reconciliation.sides import GatewaySide

# Questions under way at once: quick, and no burst that Razorpay refuses.
MOST_QUESTIONS = 10


class GatewaySides:
    """Asks the gateway about a date. It only reads. Raises what its questions raise."""

    def __init__(self, gateway: Razorpay, day: date) -> None:
        self._gateway = gateway
        self._day = day
        # "-own" is a second order, made because the first was announced for another mandate.
        self._receipt = re.compile(rf"sub-([1-9][0-9]{{0,8}})-{day:%Y%m%d}(-own)?")
        self._turns = asyncio.Semaphore(MOST_QUESTIONS)

    async def orders(self) -> dict[SubscriptionId, list[GatewaySide]]:
        """All orders with a receipt of the date's deliveries, as they say themselves how they stand."""
        by_subscription: dict[SubscriptionId, list[GatewaySide]] = {}
        for order in await self._gateway.orders_like(f"-{self._day:%Y%m%d}"):
            if found := self._receipt.fullmatch(order.receipt or ""):
                by_subscription.setdefault(SubscriptionId(int(found[1])), []).append(_side(order))
        return by_subscription

    async def looked_up(self, ours: Sequence[OurSides]) -> list[list[GatewaySide]]:
        """What there is of each, with the captured payments of every order that anybody tried to pay."""
        return await asyncio.gather(*map(self._look_up, ours))

    async def _look_up(self, ours: OurSides) -> list[GatewaySide]:
        async with self._turns:
            if ours.ledger is not None and ours.ledger.way == "invoice":
                return await self._invoices(ours)
            found = await self._gateway.orders_like(f"sub-{ours.subscription_id}-{self._day:%Y%m%d}")
            return [await self._with_payments(order) for order in found if self._receipt.fullmatch(order.receipt or "")]

    async def _with_payments(self, order: GatewayOrder) -> GatewaySide:
        payments = await self._gateway.payments_of(order.id, amount=None) if order.attempts else []
        return _side(order, [payment.id for payment in payments if payment.status in ("captured", "refunded")])

    async def _invoices(self, ours: OurSides) -> list[GatewaySide]:
        """The invoice that the charge was settled by, or else the one whose window holds the date."""
        if ours.ledger is None or not ours.gateway_subscription:
            return []
        invoices = await self._gateway.invoices(GatewaySubscriptionId(ours.gateway_subscription))
        known = ours.ledger.invoice
        found = next((each for each in invoices if each.id == known), None) or invoice_of(self._day, invoices)
        if found is None:
            return []
        captured = [found.payment_id] if found.status == "paid" and found.payment_id else []
        return [GatewaySide(found.id, found.amount, found.status, len(captured), captured)]


def _side(order: GatewayOrder, captured: Sequence[str] | None = None) -> GatewaySide:
    return GatewaySide(order.id, order.amount, order.status, order.attempts, captured)
