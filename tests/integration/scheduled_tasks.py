"""Tasks with schedules, a clock that is set, and what the ledger says in the end."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from arq.cron import cron
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.engine import Database
from app.db.outbox import OutboxJob
from app.db.schedules import ScheduleRun
from app.jobs.context import Context
from app.jobs.queues import Queue
from app.jobs.task import Task, TaskRegistry

BERLIN = ZoneInfo("Europe/Berlin")
UTC_ZONE = ZoneInfo("UTC")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
START = datetime(2026, 3, 26, 12, 0, 0, 250_000, tzinfo=UTC)


class SettableClock:
    """A database's clock that tests set."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    async def __call__(self, _session: AsyncSession) -> datetime:
        return self.now


async def deliver(context: Context, delivery_date: date | None = None) -> None:
    """Deliver what is due."""


async def sweep(context: Context) -> None:
    """Sweep."""


def declared(function: Any = deliver, catch_up: timedelta = DAY, **fields: Any) -> Task[..., Any]:
    return TaskRegistry().task(queue=Queue.DEFAULT, schedule=partial(cron, **fields), catch_up=catch_up)(function)


MIDNIGHT = declared(hour=0, minute=0, catch_up=12 * HOUR)
HOURLY = declared(sweep, minute=15)


async def outcomes(database: Database, task: Task[..., Any]) -> Mapping[datetime, str]:
    async with database.session() as session:
        runs = await session.scalars(select(ScheduleRun).filter_by(schedule=task.name).order_by(ScheduleRun.slot))
        return {run.slot: run.outcome for run in runs}


async def jobs(database: Database) -> Sequence[OutboxJob]:
    async with database.session() as session:
        return list(await session.scalars(select(OutboxJob).order_by(OutboxJob.id)))
