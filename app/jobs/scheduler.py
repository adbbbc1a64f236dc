"""Fires the schedules that tasks declare: each slot once, however many workers run."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from arq.cron import CronJob

from app.jobs.outage import RedisLine
from app.jobs.pool import JobPool

log = structlog.stdlib.get_logger(__name__)


class Scheduler:
    """Enqueues each slot under an id of its own, which all workers share."""

    def __init__(self, pool: JobPool, line: RedisLine) -> None:
        self._pool = pool
        self._line = line
        self._schedules = {task.name: task.schedule for task in pool.tasks if task.schedule is not None}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for name, schedule in self._schedules.items():
                group.create_task(self._fire(name, schedule), name=f"schedule {name}")

    async def _fire(self, name: str, schedule: CronJob) -> None:
        last = datetime.now(UTC)
        while True:
            last = slot = next_slot(schedule, last)
            while (wait := slot - datetime.now(UTC)) > timedelta(0):  # noqa: ASYNC110 -- it waits for the clock
                # A long sleep would miss a clock that is set while it lasts.
                await asyncio.sleep(min(wait.total_seconds(), 30))
            job_id = f"schedule:{name}:{slot:%Y-%m-%dT%H:%M:%SZ}"
            job = await self._line.call(partial(self._pool.enqueue_job, name, _job_id=job_id))
            if job is not None:
                log.info("schedule.fired", task=name, job_id=job_id)


def next_slot(schedule: CronJob, after: datetime) -> datetime:
    """The schedule's first slot after that time."""
    schedule.calculate_next(after)
    if schedule.next_run is None:
        raise ValueError(f"{schedule.name} never runs")
    return schedule.next_run.replace(microsecond=0)


def cron_expression(schedule: CronJob) -> str:
    """The schedule in crontab's five fields."""
    fields = (schedule.minute, schedule.hour, schedule.day, schedule.month, schedule.weekday)
    return " ".join(_cron_field(field) for field in fields)


def _cron_field(field: object) -> str:
    if field is None:
        return "*"
    return ",".join(map(str, sorted(field))) if isinstance(field, (set, list, tuple)) else str(field)
