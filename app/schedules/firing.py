"""Fires the schedules that tasks declare: each slot once, however many workers run, stop and start."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import text

from app.db.clock import Clock, database_time
from app.db.engine import Database
from app.jobs.slots import next_slot
from app.jobs.task import Task
from app.schedules import ledger
from app.schedules.settling import PROMPT, ScheduledTask, Settled, scheduled_tasks, settle

log = structlog.stdlib.get_logger(__name__)

# Clocks are set and schedules resumed while a worker sleeps.
LONGEST_SLEEP = timedelta(seconds=30)
# When to see whether another worker, which was firing a slot, has done so.
LOOK_AGAIN = timedelta(seconds=1)
# A worker that stands still in the middle loses its transaction, so that another can fire the slot. It holds for the
# transaction only, as PgBouncer needs it.
GIVE_UP = text("SET LOCAL idle_in_transaction_session_timeout = '10s'")


class ScheduleFiring:
    """A companion of every worker. What is due is decided by the database's clock, which all of them share.

    Where PostgreSQL is away it raises, to be started again: no slot is lost, since the ledger knows what was settled.
    """

    name = "schedules"

    def __init__(
        self, database: Database, tasks: Iterable[Task[..., Any]], timezone: ZoneInfo, clock: Clock = database_time
    ) -> None:
        self._database = database
        self._scheduled = scheduled_tasks(tasks, timezone)
        self._clock = clock

    async def run(self) -> None:
        """Fires until it is cancelled; returns at once where no task has a schedule."""
        loop = asyncio.get_running_loop()
        while self._scheduled:
            looked_at = loop.time()
            wait = min(await self.look(), LONGEST_SLEEP)
            await asyncio.sleep(looked_at + wait.total_seconds() - loop.time())

    async def look(self) -> timedelta:
        """Settles the slots that are due, and says how long it is until there is something to do again.

        Raises what kept schedules from being settled, once all others are.
        """
        now, settled_until = await self._read()
        waits = []
        errors = []
        for scheduled in self._scheduled:
            crontab, timezone = scheduled.schedule.crontab, scheduled.timezone
            waits.append(next_slot(crontab, now, timezone) - now)
            if next_slot(crontab, settled_until[scheduled.name], timezone) > now:
                continue
            try:
                if not await self._settle(scheduled):
                    waits.append(LOOK_AGAIN)
            except Exception as error:  # noqa: BLE001 -- raised below
                errors.append(error)
        if errors:
            raise ExceptionGroup("schedules that could not be settled", errors)
        return min(waits)

    async def _read(self) -> tuple[datetime, Mapping[str, datetime]]:
        """What time it is, and up to when each schedule is settled."""
        names = [scheduled.name for scheduled in self._scheduled]
        async with self._database.session() as session:
            now = await self._clock(session)
            known = await ledger.states(session, names)
            if missing := set(names) - known.keys():
                await ledger.register(session, missing, now)
                known = await ledger.states(session, names)
        return now, {name: state.settled_until for name, state in known.items()}

    async def _settle(self, scheduled: ScheduledTask) -> bool:
        """Settles what is due; False where another worker is at it."""
        has_more = True
        while has_more:
            async with self._database.session() as session:
                await session.execute(GIVE_UP)
                state = await ledger.try_lock(session, scheduled.name)
                if state is None:
                    return False
                now = await self._clock(session)
                settled = await settle(session, scheduled, state, now)
            _tell(scheduled, settled, now)
            has_more = settled.has_more
        return True


def _tell(scheduled: ScheduledTask, settled: Settled, now: datetime) -> None:
    passed_over = settled.passed_over
    if passed_over:
        tell = log.warning if settled.why == "missed" else log.info
        first, last = passed_over[0].isoformat(), passed_over[-1].isoformat()
        tell(f"schedule.{settled.why}", task=scheduled.name, slots=len(passed_over), first=first, last=last)
    if settled.fired is not None:
        late = now - settled.fired
        tell = log.info if late <= PROMPT else log.warning
        slot, seconds = settled.fired.isoformat(), round(late.total_seconds(), 1)
        tell("schedule.fired", task=scheduled.name, job_id=settled.job_id, slot=slot, late_seconds=seconds)
