"""The same worker with a projector in its process: what it costs to put every job on record."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from app.db.engine import Database
from app.db.leases import Lease
from app.history.projector import Projector
from app.jobs.context import Resources
from app.jobs.events import EventStream
from app.jobs.pool import JobPool
from app.jobs.queues import Queue
from app.jobs.shell import run_instead
from app.jobs.worker import Worker
from app.logs import configure_logging
from app.tasks.serving import worker_options
from bench.measured.work import ASSIGNMENT
from bench.ours.worker import TASKS
from worker import one_queue, settings


@asynccontextmanager
async def open_recorded_worker(burst: bool) -> AsyncIterator[Worker]:
    configure_logging(settings)
    pool = JobPool.from_dsn(ASSIGNMENT.redis_url, TASKS)
    database = Database(settings.database_url.get_secret_value(), application_name="indostar bench")
    stream = EventStream(pool.connection_pool)
    projector = Projector(database, stream, TASKS, Lease(database, Projector.name, "bench"))
    try:
        options = worker_options(settings, [Queue.DEFAULT], burst=burst)
        yield Worker(pool, Resources([]), replace(options, companions=[projector]))
    finally:
        await stream.aclose()
        await database.close()
        await pool.aclose()


WorkerSettings = one_queue(Queue.DEFAULT) | {"on_startup": run_instead(open_recorded_worker)}
