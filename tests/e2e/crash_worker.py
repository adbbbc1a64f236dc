"""A worker whose jobs write what they do to a file, for tests that kill, stop and cut off workers.

`python -m tests.e2e.crash_worker REDIS_URL JOURNAL LEASE_SECONDS`; SIGTERM drains it.
"""

import asyncio
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import structlog

from app.jobs.context import Context, Resources
from app.jobs.pool import JobPool
from app.jobs.queues import Queue
from app.jobs.task import TaskRegistry
from app.jobs.worker import Worker, WorkerOptions

SLOTS = 10

tasks = TaskRegistry()


class Entry(NamedTuple):
    """One line of the journal: a job's `start` or `end` in the process `pid`."""

    what: str
    job_id: str
    pid: int


class Journal:
    """What jobs did, in order; it outlives every process and server."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, what: str, ctx: Context) -> None:
        os.write(self._file, f"{what} {ctx.job_id} {os.getpid()}\n".encode())

    def entries(self) -> list[Entry]:
        lines = (line.split() for line in self._path.read_text().splitlines())
        return [Entry(what, job_id, int(pid)) for what, job_id, pid in lines]


@tasks.task(queue=Queue.DEFAULT)
async def work(ctx: Context, seconds: float) -> None:
    """Takes so long."""
    ctx[Journal].note("start", ctx)
    await asyncio.sleep(seconds)
    ctx[Journal].note("end", ctx)


@tasks.task(queue=Queue.DEFAULT)
async def work_carefully(ctx: Context, seconds: float) -> None:
    """Takes so long, and ends only where it still holds the job."""
    ctx[Journal].note("start", ctx)
    await asyncio.sleep(seconds)
    ctx.ensure_held()
    ctx[Journal].note("end", ctx)


@tasks.task(queue=Queue.DEFAULT)
async def block_once(ctx: Context, seconds: float) -> None:
    """Blocks the event loop, but not where somebody did so before."""
    journal = ctx[Journal]
    is_first = all(entry.job_id != ctx.job_id for entry in journal.entries())
    journal.note("start", ctx)
    if is_first:
        time.sleep(seconds)  # noqa: ASYNC251 -- as careless tasks do
    ctx.ensure_held()
    journal.note("end", ctx)


async def main(redis_url: str, journal: Path, lease: timedelta) -> None:
    pool = JobPool.from_dsn(redis_url, tasks)
    options = WorkerOptions(slots=dict.fromkeys(Queue, SLOTS), health_key="health", lease=lease)
    worker = Worker(pool, Resources([Journal(journal)]), options)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    await worker.run()
    await pool.aclose()


if __name__ == "__main__":
    structlog.configure(processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()])
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), timedelta(seconds=float(sys.argv[3]))))
