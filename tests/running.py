"""A worker of ours inside the test's own event loop."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from app.jobs.context import Resources
from app.jobs.lookup import JobRecord, find_job
from app.jobs.pool import JobPool
from app.jobs.queues import Queue
from app.jobs.task import TaskRegistry
from app.jobs.worker import Worker, WorkerOptions

ALL_QUEUES: Mapping[Queue, int] = dict.fromkeys(Queue, 10)


@asynccontextmanager
async def open_pool(redis_url: str, tasks: TaskRegistry) -> AsyncIterator[JobPool]:
    pool = JobPool.from_dsn(redis_url, tasks)
    try:
        yield pool
    finally:
        await pool.aclose()


def make_worker(
    pool: JobPool, resources: Iterable[Any] = (), *, slots: Mapping[Queue, int] = ALL_QUEUES, **options: Any
) -> Worker:
    """A worker with short times; `options` are WorkerOptions."""
    defaults: dict[str, Any] = {
        "health_key": "health",
        "lease": timedelta(seconds=5),
        "grace": timedelta(seconds=5),
    }
    return Worker(pool, Resources(resources), WorkerOptions(slots=slots, **(defaults | options)))


@asynccontextmanager
async def running_worker(pool: JobPool, resources: Iterable[Any] = (), **options: Any) -> AsyncIterator[Worker]:
    """A worker that serves until the block ends, and is drained then."""
    worker = make_worker(pool, resources, **options)
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await running


async def run_burst(pool: JobPool, resources: Iterable[Any] = (), **options: Any) -> None:
    """Runs everything that is due, and what that enqueues, to its end."""
    await make_worker(pool, resources, burst=True, **options).run()


async def found(pool: JobPool, job_id: str) -> JobRecord:
    """The job, which must exist."""
    job = await find_job(pool, job_id)
    assert job is not None
    return job
