"""A worker whose jobs put what they did on record, or a relay alone, for a test that kills them.

`python -m tests.e2e.outbox_worker ROLE REDIS_URL DATABASE_URL JOURNAL LEASE_SECONDS`, where the role is `worker` or
`relay`; SIGTERM drains the worker.
"""

import asyncio
import signal
import sys
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.db.engine import Database, DatabaseUnavailable
from app.db.leases import Lease
from app.errors import Unavailable
from app.history.projector import Projector
from app.jobs.companions import keep_running
from app.jobs.context import Context, Resources
from app.jobs.events import EventStream
from app.jobs.pool import JobPool
from app.jobs.queues import Queue
from app.jobs.task import TaskRegistry
from app.jobs.worker import Worker, WorkerOptions
from app.outbox.relay import OutboxRelay
from app.outbox.reruns import end_failed
from tests.e2e.crash_worker import Journal

SLOTS = 20
SOON = timedelta(milliseconds=300)

tasks = TaskRegistry()

_IS_DONE = text("SELECT 1 FROM effects WHERE root_id = :root")
_RECORD = text("INSERT INTO effects (root_id) VALUES (:root) ON CONFLICT DO NOTHING")


@tasks.task(queue=Queue.DEFAULT)
async def take_effect(ctx: Context, number: int) -> None:
    """Happens where it is not on record that it did, and puts that on record."""
    ctx[Journal].note("start", ctx)
    root = {"root": ctx.root_id}
    try:
        async with ctx[Database].autocommit() as connection:
            if (await connection.execute(_IS_DONE, root)).first() is not None:
                return
            ctx.ensure_held()
            ctx[Journal].note("effect", ctx)
            await connection.execute(_RECORD, root)
            ctx[Journal].note("recorded", ctx)
    except (DatabaseUnavailable, DBAPIError) as error:
        raise Unavailable("PostgreSQL is away", retry_after=SOON) from error


async def main(role: str, redis_url: str, database_url: str, journal: Path, lease: timedelta) -> None:
    pool = JobPool.from_dsn(redis_url, tasks)
    database = Database(database_url, application_name="indostar test")
    relay = OutboxRelay(database, database_url, pool, lease=lease)
    if role == "relay":
        structlog.get_logger().info("relay.started")
        await keep_running(relay)
    stream = EventStream(pool.connection_pool)
    projector = Projector(database, stream, tasks, Lease(database, Projector.name, uuid4().hex), end_failed)
    options = WorkerOptions(
        slots={Queue.DEFAULT: SLOTS}, health_key="health", lease=lease, companions=[relay, projector]
    )
    worker = Worker(pool, Resources([Journal(journal), database]), options)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    await worker.run()
    await stream.aclose()
    await pool.aclose()
    await database.close()


if __name__ == "__main__":
    structlog.configure(processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()])
    role, redis_url, database_url, journal, lease = sys.argv[1:]
    asyncio.run(main(role, redis_url, database_url, Path(journal), timedelta(seconds=float(lease))))
