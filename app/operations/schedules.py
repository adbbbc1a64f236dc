"""Schedules: when they run, run one now, pause, resume."""

import asyncio
from datetime import date

from app.jobs.lookup import JobState
from app.jobs.pool import JobPool
from app.operations.acting import LONGEST_NAME, Acting
from app.operations.actor import Actor
from app.operations.failures import NoSuchJob
from app.operations.finding import JobFinder
from app.operations.views import JobView, ScheduleView
from app.schedules.control import ScheduleControl
from app.schedules.control import ScheduleView as ScheduleState


class ScheduleOperations:
    """What operators ask of schedules and do with them, by the names of their tasks.

    Raises UnknownSchedule, DatabaseUnavailable, and what Redis raises.
    """

    def __init__(self, pool: JobPool, control: ScheduleControl, finder: JobFinder, acting: Acting) -> None:
        self._pool = pool
        self._control = control
        self._finder = finder
        self._acting = acting

    async def all(self) -> list[ScheduleView]:
        """Every schedule, in the order in which their tasks are declared."""
        return list(await asyncio.gather(*map(self._view, await self._control.views())))

    async def run(self, actor: Actor, name: str, day: date | None = None) -> JobView:
        """A job started now, paused or not, that works for that day (None: today by the schedule's clocks).

        Raises WrongArguments where a day is given and the task takes none.
        """
        told = {} if day is None else {"date": day.isoformat()}
        async with self._acting.on(actor, "schedule.run", "schedule", name[:LONGEST_NAME], **told) as details:
            job_id = details["job_id"] = await self._control.run_now(name, day)
        job = await self._finder.find(job_id)
        if job is None:
            raise NoSuchJob(job_id)
        return JobView.of(job, self._pool.tasks, actor.role)

    async def pause(self, actor: Actor, name: str) -> ScheduleView:
        """No slot is fired from now on. Pausing twice changes nothing."""
        async with self._acting.on(actor, "schedule.pause", "schedule", name[:LONGEST_NAME]):
            await self._control.pause(name, actor.name)
        return await self._one(name)

    async def resume(self, actor: Actor, name: str) -> ScheduleView:
        """Slots are fired again from the next one on."""
        async with self._acting.on(actor, "schedule.resume", "schedule", name[:LONGEST_NAME]):
            await self._control.resume(name)
        return await self._one(name)

    async def _one(self, name: str) -> ScheduleView:
        [state] = [state for state in await self._control.views() if state.name == name]
        return await self._view(state)

    async def _view(self, state: ScheduleState) -> ScheduleView:
        last_status: JobState | None = None
        if state.last_run is not None and state.last_run.job_id is not None:
            job = await self._finder.find(state.last_run.job_id)
            last_status = None if job is None else job.state
        return ScheduleView.of(state, last_status)
