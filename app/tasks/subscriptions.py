"""Deliveries of subscriptions: the midnight run."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, TypedDict
from zoneinfo import ZoneInfo

from arq.cron import cron

from app.db.engine import Database
from app.db.subscription_runs import SubscriptionRun
from app.deliveries.brake import BrakeBounds
from app.deliveries.decisions import Terms
from app.deliveries.run import DeliveryRun, RunInterrupted, RunOptions, ensure_begun
from app.jobs.context import Context
from app.jobs.queues import Queue
from app.jobs.task import Task, TaskRegistry
from app.jobs.time_limits import SoftTimeLimitExceeded
from app.settings import Settings
from app.tasks.notifications import send_delivery_skipped_task
from app.tasks.run_news import RunNews

CHARGING = "process_single_subscription"


class RunResult(TypedDict):
    """What a run planned by now: `amount` in rupees, `skipped` by reason, `paused` the brake's or person's reason."""

    delivery_date: date
    charges: int
    amount: Decimal
    skipped: Mapping[str, int]
    notices: int
    paused: str | None


async def process_due_subscriptions(ctx: Context, delivery_date: date | None = None) -> RunResult:
    """Plan the deliveries of a date: what is charged, what is skipped and why, and a job for each charge."""
    settings = ctx[Settings]
    # Not today's: a job that waits beyond midnight still works for the day on which it was asked for.
    day = delivery_date or ctx.enqueued_at.astimezone(UTC).date()
    ensure_begun(day, datetime.now(UTC), ZoneInfo(settings.schedule_timezone))
    news = RunNews(settings.owner_email)
    options = RunOptions(
        charging=CHARGING,
        bounds=BrakeBounds(
            refused_points=settings.brake_refused_points,
            unknown_points=settings.brake_unknown_points,
            amount_factor=settings.brake_amount_factor,
        ),
        notice=timedelta(days=settings.pre_debit_notice_days),
        telling=send_delivery_skipped_task.name,
        at_end=news.ended,
        at_brake=news.braked,
    )
    run = DeliveryRun(ctx[Database], Terms(day, settings.missed_deliveries), options, by=ctx.job_id)
    try:
        return _result(await run.run(partial(ctx.progress, message=f"deliveries of {day}")))
    except SoftTimeLimitExceeded as limit:
        raise RunInterrupted(day, "its time was over") from limit


def _result(run: SubscriptionRun) -> RunResult:
    return RunResult(
        delivery_date=run.delivery_date,
        charges=run.charges,
        amount=Decimal(run.charges_paise).scaleb(-2),
        skipped=run.skipped,
        notices=run.notices,
        paused=run.paused_because,
    )


def declare_midnight_run(tasks: TaskRegistry) -> Task[..., Any]:
    """The run as a task at 00:00; where nothing ran at that time, it is made up for until noon."""
    declare = tasks.task(
        queue=Queue.SUBSCRIPTIONS,
        schedule=partial(cron, hour=0, minute=0),
        catch_up=timedelta(hours=12),
        visible={"delivery_date"},
    )
    return declare(process_due_subscriptions)
