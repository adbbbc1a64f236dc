"""Our worker with the measured jobs: started by arq's command line as `worker.py` is, and with its settings."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from app.jobs.context import Context, Resources
from app.jobs.pool import JobPool
from app.jobs.queues import Queue
from app.jobs.shell import run_instead
from app.jobs.task import TaskRegistry
from app.jobs.worker import Worker
from app.logs import configure_logging
from app.tasks.serving import worker_options
from bench.measured import awaiting
from bench.measured.sender import Sender
from bench.measured.work import ASSIGNMENT
from worker import one_queue, settings

TASKS = TaskRegistry()


@TASKS.task(queue=Queue.DEFAULT)
async def noop(_ctx: Context, number: int) -> None:
    """Do nothing."""
    await awaiting.noop(number)


@TASKS.task(queue=Queue.DEFAULT)
async def stamp(_ctx: Context, number: int) -> None:
    """Note how long it was on its way."""
    await awaiting.stamp(number)


@TASKS.task(queue=Queue.DEFAULT)
async def hold(_ctx: Context, number: int) -> None:
    """Take two seconds."""
    await awaiting.hold(number)


@asynccontextmanager
async def open_bench_worker(burst: bool) -> AsyncIterator[Worker]:
    configure_logging(settings)
    pool = JobPool.from_dsn(ASSIGNMENT.redis_url, TASKS)
    try:
        yield Worker(pool, Resources([]), worker_options(settings, [Queue.DEFAULT], burst=burst))
    finally:
        await pool.aclose()


WorkerSettings = one_queue(Queue.DEFAULT) | {"on_startup": run_instead(open_bench_worker)}


class _Client:
    def __init__(self, pool: JobPool) -> None:
        self._pool = pool

    async def send(self, task: str, number: int) -> None:
        await self._pool.enqueue_job(task, number)

    async def send_many(self, task: str, numbers: Sequence[int]) -> None:
        await self._pool.enqueue_many(task, [{"number": number} for number in numbers])


@asynccontextmanager
async def sender() -> AsyncIterator[Sender]:
    pool = JobPool.from_dsn(ASSIGNMENT.redis_url, TASKS)
    yield _Client(pool)
    await pool.aclose()
