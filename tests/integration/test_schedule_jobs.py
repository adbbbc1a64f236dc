"""From a slot to its job: schedules, outbox, Redis and workers together."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from arq.cron import cron
from sqlalchemy import select

from app.db.engine import Database
from app.db.schedules import ScheduleRun
from app.jobs.context import Context
from app.jobs.pool import JobPool
from app.jobs.queues import Queue
from app.jobs.task import TaskRegistry
from app.jobs.worker import Worker
from app.outbox.relay import OutboxRelay
from app.schedules.firing import ScheduleFiring
from tests.running import open_pool, running_worker
from tests.waiting import until

tasks = TaskRegistry()


class Diary:
    def __init__(self) -> None:
        self.ids: list[str] = []


@tasks.task(queue=Queue.DEFAULT, schedule=partial(cron, second=set(range(60))))
async def tick(context: Context) -> None:
    """Runs every second."""
    context[Diary].ids.append(context.job_id)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, application_name="indostar test", pool_size=10)
    yield database
    await database.close()


@pytest.fixture
async def pool(redis_url: str) -> AsyncIterator[JobPool]:
    async with open_pool(redis_url, tasks) as pool:
        yield pool


async def fired_jobs(database: Database) -> set[str]:
    async with database.session() as session:
        return set(await session.scalars(select(ScheduleRun.job_id).where(ScheduleRun.outcome == "fired")))


async def test_every_slots_job_runs_though_redis_is_emptied(
    database: Database, database_url: str, pool: JobPool
) -> None:
    diary = Diary()

    def worker() -> AbstractAsyncContextManager[Worker]:
        relay = OutboxRelay(database, database_url, pool, lease=timedelta(seconds=5))
        return running_worker(pool, [diary], companions=[relay, ScheduleFiring(database, tasks, ZoneInfo("UTC"))])

    async with worker(), worker():
        await until(lambda: len(diary.ids) >= 2)
        fired = await fired_jobs(database)
        await pool.flushall()

        # Those before it, and more after it.
        await until(lambda: fired < set(diary.ids))

    assert set(diary.ids) <= await fired_jobs(database)
