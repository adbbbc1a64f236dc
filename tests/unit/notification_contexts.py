"""A typical context of every notification type, and the facts that its mail must state."""

from app.notify.types import NotificationType

FRONTEND_URL = "https://indostarnaturals.example"

CONTEXTS: dict[NotificationType, dict[str, object]] = {
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

FACTS: dict[NotificationType, list[str]] = {
    NotificationType.ORDER_CONFIRMATION: [
        "Hello Asha Patil,",
        "ORD-20260305-000042",
        "₹1,23,456.50",
        "Flat 12, Sai Krupa\nKoregaon Park\nPune 411001",
        "https://indostarnaturals.example/orders/ORD-20260305-000042",
    ],
    NotificationType.ORDER_SHIPPED: [
        "Hello Asha Patil,",
        "ORD-20260305-000042",
        "BlueDart 79812345671",
        "5 March 2026",
        "https://indostarnaturals.example/orders/ORD-20260305-000042",
    ],
    NotificationType.PAYMENT_FAILED: [
        "Hello Asha Patil,",
        "ORD-20260305-000042",
        "₹450.00",
        "Your bank declined the payment",
        "https://indostarnaturals.example/orders/ORD-20260305-000042/pay",
    ],
    NotificationType.SUBSCRIPTION_RENEWAL: [
        "Hello Asha Patil,",
        "A2 Cow Milk, 1 litre",
        "Every other day",
        "5 March 2026",
        "₹75.00",
        "https://indostarnaturals.example/subscriptions",
    ],
    NotificationType.DELIVERY_SKIPPED: [
        "Hello Asha Patil,",
        "A2 Cow Milk, 1 litre",
        "5 March 2026",
        "The price is above the limit that you set for automatic payments (autopay)",
        "Please set up autopay again with a higher limit.",
        "You do not pay for a delivery that was skipped.",
        "https://indostarnaturals.example/subscriptions/42",
    ],
    NotificationType.SUBSCRIPTION_PAUSED: [
        "Hello Asha Patil,",
        "A2 Cow Milk, 1 litre",
        "Failed payments in a row",
        "3",
        "resume your subscription",
        "https://indostarnaturals.example/subscriptions/42",
    ],
    NotificationType.STOCK_OUT: ["A2 Cow Milk, 1 litre", "5 March 2026", "12", "1,23,456"],
    NotificationType.RUN_REPORT: [
        *("Outcomes", "Paid", "950, ₹64,600.00", "Payment pending", "3, ₹204.00"),
        *("Still open", "SUB-20260305-42", "payment pending, ₹68.00", "and 1,234 more"),
    ],
    NotificationType.RUN_PAUSED: [
        "5 March 2026",
        "of the latest 150 charges 60 % are refused",
        "150 deliveries, ₹10,200.00",
        "POST /admin/subscriptions/runs/2026-03-05/resume",
    ],
    NotificationType.DISTRIBUTOR_APPROVED: [
        "Hello Sharma Traders,",
        "https://indostarnaturals.example/login",
    ],
    NotificationType.PASSWORD_RESET: [
        "Hello Asha Patil,",
        "https://indostarnaturals.example/reset?token=a1&email=b",
        "24 hours",
    ],
    NotificationType.EMAIL_VERIFICATION: [
        "Hello Asha Patil,",
        "https://indostarnaturals.example/verify?token=a1",
        "24 hours",
    ],
}
