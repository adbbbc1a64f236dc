"""The fake Razorpay's entities as its API shows them."""

from datetime import datetime
from typing import Any

from app.dev.fakes.razorpay_books import Invoice, Order, Payment, Subscription
from app.dev.fakes.razorpay_errors import REFUSALS, Problem

# What a debit failed of where nothing more is known.
_FAILED = Problem("Payment failed", reason="payment_failed", source="gateway", step="payment_response")


def order_resource(order: Order) -> dict[str, Any]:
    return {
        "id": order.id,
        "entity": "order",
        "amount": order.amount,
        "amount_paid": order.amount_paid,
        "amount_due": order.amount - order.amount_paid,
        "currency": "INR",
        "receipt": order.receipt,
        "offer_id": None,
        "status": order.status,
        "attempts": len(order.payments),
        # The real one writes an empty list where there are none.
        "notes": order.notes or [],
        "created_at": seconds(order.created_at),
    }


def payment_resource(payment: Payment) -> dict[str, Any]:
    problem = REFUSALS.get(payment.reason or "", _FAILED) if payment.status == "failed" else None
    mandate = payment.mandate
    return {
        "id": payment.id,
        "entity": "payment",
        "amount": payment.order.amount,
        "currency": "INR",
        "status": payment.status,
        "order_id": payment.order.id,
        "invoice_id": payment.invoice_id,
        "international": False,
        "method": mandate.method if mandate else "upi",
        "amount_refunded": payment.order.amount if payment.status == "refunded" else 0,
        "refund_status": "full" if payment.status == "refunded" else None,
        "captured": payment.status in ("captured", "refunded"),
        "description": payment.description,
        "email": payment.email,
        "contact": payment.contact,
        "customer_id": mandate.customer_id if mandate else None,
        "token_id": mandate.token_id if mandate else None,
        "notes": payment.notes or [],
        "error_code": problem.code if problem else None,
        "error_description": problem.description if problem else None,
        "error_source": problem.source if problem else None,
        "error_step": problem.step if problem else None,
        "error_reason": problem.reason if problem else None,
        "created_at": seconds(payment.created_at),
    }


def subscription_resource(subscription: Subscription) -> dict[str, Any]:
    return {
        "id": subscription.id,
        "entity": "subscription",
        "customer_id": subscription.customer_id,
        "status": subscription.status,
        "paid_count": subscription.paid_count,
        "current_start": seconds(subscription.current_start),
        "current_end": seconds(subscription.current_end),
        "charge_at": seconds(subscription.charge_at),
        "notes": [],
    }


def invoice_resource(invoice: Invoice) -> dict[str, Any]:
    is_paid = invoice.status == "paid"
    return {
        "id": invoice.id,
        "entity": "invoice",
        "subscription_id": invoice.subscription_id,
        "order_id": invoice.order.id,
        "payment_id": invoice.payment_id,
        "status": invoice.status,
        "amount": invoice.order.amount,
        "amount_paid": invoice.order.amount if is_paid else 0,
        "amount_due": 0 if is_paid else invoice.order.amount,
        "currency": "INR",
        "billing_start": seconds(invoice.billing_start),
        "billing_end": seconds(invoice.billing_end),
        "paid_at": seconds(invoice.paid_at),
        "notes": [],
    }


def collection(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"entity": "collection", "count": len(items), "items": items}


def seconds(moment: datetime | None) -> int | None:
    """Since 1970, as Razorpay tells time."""
    return None if moment is None else int(moment.timestamp())
