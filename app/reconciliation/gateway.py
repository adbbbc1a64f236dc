"""What the gateway has of a date's deliveries."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date

from app.billing.invoice_way import invoice_of
from app.db.shop import SubscriptionId
from app.deliveries.names import receipt, receipts, subscription_of
from app.providers.payments.answers import UnknownToGateway
from app.providers.payments.entities import GatewayOrder, GatewaySubscriptionId, Invoice, InvoiceId
from app.providers.payments.razorpay import Razorpay
from app.reconciliation.ours import OurSides
from app.reconciliation.sides import GatewaySide, LedgerSide

# Questions under way at once: quick, and no burst that Razorpay refuses.
MOST_QUESTIONS = 10


class GatewaySides:
    """Asks the gateway about a date. It only reads. Raises what its questions raise."""

    def __init__(self, gateway: Razorpay, day: date) -> None:
        self._gateway = gateway
        self._day = day
        self._turns = asyncio.Semaphore(MOST_QUESTIONS)

    async def orders(self) -> dict[SubscriptionId, Sequence[GatewaySide]]:
        """All orders with a receipt of the date's deliveries, as they say themselves how they stand."""
        by_subscription: dict[SubscriptionId, Sequence[GatewaySide]] = {}
        async for order in self._gateway.orders_like(receipts(self._day)):
            subscription_id = subscription_of(order.receipt, self._day)
            if subscription_id is not None:
                others = [each for each in by_subscription.get(subscription_id, ()) if each.id != order.id]
                # There may be a million: a tuple is the smallest that holds one.
                by_subscription[subscription_id] = (*others, _side(order))
        return by_subscription

    async def looked_up(self, ours: Sequence[OurSides]) -> list[list[GatewaySide]]:
        """What there is of each, with the payments of every order that anybody tried to pay."""
        return await asyncio.gather(*map(self._look_up, ours))

    async def _look_up(self, ours: OurSides) -> list[GatewaySide]:
        async with self._turns:
            if ours.ledger is not None and ours.ledger.way == "invoice":
                invoice = await self._invoice(ours, ours.ledger)
                return [] if invoice is None else [_invoice_side(invoice)]
            found: Mapping[str, GatewayOrder] = {
                order.id: order
                async for order in self._gateway.orders_like(receipt(self._day, ours.subscription_id))
                if subscription_of(order.receipt, self._day) == ours.subscription_id
            }
            return [await self._with_payments(order) for order in found.values()]

    async def _with_payments(self, order: GatewayOrder) -> GatewaySide:
        payments = await self._gateway.payments_of(order.id, amount=None) if order.attempts else []
        captured, refunded = (
            [payment.id for payment in payments if payment.status == status] for status in ("captured", "refunded")
        )
        return _side(order, captured, refunded)

    async def _invoice(self, ours: OurSides, ledger: LedgerSide) -> Invoice | None:
        """The invoice that the charge was settled by, or else the one whose window holds the date."""
        if ledger.invoice is not None:
            with suppress(UnknownToGateway):
                # It may be of an earlier subscription at the gateway than there is now.
                return await self._gateway.invoice(InvoiceId(ledger.invoice))
        if ours.gateway_subscription:
            # The shop's tables may hold anything.
            with suppress(UnknownToGateway):
                invoices = await self._gateway.invoices(GatewaySubscriptionId(ours.gateway_subscription))
                return invoice_of(self._day, invoices)
        return None


def _side(order: GatewayOrder, captured: Sequence[str] | None = None, refunded: Sequence[str] = ()) -> GatewaySide:
    return GatewaySide(order.id, order.amount, order.status, order.attempts, captured, refunded)


def _invoice_side(invoice: Invoice) -> GatewaySide:
    captured = [invoice.payment_id] if invoice.status == "paid" and invoice.payment_id else []
    return GatewaySide(invoice.id, invoice.amount, invoice.status, len(captured), captured)
