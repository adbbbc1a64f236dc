"""Debiting a delivery from the customer's mandate, at most once whoever dies, doubles or times out."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

from app.billing.failures import ChargeLater, later
from app.billing.finding import Finding, doubt, evidence_of, evidence_of_order, from_payment, from_payments, refusal
from app.billing.ledger import ChargeLedger, Right
from app.billing.record import ChargeRecord
from app.billing.settling import Skip, why_unwanted
from app.billing.telling import NOT_CHARGED_IN_TIME
from app.db.charges import SkipReason
from app.deliveries.days import end_of_day
from app.errors import NotDone, Unavailable
from app.notify.recipients import payer_phone, usable_email
from app.providers.failures import ProviderFailure, ProviderOutcomeUnknown, ProviderRefused
from app.providers.payments.entities import GatewayOrder, GatewayOrderId, GatewayPaymentId
from app.providers.payments.razorpay import Razorpay
from app.providers.payments.requests import Debit, OrderRequest
from app.providers.payments.standing import Standing

# How long a request to pay can be under way at the hands of whoever has the right, and a lease.
PAYING_TAKES: Final = timedelta(seconds=60)
# How long an order must have stayed without any attempt to pay it, until the request for one counts as lost.
LOST_AFTER: Final = timedelta(hours=2)
# Whom Razorpay writes to where the customer has no address. Source: Razorpay, payments without an e-mail address.
NO_EMAIL: Final = "void@razorpay.com"
INTERRUPTED: Final = "interrupted"

Hold = Callable[[], None]


class MandateWay:
    """Charges by our own orders and recurring payments.

    `hold` raises where the job may be another worker's by now. What returns None has moved the charge, or found that
    others had: look at it again. Raises Unavailable where it has to wait, having done nothing.
    """

    def __init__(
        self, ledger: ChargeLedger, gateway: Razorpay, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._ledger = ledger
        self._gateway = gateway
        self._now = now

    async def begin(self, record: ChargeRecord) -> ChargeRecord | None:
        """Begins to charge a planned delivery; as it was where it has to wait for another debit of the mandate."""
        if self._is_over(record):
            waited = record.token_id is not None
            return await self._ledger.settle(record, Skip("debit_under_way" if waited else "not_charged_in_time"))
        why = _why_unwanted(record)
        if why is not None:
            return await self._ledger.settle(record, Skip(why))
        waits = await self._ledger.begin(record)
        return replace(record, token_id=record.mandate_token_id) if waits else None

    async def submit(self, record: ChargeRecord, hold: Hold, look: int | None = None) -> ChargeRecord | None:
        """Goes on with a charge that is on record as being submitted, and that nobody has the right to have paid."""
        try:
            order = await self._order(record)
        except ProviderRefused as refused:
            return await self._ledger.settle(record, refusal(refused, None), look)
        except ProviderOutcomeUnknown as failed:
            return await self._ledger.settle(record, doubt(failed, None, None), look)
        except Unavailable:
            if not self._is_over(record):
                raise
            # Nobody had the right to have it paid. What was paid before a backup was restored is looked for later.
            return await self._ledger.settle(record, _not_in_time(None), look)
        if order.status != "created" or order.attempts:
            # Restored from a backup, or another system: what was paid before is what counts.
            return await self._settle_paid(record, order, look)
        if self._is_over(record):
            return await self._ledger.settle(record, _not_in_time(order), look)
        why = _why_unwanted(record)
        if why is None and record.token_id != record.mandate_token_id:
            # Its customer is that of another mandate by now.
            why = "mandate_replaced"
        if why is not None:
            return await self._ledger.settle(record, Skip(why))
        right = Right(record.key, order.id, uuid4().hex)
        if not await self._ledger.take_right(right):
            return None
        try:
            hold()
        except BaseException:
            await self._ledger.give_back(right)
            raise
        paying = replace(record, razorpay_order_id=order.id, payer=right.payer, paying_since=self._now())
        return await self._ledger.settle(paying, await self._pay(paying, right), look)

    async def ask(self, record: ChargeRecord, look: int | None) -> ChargeRecord | None:
        """Settles a charge by what the gateway says of it; begins it anew where nobody can have tried to pay it."""
        order_id = record.razorpay_order_id
        try:
            if order_id is None:
                found = await self._gateway.find_order(record.receipt, record.amount_paise)
                if found is None:
                    return await self._go_on_unpaid(record, None, look)
                order_id = found.id
            payments = await self._gateway.payments_of(order_id, amount=record.amount_paise)
            if payments:
                return await self._ledger.settle(record, from_payments(order_id, payments), look)
            if record.razorpay_payment_id is not None:
                # Not shown (any more): what it is read from may be older than what we know.
                found_payment = await self._read(record, order_id, record.razorpay_payment_id)
                return await self._ledger.settle(record, found_payment, look)
            order = await self._gateway.order(order_id, receipt=record.receipt, amount=record.amount_paise)
        except ProviderOutcomeUnknown as failed:
            return await self._ledger.settle(record, doubt(failed, order_id, None), look)
        except NotDone as failed:
            raise later(record.key, failed) from failed
        return await self._go_on_unpaid(record, order, look)

    async def _order(self, record: ChargeRecord) -> GatewayOrder:
        """The order that is to be paid: our own, or the one that an earlier call made without our hearing of it.

        Raises ProviderRefused and ProviderOutcomeUnknown for a person to look at, ChargeLater for all else.
        """
        own, amount = record.razorpay_order_id, record.amount_paise
        try:
            found = await self._gateway.find_order(record.receipt, amount)
            if own is not None and (found is None or found.id != own):
                if found is not None and (found.status != "created" or found.attempts):
                    raise ProviderOutcomeUnknown(self._gateway.name, "receipt", f"{found.id} was tried, not {own}")
                return await self._gateway.order(own, receipt=record.receipt, amount=amount)
        except NotDone as failed:
            raise later(record.key, failed) from failed
        if found is not None:
            return found
        notes = {
            "subscription_id": str(record.subscription_id),
            "delivery_date": record.delivery_date.isoformat(),
        }
        try:
            return await self._gateway.create_order(OrderRequest(record.receipt, amount, notes))
        except (NotDone, ProviderOutcomeUnknown) as failed:
            # An order moves no money. Whether it was made is what the next attempt asks first.
            raise later(record.key, failed) from failed

    async def _pay(self, record: ChargeRecord, right: Right) -> Finding:
        """What became of the one request to take the money."""
        order_id = right.order_id
        try:
            payment_id = await self._gateway.charge(order_id, _debit(record), amount=record.amount_paise)
        except ProviderRefused as refused:
            return refusal(refused, order_id)
        except NotDone as failed:
            await self._ledger.give_back(right)
            raise later(record.key, failed) from failed
        except ProviderOutcomeUnknown as failed:
            return await self._after_silence(record, order_id, failed)
        return await self._read(record, order_id, payment_id)

    async def _after_silence(
        self, record: ChargeRecord, order_id: GatewayOrderId, failed: ProviderOutcomeUnknown
    ) -> Finding:
        try:
            payments = await self._gateway.payments_of(order_id, amount=record.amount_paise)
        except ProviderFailure:
            payments = []
        return from_payments(order_id, payments) if payments else doubt(failed, order_id, None)

    async def _read(self, record: ChargeRecord, order_id: GatewayOrderId, payment_id: GatewayPaymentId) -> Finding:
        """How a payment stands that was taken on."""
        try:
            return from_payment(await self._gateway.payment(payment_id, order_id=order_id, amount=record.amount_paise))
        except ProviderOutcomeUnknown as failed:
            return doubt(failed, order_id, payment_id)
        except ProviderFailure as failed:
            # Taken on is under way; how it stands is asked later.
            answer = {"order_id": order_id, "payment_id": payment_id, **evidence_of(failed)}
            return Finding(Standing.PENDING, answer, order_id=order_id, payment_id=payment_id)

    async def _settle_paid(self, record: ChargeRecord, order: GatewayOrder, look: int | None) -> ChargeRecord | None:
        """By the payments of an order that somebody has tried to pay, whoever it was."""
        try:
            payments = await self._gateway.payments_of(order.id, amount=record.amount_paise)
        except ProviderOutcomeUnknown as failed:
            return await self._ledger.settle(record, doubt(failed, order.id, None), look)
        except NotDone as failed:
            raise later(record.key, failed) from failed
        return await self._ledger.settle(record, from_payments(order.id, payments), look)

    async def _go_on_unpaid(
        self, record: ChargeRecord, order: GatewayOrder | None, look: int | None
    ) -> ChargeRecord | None:
        """What to do about a charge that has no payment at the gateway."""
        now = self._now()
        since = record.paying_since
        is_untried = order is None or (order.status == "created" and not order.attempts)
        if record.state == "submitting" and since is not None and now < since + PAYING_TAKES:
            raise ChargeLater(
                record.key, "somebody is having it paid", retry_after=max(since + PAYING_TAKES - now, timedelta(0))
            )
        if record.state == "unknown" and is_untried and (since is None or now >= since + LOST_AFTER):
            if self._is_over(record):
                return await self._ledger.settle(record, _not_in_time(order), look)
            await self._ledger.begin_again(record)
            return None
        answer = {} if order is None else evidence_of_order(order)
        order_id = None if order is None else order.id
        nothing = Finding(Standing.UNKNOWN, answer, reason=INTERRUPTED, order_id=order_id)
        return await self._ledger.settle(record, nothing, look)

    def _is_over(self, record: ChargeRecord) -> bool:
        return self._now() >= end_of_day(record.delivery_date)


def _why_unwanted(record: ChargeRecord) -> SkipReason | None:
    if why := why_unwanted(record):
        return why
    if record.mandate_token_id is None:
        return "mandate_missing"
    return "phone_invalid" if payer_phone(record.phone) is None else None


def _not_in_time(order: GatewayOrder | None) -> Finding:
    answer = {} if order is None else evidence_of_order(order)
    return Finding(Standing.REFUSED, answer, reason=NOT_CHARGED_IN_TIME, order_id=None if order is None else order.id)


def _debit(record: ChargeRecord) -> Debit:
    return Debit(
        customer_id=record.mandate_customer_id or "",
        token_id=record.token_id or "",
        email=usable_email(record.email) or NO_EMAIL,
        contact=payer_phone(record.phone) or "",
        description=f"{record.product_name or 'Delivery'} {record.delivery_date}",
        notes={"subscription_id": str(record.subscription_id), "delivery_date": record.delivery_date.isoformat()},
    )
