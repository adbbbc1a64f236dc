"""Reminding customers of the next day's deliveries."""

from datetime import UTC, date, datetime
from functools import partial
from typing import NotRequired, TypedDict
from zoneinfo import ZoneInfo

import structlog

from app.db.engine import Database
from app.deliveries.days import ONE_DAY, DeliveryDay, ensure_at_hand
from app.deliveries.decisions import Terms
from app.deliveries.reminders import Reminders
from app.errors import NotDone
from app.jobs.context import Context
from app.jobs.queues import Queue
from app.jobs.time_limits import SoftTimeLimitExceeded
from app.settings import Settings
from app.tasks.notifications import send_subscription_renewal_reminder_task
from app.tasks.registry import task

log = structlog.stdlib.get_logger(__name__)


class RemindersResult(TypedDict):
    """What was done: customers reminded and of how many deliveries, how many of them had been reminded of before.

    `without_email` are customers to whom no mail can go. `is_over`: the day has passed, and nobody was reminded.
    """

    delivery_date: date
    reminded: int
    deliveries: int
    reminded_before: int
    without_email: int
    is_over: NotRequired[bool]


class RemindersInterrupted(NotDone):
    """It stopped between two pages; who was not reminded yet is at the next try."""

    def __init__(self, day: date) -> None:
        super().__init__(day)
        self.day = day

    def __str__(self) -> str:
        return f"the time for reminders of {self.day} was over, and the rest will be reminded of it later"


@task(queue=Queue.SUBSCRIPTIONS, visible={"delivery_date"})
async def send_subscription_renewal_reminders(
    ctx: Context, delivery_date: DeliveryDay | None = None
) -> RemindersResult:
    """Remind customers of the deliveries of a date that will be charged; without one, of tomorrow's."""
    now = datetime.now(UTC)
    day = delivery_date or ctx.enqueued_at.astimezone(UTC).date() + ONE_DAY
    ensure_at_hand(day, now, ZoneInfo(ctx[Settings].schedule_timezone))
    if day < now.date():
        # As after the run of a day long ago.
        log.info("reminders.skipped", date=day.isoformat(), reason="the day is over")
        return RemindersResult(
            delivery_date=day, reminded=0, deliveries=0, reminded_before=0, without_email=0, is_over=True
        )
    reminders = Reminders(ctx[Database], Terms(day), send_subscription_renewal_reminder_task)
    try:
        done = await reminders.run(partial(ctx.progress, message=f"customers reminded of {day}"))
    except SoftTimeLimitExceeded as limit:
        raise RemindersInterrupted(day) from limit
    return RemindersResult(
        delivery_date=day,
        reminded=done.customers,
        deliveries=done.deliveries,
        reminded_before=done.deliveries_before,
        without_email=done.without_email,
    )
