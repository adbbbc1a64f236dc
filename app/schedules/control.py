"""What operators do with schedules: see when they run, pause and resume them, run one now."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from app.db.clock import Clock, database_time
from app.db.engine import Database
from app.errors import Refused
from app.jobs.failures import WrongArguments
from app.jobs.slots import next_slot
from app.jobs.task import Task
from app.schedules import ledger
from app.schedules.ledger import LastRun
from app.schedules.settling import ScheduledTask, scheduled_tasks, settle, start_job

MICROSECOND = timedelta(microseconds=1)


class UnknownSchedule(Refused):
    """No task of that name has a schedule."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name, known)
        self.name = name
        self.known = known

    def __str__(self) -> str:
        return f"there is no schedule {self.name!r}; the schedules are {', '.join(self.known) or 'none'}"


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """A schedule, what it did last and when it runs next: None while it is paused.

    `late` is how long the oldest slot that nobody has settled has been due.
    """

    name: str
    expression: str
    timezone: str
    next_run_at: datetime | None
    last_run: LastRun | None
    paused_at: datetime | None
    paused_by: str | None
    late: timedelta


class ScheduleControl:
    """Steers schedules by what PostgreSQL knows, whether workers run or not.

    Raises UnknownSchedule where a name is none.
    """

    def __init__(
        self, database: Database, tasks: Iterable[Task[..., Any]], timezone: ZoneInfo, clock: Clock = database_time
    ) -> None:
        self._database = database
        self._scheduled = {each.name: each for each in scheduled_tasks(tasks, timezone)}
        self._clock = clock

    async def views(self) -> Sequence[ScheduleView]:
        """Every schedule, in the order in which their tasks are declared."""
        async with self._database.session() as session:
            now = await self._clock(session)
            states = await ledger.states(session, self._scheduled)
            last_runs = await ledger.last_runs(session, self._scheduled)
        views = []
        for name, scheduled in self._scheduled.items():
            state = states.get(name)
            paused_at, paused_by = (state.paused_at, state.paused_by) if state else (None, None)
            crontab, timezone = scheduled.schedule.crontab, scheduled.timezone
            unsettled = now if state is None or paused_at else next_slot(crontab, state.settled_until, timezone)
            views.append(
                ScheduleView(
                    name=name,
                    expression=crontab.expression,
                    timezone=timezone.key,
                    next_run_at=None if paused_at else next_slot(crontab, now, timezone),
                    last_run=last_runs.get(name),
                    paused_at=paused_at,
                    paused_by=paused_by,
                    late=max(now - unsettled, timedelta(0)),
                )
            )
        return views

    async def pause(self, name: str, by: str) -> None:
        """No slot is fired from now on, not even one that is due already. Pausing twice changes nothing."""
        self._known(name)
        async with self._database.session() as session:
            now = await self._clock(session)
            await ledger.register(session, [name], now)
            state = await ledger.lock(session, name)
            if state.paused_at is None:
                state.paused_at, state.paused_by = now, by

    async def resume(self, name: str) -> None:
        """Slots are fired again from the next one on: those in between are skipped, whether workers ran or not."""
        scheduled = self._known(name)
        async with self._database.session() as session:
            await ledger.register(session, [name], await self._clock(session))
            state = await ledger.lock(session, name)
            if state.paused_at is None:
                return
            now = await self._clock(session)
            while (await settle(session, scheduled, state, now)).has_more:
                pass
            state.paused_at = state.paused_by = None

    async def run_now(self, name: str, day: date | None = None) -> str:
        """The id of a job started now, paused or not, that works for that day (None: today by the schedule's clocks).

        Raises WrongArguments where a day is given and the task takes none.
        """
        scheduled = self._known(name)
        if day is not None and scheduled.schedule.date_argument is None:
            raise WrongArguments(name, [("date", "is no argument of this task")])
        async with self._database.session() as session:
            now = await self._clock(session)
            await ledger.register(session, [name], now)
            # Slots by themselves are whole seconds: one that was asked for lies between them.
            slot = now.replace(microsecond=max(1, now.microsecond))
            day = day or scheduled.day(now)
            while (job_id := await start_job(session, scheduled, slot, "by_hand", day, now)) is None:
                slot += MICROSECOND
            return job_id

    def _known(self, name: str) -> ScheduledTask:
        scheduled = self._scheduled.get(name)
        if scheduled is None:
            raise UnknownSchedule(name, list(self._scheduled))
        return scheduled
