"""Deliveries that an invoice of Razorpay's own subscription covers: we only ask whether it is paid."""

from collections.abc import Sequence
from datetime import date, timedelta

import structlog

from app.billing.failures import later
from app.billing.finding import BilledPeriod, Finding, doubt
from app.billing.ledger import ChargeLedger
from app.billing.record import ChargeRecord
from app.billing.settling import CHARGES_NO_MORE, Skip, why_unwanted
from app.deliveries.decisions import STEP_DAYS
from app.errors import NotDone
from app.india import INDIA
from app.providers.failures import ProviderOutcomeUnknown
from app.providers.payments.entities import GatewayPaymentId, Invoice
from app.providers.payments.razorpay import Razorpay
from app.providers.payments.standing import Standing, standing_of_invoice

log = structlog.stdlib.get_logger(__name__)

DIFFERS = "invoice_differs"


class InvoiceWay:
    """Settles charges by the invoices of their subscriptions at Razorpay."""

    def __init__(self, ledger: ChargeLedger, gateway: Razorpay) -> None:
        self._ledger = ledger
        self._gateway = gateway

    async def settle(self, record: ChargeRecord, look: int | None) -> ChargeRecord | None:
        """The charge as the invoice has it whose window holds its date.

        None where it was moved and has to be looked at again. Raises Unavailable where it has to wait.
        """
        if record.state == "planned" and (why := why_unwanted(record)):
            await self._ledger.settle(record, Skip(why))
            # Whether it is owed is the next question.
            return None
        has_no_invoices = record.reason == "mandate_missing" and not (record.razorpay_subscription_id or "").strip()
        if record.state == "skipped" and (record.is_owed or record.is_made_up or has_no_invoices):
            return record
        try:
            finding = await self._found(record)
        except ProviderOutcomeUnknown as failed:
            finding = doubt(failed, None, None)
        except NotDone as failed:
            raise later(record.key, failed) from failed
        return await self._ledger.settle(record, finding, look)

    async def _found(self, record: ChargeRecord) -> Finding:
        subscription_id = record.razorpay_subscription_id
        if subscription_id is None:
            return Finding(Standing.REFUSED, {}, reason="subscription_gone")
        invoice = invoice_of(record.delivery_date, await self._gateway.invoices(subscription_id))
        if invoice is not None and invoice.status == "paid" and invoice.payment_id is not None:
            return _paid(record, invoice, invoice.payment_id)
        subscription = await self._gateway.subscription(subscription_id)
        answer = {
            "subscription": subscription.status,
            "invoice_id": invoice and invoice.id,
            "status": invoice and invoice.status,
        }
        standing = standing_of_invoice(invoice, subscription)
        match standing:
            case Standing.REFUSED if invoice is not None and invoice.status in ("expired", "cancelled", "deleted"):
                reason = "invoice_cancelled"
            case Standing.REFUSED:
                reason = CHARGES_NO_MORE
            case Standing.UNKNOWN:
                reason = "invoice_partially_paid"
            case _:
                reason = "invoice_not_paid_yet" if invoice else "no_invoice_yet"
        return Finding(standing, answer, reason=reason)


def invoice_of(day: date, invoices: Sequence[Invoice]) -> Invoice | None:
    """The invoice whose window holds that date in India; a paid one if there are several."""
    holding = [invoice for invoice in invoices if (window := window_of(invoice)) and window[0] <= day < window[1]]
    return min(holding, key=lambda invoice: invoice.status != "paid", default=None)


def window_of(invoice: Invoice) -> tuple[date, date] | None:
    """Its first date, and the first one after it, in India; None where the invoice does not tell."""
    if invoice.billing_start is None or invoice.billing_end is None:
        return None
    # Windows end with a day's last second, or as the next one begins.
    end = invoice.billing_end + timedelta(seconds=1)
    return invoice.billing_start.astimezone(INDIA).date(), end.astimezone(INDIA).date()


def _paid(record: ChargeRecord, invoice: Invoice, payment_id: GatewayPaymentId) -> Finding:
    first, end = window_of(invoice) or (record.delivery_date, record.delivery_date + timedelta(days=1))
    deliveries = _deliveries_between(record, first, end)
    expected = deliveries * record.amount_paise
    answer = {
        "invoice_id": invoice.id,
        "status": invoice.status,
        "payment_id": payment_id,
        "amount": invoice.amount,
        "deliveries": deliveries,
        "expected": expected,
    }
    differs = invoice.amount != expected
    if differs:
        log.warning(
            "charge.invoice_differs",
            subscription_id=record.subscription_id,
            invoice_id=invoice.id,
            amount_paise=invoice.amount,
            expected_paise=expected,
        )
    period = BilledPeriod(invoice.id, payment_id, invoice.order_id, invoice.amount, first, end)
    return Finding(
        Standing.CAPTURED,
        answer,
        reason=DIFFERS if differs else None,
        order_id=invoice.order_id,
        payment_id=payment_id,
        period=period,
    )


def _deliveries_between(record: ChargeRecord, first: date, end: date) -> int:
    """How many deliveries the cadence brings from the first date until before the end."""
    if record.frequency is None:
        return 1
    step = STEP_DAYS[record.frequency]
    if record.start_date is not None:
        first = min(max(first, record.start_date), record.delivery_date)
    # The charge's own date is one of them.
    return (record.delivery_date - first).days // step + 1 + ((end - record.delivery_date).days - 1) // step
