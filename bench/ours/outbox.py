"""Our worker with all that outbox jobs go through: the relay, and the projector beside it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from app import outbox
from app.db.engine import Database
from app.db.leases import Lease
from app.history.projector import Projector
from app.jobs.companions import Companion
from app.jobs.context import Resources
from app.jobs.events import EventStream
from app.jobs.pool import JobPool
from app.jobs.queues import Queue
from app.jobs.shell import run_instead
from app.jobs.worker import Worker
from app.logs import configure_logging
from app.outbox.relay import OutboxRelay
from app.outbox.reruns import end_failed
from app.tasks.serving import worker_options
from bench.measured.sender import Sender
from bench.measured.work import ASSIGNMENT
from bench.ours.worker import TASKS
from worker import one_queue, settings

DATABASE_URL = settings.database_url.get_secret_value()


@asynccontextmanager
async def open_relaying_worker(burst: bool) -> AsyncIterator[Worker]:
    configure_logging(settings)
    pool = JobPool.from_dsn(ASSIGNMENT.redis_url, TASKS)
    database = Database(DATABASE_URL, application_name="indostar bench")
    stream = EventStream(pool.connection_pool)
    options = worker_options(settings, [Queue.DEFAULT], burst=burst)
    companions: list[Companion] = [
        OutboxRelay(database, DATABASE_URL, pool, lease=options.lease),
        Projector(database, stream, TASKS, Lease(database, Projector.name, "bench"), end_failed),
    ]
    try:
        yield Worker(pool, Resources([]), replace(options, companions=companions))
    finally:
        await stream.aclose()
        await database.close()
        await pool.aclose()


WorkerSettings = one_queue(Queue.DEFAULT) | {"on_startup": run_instead(open_relaying_worker)}


class _Backend:
    """Commits one job a transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def send(self, task: str, number: int) -> None:
        async with self._database.session() as session:
            await outbox.add(session, TASKS[task], number)


@asynccontextmanager
async def sender() -> AsyncIterator[Sender]:
    database = Database(DATABASE_URL, application_name="indostar bench")
    yield _Backend(database)
    await database.close()
