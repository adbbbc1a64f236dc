"""Watching over the runs of deliveries: the owner is told of one that has not finished, however it came to that."""

from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any, Literal, NamedTuple, TypedDict
from zoneinfo import ZoneInfo

import structlog
from arq.cron import cron
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from app import outbox
from app.db.clock import database_time
from app.db.engine import Database
from app.db.schedules import ScheduleRun
from app.db.subscription_runs import SubscriptionRun
from app.deliveries import runs
from app.deliveries.days import ONE_DAY, DeliveryDay
from app.jobs.context import Context
from app.jobs.queues import Queue
from app.money import rupees_of
from app.schedules import ledger
from app.settings import Settings
from app.tasks.owner_mail import send_run_unfinished_task, tell_owner
from app.tasks.registry import task

log = structlog.stdlib.get_logger(__name__)

# The largest run is over by then, and the rest of the day is long enough to do something about one that is not.
LOOKED_AT_AFTER = timedelta(hours=2)
# Of an error, in the words to the owner.
LONGEST_ERROR = 300

# The one that is alive, else the latest.
_JOB = text(
    """
    SELECT id, status, error_type, error_message FROM tasks.jobs
    WHERE task = :task AND enqueued_at >= CAST(:day AS date) - 1
        AND coalesce(kwargs->>'delivery_date', CAST(CAST(enqueued_at AT TIME ZONE 'UTC' AS date) AS text)) = :said
    ORDER BY status IN ('queued', 'running', 'retrying') DESC, enqueued_at DESC LIMIT 1
    """
)


class WatchResult(TypedDict):
    """How a run stands, or that nothing was due of its date; `why` it has not finished, and how many `mails` say so."""

    delivery_date: date
    run: Literal["finished", "unfinished", "just begun", "nothing due"]
    why: str | None
    mails: int


class _Reason(NamedTuple):
    """Why a run has not finished; of one `kind` the owner is told once."""

    kind: str
    words: str


# Two hours behind the run's own schedule, whatever became of that.
@task(
    # Where nobody serves the queue of the deliveries, somebody has to say so.
    queue=Queue.DEFAULT,
    visible={"delivery_date"},
    schedule=partial(cron, hour=LOOKED_AT_AFTER // timedelta(hours=1), minute=0),
)
async def watch_subscription_run(ctx: Context, delivery_date: DeliveryDay | None = None) -> WatchResult:
    """Tell the owner where the run of a date has not finished, or not even begun, and why."""
    settings = ctx[Settings]
    day = delivery_date or ctx.enqueued_at.astimezone(UTC).date()
    async with ctx[Database].session() as session:
        run = await session.get(SubscriptionRun, day)
        if run is not None and run.finished_at is not None:
            return WatchResult(delivery_date=day, run="finished", why=None, mails=0)
        if run is None and not await runs.is_anything_due(session, day):
            return WatchResult(delivery_date=day, run="nothing due", why=None, mails=0)
        slot = await _slot(session, day, ZoneInfo(settings.schedule_timezone))
        if await _is_early(session, day, run, slot):
            return WatchResult(delivery_date=day, run="just begun", why=None, mails=0)
        reason = await _why_unfinished(session, day, run, slot)
        log.error("subscriptions.run_unfinished", date=day.isoformat(), reason=reason.kind)
        mails = await tell_owner(
            session,
            settings.owner_email,
            send_run_unfinished_task,
            f"run_unfinished:{day}:{reason.kind}",
            delivery_date=day,
            why=reason.words,
            charges=run.charges if run else 0,
            amount=rupees_of(run.charges_paise if run else 0),
        )
    return WatchResult(delivery_date=day, run="unfinished", why=reason.words, mails=mails)


async def have_watched(session: AsyncSession, day: date, begun_at: datetime) -> None:
    """Writes the job that looks after the run which begins then: one, however often it begins within an hour."""
    due = begun_at + LOOKED_AT_AFTER
    await _watch(session, day, f"{due:%Y-%m-%dT%H}", due)


async def _watch(session: AsyncSession, day: date, key: str, due: datetime) -> bool:
    """Whether there was no such job yet."""
    key = f"watch:{day}:{key}"
    return await outbox.add(session, watch_subscription_run, key=key, not_before=due, delivery_date=day) is not None


async def _is_early(session: AsyncSession, day: date, run: SubscriptionRun | None, slot: ScheduleRun | None) -> bool:
    """Whether it is too early to say anything, as where all that was missed is caught up with; then it looks again."""
    now = await database_time(session)
    if run is None and slot is None:
        # The schedule's slot may be settled this very moment.
        return await _watch(session, day, "unsettled", now + LOOKED_AT_AFTER)
    begun_at = run.started_at if run else slot.fired_at if slot else None
    if begun_at is None or now >= begun_at + LOOKED_AT_AFTER:
        return False
    await have_watched(session, day, begun_at)
    return True


async def _slot(session: AsyncSession, day: date, timezone: ZoneInfo) -> ScheduleRun | None:
    """What became of the run's schedule on that day."""
    begins, ends = (datetime.combine(each, time(), timezone) for each in (day, day + ONE_DAY))
    return await ledger.last_slot(session, runs.RUNNING, begins, ends)


async def _why_unfinished(
    session: AsyncSession, day: date, run: SubscriptionRun | None, slot: ScheduleRun | None
) -> _Reason:
    if run is not None and run.paused_at is not None:
        since = run.paused_at
        return _Reason(f"on_hold:{since.isoformat()}", f"it is on hold since {since:%H:%M} UTC: {run.paused_because}")
    job = (await session.execute(_JOB, {"task": runs.RUNNING, "day": day, "said": day.isoformat()})).one_or_none()
    if job is not None:
        return _of_its_job(job)
    if run is not None:
        return _Reason("unknown", f"what became of its job {run.started_by} is not on record")
    match slot.outcome if slot else None:
        case "missed":
            return _Reason("missed", "it has not begun: no worker was alive at its time")
        case "skipped_paused":
            return _Reason("skipped", "it has not begun: its schedule is paused")
        case _:
            return _Reason("not_begun", "it has not begun, and no job of it is on record")


def _of_its_job(job: Row[Any]) -> _Reason:
    error = f"{job.error_type}: {job.error_message}"[:LONGEST_ERROR] if job.error_type else None
    match job.status:
        case "failed":
            return _Reason(f"failed:{job.id}", f"its job {job.id} has failed with {error}")
        case "cancelled":
            return _Reason(f"aborted:{job.id}", f"its job {job.id} was aborted")
        case "succeeded":
            return _Reason(f"ended:{job.id}", f"its job {job.id} has ended, and nothing has started it again")
        case "queued":
            return _Reason("under_way", f"its job {job.id} waits to be run")
        case _:
            held_up = f", held up by {error}" if error else ""
            return _Reason("under_way", f"it is still under way, by the job {job.id}{held_up}")
