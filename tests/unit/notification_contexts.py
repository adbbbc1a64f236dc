"""The facts that the mail of each notification type must state about its sample."""

from collections.abc import Mapping, Sequence

from app.notify.locales import Locale
from app.notify.types import NotificationType

_ENGLISH: Mapping[NotificationType, Sequence[str]] = {
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
    NotificationType.RUN_UNFINISHED: [
        "5 March 2026",
        "its job outbox:42 was aborted",
        "150 deliveries, ₹10,200.00",
        "indostar enqueue process_due_subscriptions delivery_date=2026-03-05",
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

_LINKS = "https://indostarnaturals.example"
_HINDI: Mapping[NotificationType, Sequence[str]] = {
    NotificationType.ORDER_CONFIRMATION: [
        *("नमस्ते Asha Patil जी,", "ORD-20260305-000042", "₹1,23,456.50"),
        *("Flat 12, Sai Krupa\nKoregaon Park\nPune 411001", f"{_LINKS}/orders/ORD-20260305-000042"),
    ],
    NotificationType.ORDER_SHIPPED: [
        *("नमस्ते Asha Patil जी,", "ORD-20260305-000042", "BlueDart 79812345671", "5 मार्च 2026"),
        f"{_LINKS}/orders/ORD-20260305-000042",
    ],
    NotificationType.PAYMENT_FAILED: [
        *("नमस्ते Asha Patil जी,", "ORD-20260305-000042", "₹450.00", "Your bank declined the payment"),
        f"{_LINKS}/orders/ORD-20260305-000042/pay",
    ],
    NotificationType.SUBSCRIPTION_RENEWAL: [
        *("नमस्ते Asha Patil जी,", "A2 Cow Milk, 1 litre", "एक दिन छोड़कर", "5 मार्च 2026", "₹75.00"),
        f"{_LINKS}/subscriptions",
    ],
    NotificationType.DELIVERY_SKIPPED: [
        *("नमस्ते Asha Patil जी,", "A2 Cow Milk, 1 litre", "5 मार्च 2026"),
        "कीमत उस सीमा से ज़्यादा है जो आपने अपने-आप होने वाले भुगतान (ऑटोपे) के लिए तय की है",
        "कृपया ज़्यादा सीमा के साथ ऑटोपे फिर से सेट करें।",
        "रद्द हुई डिलीवरी के लिए आपको भुगतान नहीं करना है।",
        f"{_LINKS}/subscriptions/42",
    ],
    NotificationType.SUBSCRIPTION_PAUSED: [
        *("नमस्ते Asha Patil जी,", "A2 Cow Milk, 1 litre", "लगातार असफल भुगतान", "3", "सब्सक्रिप्शन फिर से शुरू करें"),
        f"{_LINKS}/subscriptions/42",
    ],
    NotificationType.DISTRIBUTOR_APPROVED: ["नमस्ते Sharma Traders जी,", f"{_LINKS}/login"],
    NotificationType.PASSWORD_RESET: ["नमस्ते Asha Patil जी,", f"{_LINKS}/reset?token=a1&email=b", "24 घंटे"],
    NotificationType.EMAIL_VERIFICATION: ["नमस्ते Asha Patil जी,", f"{_LINKS}/verify?token=a1", "24 घंटे"],
}

FACTS: Mapping[tuple[NotificationType, Locale], Sequence[str]] = {
    **{(kind, Locale.EN): facts for kind, facts in _ENGLISH.items()},
    **{(kind, Locale.HI): facts for kind, facts in _HINDI.items()},
}
"""What the mail of each type must state in each language; the owner's are in English."""
