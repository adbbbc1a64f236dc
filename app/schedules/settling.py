"""Deciding what becomes of slots that are due, and starting their jobs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from app import outbox
from app.db.schedules import ScheduleState, SlotOutcome
from app.jobs.schedule import Schedule
from app.jobs.slots import slots_between
from app.jobs.task import Task
from app.schedules import ledger

# Slots settled in one transaction. A schedule of every minute has as many in 16 hours.
MOST_SLOTS = 1000
# A slot that is no later than this was not missed, even where nothing is to be caught up.
PROMPT = timedelta(minutes=1)
# What was missed before that is not written down any more.
KEPT = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class ScheduledTask:
    """A task that has a schedule, and whose clocks it goes by."""

    task: Task[..., Any]
    schedule: Schedule
    timezone: ZoneInfo

    @property
    def name(self) -> str:
        return self.task.name

    def day(self, at: datetime) -> date:
        """The date on the schedule's clocks."""
        return at.astimezone(self.timezone).date()


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of slots: those that started no job and why, the one that did, and whether more are due."""

    passed_over: Sequence[datetime]
    why: SlotOutcome
    fired: datetime | None = None
    job_id: str | None = None
    has_more: bool = False


async def settle(session: AsyncSession, scheduled: ScheduledTask, state: ScheduleState, now: datetime) -> Settled:
    """Writes what becomes of the slots that are due, at most MOST_SLOTS, into the transaction that locked `state`.

    The latest is fired if it is not later than the schedule's limit; those before it were missed while nothing ran.
    Nothing is fired while the schedule is paused.
    """
    schedule = scheduled.schedule
    since = max(state.settled_until, now - KEPT)
    due = list(islice(slots_between(schedule.crontab, since, now, scheduled.timezone), MOST_SLOTS + 1))
    has_more = len(due) > MOST_SLOTS
    due = due[:MOST_SLOTS]
    why: SlotOutcome = "missed" if state.paused_at is None else "skipped_paused"
    if not due:
        return Settled(due, why)
    state.settled_until = due[-1]
    fired = job_id = None
    if state.paused_at is None and not has_more and now - due[-1] <= max(schedule.catch_up, PROMPT):
        fired = due.pop()
        job_id = await start_job(session, scheduled, fired, "fired", scheduled.day(fired), now)
    await ledger.record(session, scheduled.name, due, why)
    return Settled(due, why, fired if job_id else None, job_id, has_more)


async def start_job(
    session: AsyncSession, scheduled: ScheduledTask, slot: datetime, outcome: SlotOutcome, day: date, now: datetime
) -> str | None:
    """The id of the slot's job, which works for that day; None where the slot has had one.

    The slot's row and the job's are written in the session's transaction: there are both or none.
    """
    if not await ledger.record(session, scheduled.name, [slot], outcome, fired_at=now):
        return None
    key = f"schedule:{scheduled.name}:{slot.astimezone(UTC).isoformat().removesuffix('+00:00')}Z"
    job_id = await outbox.add(session, scheduled.task, key=key, **scheduled.schedule.kwargs(day))
    await ledger.note_job(session, scheduled.name, slot, job_id)
    return job_id


def scheduled_tasks(tasks: Iterable[Task[..., Any]], timezone: ZoneInfo) -> Sequence[ScheduledTask]:
    """Those of the tasks that have a schedule."""
    return [ScheduledTask(task, task.schedule, timezone) for task in tasks if task.schedule is not None]
