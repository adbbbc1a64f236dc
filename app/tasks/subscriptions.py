"""Deliveries of subscriptions: the midnight run."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Literal, TypedDict
from zoneinfo import ZoneInfo

from arq.cron import cron

from app.billing.charging import Charging
from app.billing.effects import DeliveryCharges
from app.billing.notices import Announced
from app.billing.record import ChargeKey, ChargeRecord
from app.billing.single import NotDue
from app.billing.sweeping import CHARGING
from app.db.charges import WAITING_STATES, ChargeState
from app.db.engine import Database
from app.db.shop import SubscriptionId
from app.db.subscription_runs import SubscriptionRun
from app.deliveries.days import DeliveryDay, ensure_begun, ensure_not_long_over
from app.deliveries.decisions import MISSED_KEPT_DAYS, Terms
from app.deliveries.run import DeliveryRun, RunInterrupted, RunOptions
from app.jobs.context import Context
from app.jobs.queues import Queue
from app.jobs.task import Task, TaskRegistry
from app.jobs.time_limits import SoftTimeLimitExceeded
from app.money import rupees_of
from app.settings import Settings
from app.tasks.charging import ANNOUNCING, brake_bounds
from app.tasks.notifications import send_delivery_skipped_task
from app.tasks.registry import TASKS, task
from app.tasks.run_news import RunNews


class RunResult(TypedDict):
    """What a run planned by now: `amount` in rupees, `skipped` by reason, `paused` the brake's or person's reason."""

    delivery_date: date
    charges: int
    amount: Decimal
    skipped: Mapping[str, int]
    notices: int
    paused: str | None


DeliveryStatus = Literal["success", "pending", "skipped", "failed"]


class DeliveryResult(TypedDict):
    """What became of a delivery: `reason` says why it is no success, `order_*` are the shop's, if there is one."""

    subscription_id: int
    status: DeliveryStatus
    reason: str | None
    order_id: int | None
    order_number: str | None
    next_delivery_date: date | None


async def process_due_subscriptions(ctx: Context, delivery_date: DeliveryDay | None = None) -> RunResult:
    """Plan the deliveries of a date: what is charged, what is skipped and why, and a job for each charge."""
    settings, now = ctx[Settings], datetime.now(UTC)
    timezone = ZoneInfo(settings.schedule_timezone)
    # Not today's: a job that waits beyond midnight still works for the day on which it was asked for.
    day = delivery_date or ctx.enqueued_at.astimezone(UTC).date()
    ensure_begun(day, now, timezone)
    # A delivery that was due longer ago is not even written down as missed.
    ensure_not_long_over(day, now, timezone, MISSED_KEPT_DAYS)
    news = RunNews(settings.owner_email, settings.charge_follow_ups)
    options = RunOptions(
        charging=CHARGING,
        bounds=brake_bounds(settings),
        notice=timedelta(days=settings.pre_debit_notice_days),
        telling=send_delivery_skipped_task.name,
        at_begin=news.begun,
        at_end=news.ended,
        at_brake=news.braked,
        announcing=ANNOUNCING,
    )
    run = DeliveryRun(ctx[Database], Terms(day, settings.missed_deliveries), options, by=ctx.job_id)
    try:
        return _result(await run.run(partial(ctx.progress, message=f"deliveries of {day}")))
    except SoftTimeLimitExceeded as limit:
        raise RunInterrupted(day, "its time was over") from limit


@task(queue=Queue.SUBSCRIPTIONS, visible={"subscription_id", "delivery_date"}, effects=DeliveryCharges())
async def process_single_subscription(
    ctx: Context, subscription_id: int, delivery_date: DeliveryDay | None = None
) -> DeliveryResult:
    """Charge a subscription's delivery of a date, once, and settle it: order, payment, stock and message."""
    settings, now = ctx[Settings], datetime.now(UTC)
    day = delivery_date or ctx.enqueued_at.astimezone(UTC).date()
    ensure_begun(day, now, ZoneInfo(settings.schedule_timezone))
    key = ChargeKey(day, SubscriptionId(subscription_id))
    charged = await ctx[Charging].charge(Terms(day, settings.missed_deliveries), key, ctx.ensure_held)
    if isinstance(charged, NotDue):
        return DeliveryResult(
            subscription_id=subscription_id,
            status="skipped",
            reason="not_due",
            order_id=None,
            order_number=None,
            next_delivery_date=charged.next_delivery_date,
        )
    return _delivery(charged)


@task(queue=Queue.SUBSCRIPTIONS, visible={"subscription_id", "delivery_date", "look"}, effects=DeliveryCharges())
async def follow_up_charge(ctx: Context, subscription_id: int, delivery_date: DeliveryDay, look: int) -> DeliveryResult:
    """Ask the gateway what became of a charge that was left open, and settle it."""
    key = ChargeKey(delivery_date, SubscriptionId(subscription_id))
    return _delivery(await ctx[Charging].look(key, ctx.ensure_held, look))


@task(queue=Queue.SUBSCRIPTIONS, visible={"subscription_id", "delivery_date"})
async def announce_debit(ctx: Context, subscription_id: int, delivery_date: DeliveryDay) -> Announced:
    """Have the bank announce a delivery's debit to the customer, a day or more before it is made."""
    key = ChargeKey(delivery_date, SubscriptionId(subscription_id))
    return await ctx[Charging].notices.announce(key, ctx.ensure_held)


def _delivery(record: ChargeRecord) -> DeliveryResult:
    statuses: Mapping[ChargeState, DeliveryStatus] = {
        "captured": "success",
        "skipped": "skipped",
        "refused": "failed",
    }
    has_order = record.order_id is not None
    reason = record.reason
    if reason is None and record.state in WAITING_STATES:
        # It will come back by itself.
        reason = "debit_under_way"
    return DeliveryResult(
        subscription_id=record.subscription_id,
        status=statuses.get(record.state, "pending"),
        reason=reason,
        order_id=record.order_id,
        order_number=record.order_number if has_order else None,
        next_delivery_date=record.next_delivery_date,
    )


def _result(run: SubscriptionRun) -> RunResult:
    return RunResult(
        delivery_date=run.delivery_date,
        charges=run.charges,
        amount=rupees_of(run.charges_paise),
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


# Its schedule begins here: tests declare it in registries of their own.
midnight_run = declare_midnight_run(TASKS)
