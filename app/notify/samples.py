"""A typical context of every notification type, for previews, for what is checked before a release, and for tests."""

from collections.abc import Mapping

from app.notify.types import NotificationType

SAMPLE_SITE = "https://indostarnaturals.example"

SAMPLES: Mapping[NotificationType, Mapping[str, object]] = {
    NotificationType.ORDER_CONFIRMATION: {
        "customer_name": "Asha Patil",
        "order_number": "ORD-20260305-000042",
        "order_total": "123456.50",
        "delivery_address": "Flat 12, Sai Krupa\nKoregaon Park\nPune 411001",
    },
    NotificationType.ORDER_SHIPPED: {
        "customer_name": "Asha Patil",
        "order_number": "ORD-20260305-000042",
        "tracking_info": "BlueDart 79812345671",
        "expected_delivery": "2026-03-05",
    },
    NotificationType.PAYMENT_FAILED: {
        "customer_name": "Asha Patil",
        "order_number": "ORD-20260305-000042",
        "order_total": 450,
        "failure_reason": "Your bank declined the payment",
    },
    NotificationType.SUBSCRIPTION_RENEWAL: {
        "customer_name": "Asha Patil",
        "product_name": "A2 Cow Milk, 1 litre",
        "frequency": "alternate_days",
        "next_delivery_date": "2026-03-05",
        "amount": "75.00",
    },
    NotificationType.DELIVERY_SKIPPED: {
        "customer_name": "Asha Patil",
        "product_name": "A2 Cow Milk, 1 litre",
        "delivery_dates": ["2026-03-05"],
        "reason": "mandate_too_small",
        "subscription_url": "https://indostarnaturals.example/subscriptions/42",
    },
    NotificationType.SUBSCRIPTION_PAUSED: {
        "customer_name": "Asha Patil",
        "product_name": "A2 Cow Milk, 1 litre",
        "refusals": 3,
        "subscription_url": "https://indostarnaturals.example/subscriptions/42",
    },
    NotificationType.STOCK_OUT: {
        "product_name": "A2 Cow Milk, 1 litre",
        "delivery_date": "2026-03-05",
        "short": 12,
        "charged": 123456,
    },
    NotificationType.RUN_REPORT: {
        "delivery_date": "2026-03-05",
        "headline": "950 paid, 3 payment pending",
        "sections": [
            {"title": "Outcomes", "rows": [["Paid", "950, ₹64,600.00"], ["Payment pending", "3, ₹204.00"]]},
            {"title": "Still open", "rows": [["SUB-20260305-42", "payment pending, ₹68.00"]], "more": 1234},
        ],
    },
    NotificationType.RUN_PAUSED: {
        "delivery_date": "2026-03-05",
        "paused_because": "of the latest 150 charges 60 % are refused",
        "charges": 150,
        "amount": "10200.00",
    },
    NotificationType.RUN_UNFINISHED: {
        "delivery_date": "2026-03-05",
        "why": "its job outbox:42 was aborted",
        "charges": 150,
        "amount": "10200.00",
    },
    NotificationType.DISTRIBUTOR_APPROVED: {"distributor_name": "Sharma Traders"},
    NotificationType.PASSWORD_RESET: {
        "customer_name": "Asha Patil",
        "reset_url": "https://indostarnaturals.example/reset?token=a1&email=b",
    },
    NotificationType.EMAIL_VERIFICATION: {
        "customer_name": "Asha Patil",
        "verification_url": "https://indostarnaturals.example/verify?token=a1",
    },
}
