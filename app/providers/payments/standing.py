"""How a charge stands, by what the gateway answered about it."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from app.providers.payments.entities import GatewayPayment, GatewaySubscription, Invoice


class Standing(StrEnum):
    """What follows from the gateway's word.

    REFUSED may still become CAPTURED for three days: banks authorise late.
    """

    CAPTURED = "captured"
    PENDING = "pending"  # under way: wait, and never charge again
    REFUSED = "refused"
    UNKNOWN = "unknown"  # ask again later, or have a person look


_UNDER_WAY: Final = frozenset({"created", "authorized"})
# Razorpay does not charge what it issued before these, nor anything after them.
_CHARGES_NO_MORE: Final = frozenset({"halted", "cancelled", "completed", "expired"})


def standing_of_order(payments: Sequence[GatewayPayment]) -> Standing:
    """How an order stands, by all attempts to pay it.

    UNKNOWN without any, for one may still arrive; and if it was captured twice. What was given back counts as not paid.
    """
    statuses = [payment.status for payment in payments]
    if statuses.count("captured") > 1:
        return Standing.UNKNOWN
    if "captured" in statuses:
        return Standing.CAPTURED
    if _UNDER_WAY.intersection(statuses):
        return Standing.PENDING
    return Standing.REFUSED if statuses else Standing.UNKNOWN


def standing_of_invoice(invoice: Invoice | None, subscription: GatewaySubscription) -> Standing:
    """How a period of Razorpay's own subscription stands; `invoice` is None while it has none."""
    match invoice.status if invoice else "issued":
        case "paid":
            return Standing.CAPTURED
        case "partially_paid":
            return Standing.UNKNOWN
        case "expired" | "cancelled" | "deleted":
            return Standing.REFUSED
        case _:
            return Standing.REFUSED if subscription.status in _CHARGES_NO_MORE else Standing.PENDING
