"""What views look like, for those who read the OpenAPI document."""

from typing import Any

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
