"""What is settled as rows of the statements that write it."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from app.billing.finding import BilledPeriod
from app.billing.record import ChargeRecord
from app.billing.settling import Settlement
from app.billing.telling import NewJob
from app.money import rupees_of


def as_json(rows: Iterable[Mapping[str, Any]]) -> str:
    """As `jsonb_to_recordset` takes them, which takes no NUL: a gateway's words may be anything."""
    return orjson.dumps(list(rows)).decode().replace("\\u0000", "\\ufffd")


def of_settlement(each: Settlement) -> Mapping[str, Any]:
    """A row of what SETTLE takes."""
    before, finding = each.before, each.finding
    return {
        "delivery_date": before.delivery_date,
        "subscription_id": before.subscription_id,
        "state": each.state,
        "reason": each.reason,
        "units_held": each.units_held,
        "is_owed": each.is_owed,
        "looks": each.looks,
        "next_look_at": each.next_look_at,
        "refused_at": each.refused_at,
        "answer": finding and finding.answer,
        "razorpay_order_id": finding and finding.order_id,
        "razorpay_payment_id": finding and finding.payment_id,
        "razorpay_invoice_id": each.period and each.period.invoice_id,
        "user_id": before.user_id,
        "product_id": before.product_id,
        "address_id": before.address_id,
        "rupees": str(before.amount),
        "order_id": before.order_id,
        "order_number": before.order_number,
        "order_payment": each.order and each.order.payment_status,
        "order_status": each.order and each.order.order_status,
        "notes": each.order and each.order.notes,
        # What an invoice was paid by is kept once for all its deliveries.
        "payment": None if each.period else each.payment,
        "method": before.mandate_method,
        "known_payment_id": before.razorpay_payment_id,
        "known_subscription_id": None if before.razorpay_subscription_id is None else before.subscription_id,
    }


def of_period(record: ChargeRecord, period: BilledPeriod) -> Mapping[str, Any]:
    return {
        "subscription_id": record.subscription_id,
        "razorpay_subscription_id": record.razorpay_subscription_id,
        "razorpay_invoice_id": period.invoice_id,
        "razorpay_payment_id": period.payment_id,
        "razorpay_order_id": period.order_id,
        "amount": str(rupees_of(period.amount)),
        "first": period.first,
        "end": period.end,
        "found_by": record.delivery_date,
    }


def of_job(job: NewJob) -> Mapping[str, Any]:
    return {"task": job.task, "kwargs": job.kwargs, "key": job.key, "not_before": job.not_before}
