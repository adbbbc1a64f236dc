"""What views look like, for those who read the OpenAPI document."""

from typing import Any

from app.reconciliation.discrepancies import ASK_OR_REFUND

JOB: dict[str, Any] = {
    "id": "confirm:ORD-7",
    "task": "send_order_confirmation_task",
    "queue": "notifications",
    "status": "failed",
    "kwargs": {"email": "hidden", "phone": "hidden", "order_number": "ORD-7", "customer_name": "hidden"},
    "enqueued_at": "2026-03-05T06:30:00Z",
    "run_at": None,
    "started_at": "2026-03-05T06:30:00.012000Z",
    "finished_at": "2026-03-05T06:30:00.204000Z",
    "tries": 1,
    "max_tries": 4,
    "result": None,
    "error": {"type": "ProviderRefused", "message": "hidden", "traceback": "hidden"},
    "attempts": [
        {
            "try": 1,
            "started_at": "2026-03-05T06:30:00.012000Z",
            "finished_at": "2026-03-05T06:30:00.204000Z",
            "outcome": "failed",
            "error": {"type": "ProviderRefused", "message": "hidden", "traceback": "hidden"},
            "worker": "dairy-1:4711:9f2c",
        }
    ],
    "progress": None,
    "retry_of": None,
}
RETRIED_JOB: dict[str, Any] = {
    **JOB,
    "id": "outbox:42",
    "status": "queued",
    "started_at": None,
    "finished_at": None,
    "tries": 0,
    "error": None,
    "attempts": [],
    "retry_of": "confirm:ORD-7",
    "can": "send email; done before: send sms",
    "effects": [
        {"verb": "send", "what": "email", "state": "open"},
        {"verb": "send", "what": "sms", "state": "done"},
    ],
}
BULK_RETRY: dict[str, Any] = {
    "matched": 2,
    "retried": 1,
    "dry_run": False,
    "can": {"send email": 1},
    "left_out": {"it was run again before": 1},
    "items": [
        {
            "id": "confirm:ORD-7",
            "task": "send_email_task",
            "can": "send email",
            "retried_as": "outbox:43",
            "left_out": None,
        }
    ],
}
QUEUE: dict[str, Any] = {
    "name": "notifications",
    "waiting": 12,
    "scheduled": 3,
    "running": 100,
    "paused": False,
    "oldest_wait_seconds": 0.8,
}
WORKER: dict[str, Any] = {
    "id": "dairy-1:4711:9f2c",
    "host": "dairy-1",
    "pid": 4711,
    "queues": ["default", "notifications", "subscriptions"],
    "slots": {"default": 10, "notifications": 100, "subscriptions": 20},
    "started_at": "2026-03-05T00:00:00Z",
    "last_seen_at": "2026-03-05T06:30:00Z",
    "running": ["confirm:ORD-7"],
    "done": 5120,
    "failed": 3,
    "memory_bytes": 125829120,
    "draining": False,
}
SCHEDULE: dict[str, Any] = {
    "name": "cleanup_expired_carts",
    "task": "cleanup_expired_carts",
    "cron": "0 2 * * *",
    "timezone": "UTC",
    "next_run_at": "2026-03-06T02:00:00Z",
    "last_run_at": "2026-03-05T02:00:00.013000Z",
    "last_job_id": "outbox:41",
    "last_status": "succeeded",
    "paused": False,
}
RUN: dict[str, Any] = {
    "delivery_date": "2026-03-05",
    "started_at": "2026-03-05T00:00:00.204000Z",
    "started_by": "outbox:40",
    "finished_at": "2026-03-05T00:00:04.711000Z",
    "charges": 2,
    "amount": "136.00",
    "skipped": {"no_stock": 1},
    "notices": 2,
    "paused_at": None,
    "paused_because": None,
    "resumed_at": None,
    "resumed_by": None,
    "figures": {
        "planned": 3,
        "missed": 0,
        "on_hold": None,
        "outcomes": [
            {"state": "captured", "deliveries": 1, "amount": "68.00"},
            {"state": "pending", "deliveries": 1, "amount": "68.00"},
            {"state": "skipped", "deliveries": 1, "amount": "68.00"},
        ],
        "not_charged_in_time": 0,
        "amount_not_charged_in_time": "0.00",
        "skipped": [{"reason": "no_stock", "deliveries": 1}],
        "short": {"first": [{"product_name": "A2 milk, 1 l", "deliveries": 1}], "more": 0},
        "open": {
            "first": [{"order_number": "SUB-20260305-8", "subscription_id": 8, "state": "pending", "amount": "68.00"}],
            "more": 0,
        },
        "owed": {"first": [], "more": 0},
        "paused": {"first": [], "more": 0},
        "billed_on": {"first": [], "more": 0},
    },
}
RECONCILIATION: dict[str, Any] = {
    "date": "2026-03-05",
    "deliveries": {"captured": 1, "refused": 1},
    "captured": "68.00",
    "discrepancies": {"paid_at_gateway_only": 1},
    "items": [
        {
            "kind": "paid_at_gateway_only",
            "subscription_id": 7,
            "delivery_date": "2026-03-05",
            "sentence": "the gateway captured pay_29QQoUBi66xm2f, and the charge is refused",
            "next_step": ASK_OR_REFUND,
            "ledger": {
                "state": "refused",
                "way": "mandate",
                "amount": "68.00",
                "reason": "insufficient_funds",
                "owed": False,
                "razorpay_order_id": "order_9A33XWu170gUtm",
                "razorpay_payment_id": "pay_29QQoUBi66xm2f",
                "razorpay_invoice_id": None,
            },
            "shop": None,
            "gateway": [
                {
                    "id": "order_9A33XWu170gUtm",
                    "amount": "68.00",
                    "status": "paid",
                    "attempts": 1,
                    "captured": ["pay_29QQoUBi66xm2f"],
                    "refunded": [],
                }
            ],
        }
    ],
}
