"""What the customer is told of a charge: jobs for the outbox, written with what they tell of."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import structlog
from pydantic import TypeAdapter, ValidationError

from app.billing.record import ChargeRecord
from app.notify.recipients import EmailAddress, PhoneNumber

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
    "invoice_cancelled": "the invoice of this period was cancelled",
    "subscription_charges_no_more": "automatic payments for the subscription have ended",
}
_REFUSED: Final = "the bank did not accept the payment"
# For those who are told of it as of a skip.
_SKIP_WORDS: Final[Mapping[str, str]] = {
    NOT_CHARGED_IN_TIME: "we could not collect the payment in time, and took no money"
}

T = TypeVar("T")
_EMAIL: TypeAdapter[str] = TypeAdapter(EmailAddress)
_PHONE: TypeAdapter[str] = TypeAdapter(PhoneNumber)


@dataclass(frozen=True, slots=True)
class NewJob:
    """A row of the outbox to be written."""

    task: str
    kwargs: Mapping[str, Any]
    key: str
    not_before: datetime | None = None


def confirmed(record: ChargeRecord) -> list[NewJob]:
    """That it is paid and will be delivered."""
    facts = {
        "order_number": record.order_number,
        "customer_name": record.customer_name or "",
        "order_total": str(record.amount),
        "delivery_address": record.address or "",
    }
    return _told(record, CONFIRMING, "confirmed", facts)


def refused(record: ChargeRecord, reason: str, words: str | None, site: str) -> list[NewJob]:
    """That the payment did not go through, why, and where to pay."""
    facts = {
        "order_number": record.order_number,
        "customer_name": record.customer_name or "",
        "order_total": str(record.amount),
        "failure_reason": words or _WORDS.get(reason, _REFUSED),
        # No order of this delivery can be paid any more.
        "retry_payment_url": f"{site}/subscriptions/{record.subscription_id}",
    }
    return _told(record, REFUSING, "refused", facts)


def skipped(record: ChargeRecord, reason: str) -> list[NewJob]:
    """That there is no delivery on that day, nor a payment for it."""
    facts = {
        "customer_name": record.customer_name or "",
        "product_name": record.product_name or "",
        "delivery_date": record.delivery_date.isoformat(),
        "reason": _SKIP_WORDS.get(reason, reason),
        "subscription_id": record.subscription_id,
    }
    return _told(record, SKIPPING, "skipped", facts)


def paused(record: ChargeRecord, refusals: int) -> list[NewJob]:
    """That nothing is delivered any more after so many refusals in a row."""
    facts = {
        "customer_name": record.customer_name or "",
        "product_name": record.product_name or "",
        "refusals": refusals,
        "subscription_id": record.subscription_id,
    }
    return _told(record, PAUSING, "paused", facts)


def usable_email(record: ChargeRecord) -> str | None:
    """The customer's address as mail can go there."""
    return _usable(_EMAIL, record.email)


def usable_phone(record: ChargeRecord) -> str | None:
    """The customer's mobile number in E.164."""
    return _usable(_PHONE, record.phone)


def _told(record: ChargeRecord, task: str, what: str, facts: Mapping[str, Any]) -> list[NewJob]:
    # By whatever the shop keeps that a message can go to: one wrong number must not hold back the mail.
    email, phone = usable_email(record), usable_phone(record)
    if email is None and phone is None:
        log.warning("charge.customer_unreachable", subscription_id=record.subscription_id, what=what)
        return []
    return [NewJob(task, {"email": email, "phone": phone, **facts}, f"delivery:{record.key}:{what}")]


def _usable(kind: TypeAdapter[T], raw: object) -> T | None:
    if not raw:
        return None
    try:
        return kind.validate_python(raw)
    except ValidationError:
        return None
