"""What was found out about a charge: the gateway's word, in our words, and what is kept of it as evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from app.providers.failures import ProviderFailure
from app.providers.payments.answers import DebitRefused
from app.providers.payments.entities import (
    GatewayOrder,
    GatewayOrderId,
    GatewayPayment,
    GatewayPaymentId,
    InvoiceId,
    Paise,
)
from app.providers.payments.standing import Standing, standing_of_order


@dataclass(frozen=True, slots=True)
class BilledPeriod:
    """A paid invoice: one payment for all deliveries of its window, which is from `first` to before `end`."""

    invoice_id: InvoiceId
    payment_id: GatewayPaymentId
    order_id: GatewayOrderId | None
    amount: Paise
    first: date
    end: date


@dataclass(frozen=True, slots=True)
class Finding:
    """How a charge stands. `reason` is a code and `words` a sentence for the customer; both None where all is well.

    `answer` is the evidence, and holds nothing personal. Of `payment_id` and `order_id` None means: none, or none that
    is known.
    """

    standing: Standing
    answer: Mapping[str, Any]
    reason: str | None = None
    words: str | None = field(default=None, repr=False)
    order_id: GatewayOrderId | None = None
    payment_id: GatewayPaymentId | None = None
    period: BilledPeriod | None = None


def from_payments(order_id: GatewayOrderId, payments: Sequence[GatewayPayment]) -> Finding:
    """How an order stands by all attempts to pay it; unknown for `no_payment` where there are none."""
    standing = standing_of_order(payments)
    answer = {"order_id": order_id, "payments": [_evidence(payment) for payment in payments]}
    finding = Finding(standing, answer, order_id=order_id)
    if not payments:
        return replace(finding, reason="no_payment")
    decisive = _decisive(payments)
    finding = replace(finding, payment_id=decisive.id)
    match standing:
        case Standing.REFUSED:
            return replace(finding, reason=_why_failed(decisive), words=decisive.error_description)
        case Standing.UNKNOWN:
            return replace(finding, reason="captured_twice")
        case _:
            return finding


def from_payment(payment: GatewayPayment) -> Finding:
    """How a charge stands by its only payment."""
    return from_payments(payment.order_id, [payment])


def refusal(failure: ProviderFailure, order_id: GatewayOrderId | None) -> Finding:
    """A request that was refused: nothing is paid, nor under way."""
    if isinstance(failure, DebitRefused) and order_id is not None:
        finding = from_payments(order_id, failure.payments)
        return replace(finding, answer={**evidence_of(failure), **finding.answer})
    return Finding(Standing.REFUSED, evidence_of(failure), reason=failure.code, order_id=order_id)


def doubt(failure: ProviderFailure, order_id: GatewayOrderId | None, payment_id: GatewayPaymentId | None) -> Finding:
    """A request whose outcome nobody can tell, or an answer that must not be believed."""
    return Finding(
        Standing.UNKNOWN, evidence_of(failure), reason=failure.code, order_id=order_id, payment_id=payment_id
    )


def evidence_of(failure: ProviderFailure) -> Mapping[str, Any]:
    """What is kept of a failure: the providers' errors come without what is personal."""
    return {"error": failure.code, "message": failure.message, "request_id": failure.request_id}


def evidence_of_order(order: GatewayOrder) -> Mapping[str, Any]:
    """What is kept of an order."""
    return {
        "order_id": order.id,
        "status": order.status,
        "attempts": order.attempts,
        "amount": order.amount,
        "amount_paid": order.amount_paid,
    }


def _evidence(payment: GatewayPayment) -> Mapping[str, Any]:
    # Not the description of its failure, which may name a card or an account.
    evidence: dict[str, Any] = {"payment_id": payment.id, "status": payment.status, "amount": payment.amount}
    if payment.error_code:
        evidence |= {"error": payment.error_code, "error_reason": payment.error_reason}
    return evidence


def _decisive(payments: Sequence[GatewayPayment]) -> GatewayPayment:
    """The one that the order's standing rests on: the one that got furthest, of several the newest."""
    order = ("failed", "refunded", "created", "authorized", "captured")
    return max(payments, key=lambda payment: (order.index(payment.status), payment.created_at))


def _why_failed(payment: GatewayPayment) -> str:
    if payment.status == "refunded":
        return "refunded"
    reason = payment.error_reason
    return reason if reason not in (None, "", "NA") else payment.error_code or "payment_failed"
