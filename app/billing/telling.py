"""What the customer is told of a charge: jobs for the outbox, written with what they tell of."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog

from app.billing.record import ChargeRecord
from app.notify.recipients import usable_email, usable_phone

log = structlog.stdlib.get_logger(__name__)

# The tasks stand above this package.
CONFIRMING: Final = "send_order_confirmation_task"
REFUSING: Final = "send_payment_failed_task"
SKIPPING: Final = "send_delivery_skipped_task"
PAUSING: Final = "send_subscription_paused_task"

NOT_CHARGED_IN_TIME: Final = "not_charged_in_time"
# Razorpay's reasons in the customer's words, where it gives none of its own for them.
_WORDS: Final[Mapping[str, str]] = {
    "insufficient_funds": "there was not enough money in the account",
    "mandate_not_active": "the permission for automatic payments (autopay) is not active",
    "mandate_expired": "the permission for automatic payments (autopay) has expired",
    "amount_exceeds_mandate_limit": "the amount is above the limit of the permission for automatic payments (autopay)",
    "pre_debit_notification_not_sent": "the bank could not announce the payment in time",
    "customer_action_required": "the bank asked for an approval of the payment and did not get it",
    "invalid_contact_number": "the phone number of the account is not valid",
    "invoice_cancelled": "the invoice of this period was cancelled",
    "subscription_charges_no_more": "automatic payments for the subscription have ended",
}
_REFUSED: Final = "the bank did not accept the payment"


@dataclass(frozen=True, slots=True)
class Correspondence:
    """Where links lead, and the countries (ISO 3166) whose numbers get SMS."""

    site: str
    sms_countries: Collection[str]


@dataclass(frozen=True, slots=True)
class NewJob:
    """A row of the outbox to be written."""

    task: str
    kwargs: Mapping[str, Any]
    key: str
    not_before: datetime | None = None


def confirmed(record: ChargeRecord, by: Correspondence) -> list[NewJob]:
    """That it is paid and will be delivered."""
    facts = {
        "order_number": record.order_number,
        "customer_name": record.customer_name or "",
        "order_total": str(record.amount),
        "delivery_address": record.address or "",
    }
    return _told(record, by, CONFIRMING, "confirmed", facts)


def refused(record: ChargeRecord, by: Correspondence, reason: str, words: str | None) -> list[NewJob]:
    """That the payment did not go through, why, and where to pay."""
    facts = {
        "order_number": record.order_number,
        "customer_name": record.customer_name or "",
        "order_total": str(record.amount),
        "failure_reason": words or _WORDS.get(reason, _REFUSED),
        # No order of this delivery can be paid any more.
        "retry_payment_url": f"{by.site}/subscriptions/{record.subscription_id}",
    }
    return _told(record, by, REFUSING, "refused", facts)


def skipped(record: ChargeRecord, by: Correspondence, reason: str) -> list[NewJob]:
    """That there is no delivery on that day, nor a payment for it."""
    facts = {
        "customer_name": record.customer_name or "",
        "product_name": record.product_name or "",
        "delivery_date": record.delivery_date.isoformat(),
        "reason": reason,
        "subscription_id": record.subscription_id,
    }
    return _told(record, by, SKIPPING, "skipped", facts)


def paused(record: ChargeRecord, by: Correspondence, refusals: int) -> list[NewJob]:
    """That nothing is delivered any more after so many refusals in a row."""
    facts = {
        "customer_name": record.customer_name or "",
        "product_name": record.product_name or "",
        "refusals": refusals,
        "subscription_id": record.subscription_id,
    }
    return _told(record, by, PAUSING, "paused", facts)


def _told(record: ChargeRecord, by: Correspondence, task: str, what: str, facts: Mapping[str, Any]) -> list[NewJob]:
    # By whatever the shop keeps that a message can go to: one wrong number must not hold back the mail.
    email, phone = usable_email(record.email), usable_phone(record.phone, by.sms_countries)
    if email is None and phone is None:
        log.warning("charge.customer_unreachable", subscription_id=record.subscription_id, what=what)
        return []
    return [NewJob(task, {"email": email, "phone": phone, **facts}, f"delivery:{record.key}:{what}")]
