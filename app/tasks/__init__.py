"""The tasks of IndoStar Naturals. Importing this package declares them all."""

from app.tasks import cleanup, notifications, owner_mail, reminders, reports, run_watch, subscriptions, sweeping
from app.tasks.registry import TASKS

__all__ = [
    "TASKS",
    "cleanup",
    "notifications",
    "owner_mail",
    "reminders",
    "reports",
    "run_watch",
    "subscriptions",
    "sweeping",
]
