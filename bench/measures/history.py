"""History: what putting every job on record costs the worker, and a page of five million jobs."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime, timedelta

import asyncpg

from app.db.engine import Database
from app.history.reader import HistoryReader, JobFilter
from app.jobs.lookup import JobState
from app.jobs.queues import Queue
from bench.measures.mails import open_database
from bench.plan import Plan, median, percentile
from bench.report import Section, Target
from bench.systems import OURS_ON_RECORD, System
from bench.trial import Trial, open_trial

Beside = Callable[[str, str], AbstractAsyncContextManager[None]]

TRIES = 3
WITHIN = 120
# How often PostgreSQL is asked how many jobs are on record (seconds).
LOOK = 0.1
WANTED_PER_SECOND = 6_000

JOBS = 5_000_000
JOBS_A_STATEMENT = 250_000
DAYS = 90
NOW = datetime(2026, 3, 1, tzinfo=UTC)
PAGE = 50
PAGES = 40
WANTED_MS = 50
# Spread over time, tasks and states as in a shop: one in a hundred failed, one in ten thousand belongs to a rare task.
_JOBS = f"""
    INSERT INTO tasks.jobs (id, task, queue, status, kwargs, terms, enqueued_at, started_at, finished_at, tries,
                            max_tries, worker, root_id, last_event)
    SELECT 'job-' || n, task, CASE WHEN n % 10000 = 7 THEN 'subscriptions' ELSE 'notifications' END,
           CASE WHEN n % 100 = 0 THEN 'failed' ELSE 'succeeded' END,
           jsonb_build_object('order_number', 'ORD-' || n / 3),
           ARRAY['ord-' || n / 3], at, at + interval '2 milliseconds', at + interval '90 milliseconds', 1, 4,
           'host:1:abc', 'job-' || n, '0-0'
    FROM (
        SELECT n, CASE WHEN n % 10000 = 7 THEN 'process_due_subscriptions' WHEN n % 3 = 0 THEN 'send_sms_task'
                       ELSE 'send_email_task' END AS task,
               $1::timestamptz - interval '{DAYS} days' * (1 - n / $4::float8) AS at
        FROM generate_series($2::bigint, $3::bigint) AS n
    ) AS made
"""
_ATTEMPTS = """
    INSERT INTO tasks.attempts (job_id, number, job_try, started_at, finished_at, outcome, worker)
    SELECT 'job-' || n, 1, 1, $1::timestamptz, $1::timestamptz, 'succeeded', 'host:1:abc'
    FROM generate_series($2::bigint, $3::bigint) AS n
"""
ASKED = {
    "the newest": JobFilter(),
    "failed": JobFilter(status=JobState.FAILED),
    "failed, of a rare task": JobFilter(status=JobState.FAILED, task="process_due_subscriptions"),
    "of a rare task": JobFilter(task="process_due_subscriptions"),
    "running, of which there are none": JobFilter(status=JobState.RUNNING),
    "of a queue, until a month ago": JobFilter(queue=Queue.NOTIFICATIONS, until=NOW - timedelta(days=30)),
    "of an order": JobFilter(q="ORD-1234567"),
    "of no order": JobFilter(q="ORD-nothing"),
}


async def measure(_plan: Plan) -> Section:
    """Ours alone."""
    rates = [await recorded(OURS_ON_RECORD) for _ in range(TRIES)]
    pages = await _pages()
    rate = median(rates)
    slowest = max(pages.values())
    return Section(
        "History",
        f"No-op jobs from a full queue, from the first start until the last end is on record; medians of {TRIES}. Then "
        f"pages of {PAGE} among {JOBS:,} jobs; the slowest but one of {PAGES} each, one after the other.",
        ("", "jobs/s", "page, ms"),
        [
            (OURS_ON_RECORD.name, f"{rate:,.0f}", ""),
            *((f"page: {name}", "", f"{milliseconds:.1f}") for name, milliseconds in pages.items()),
        ],
        [
            Target("no-op jobs/s, on record", f"{WANTED_PER_SECOND:,}", f"{rate:,.0f}", rate >= WANTED_PER_SECOND),
            Target("a page of five million jobs", f"under {WANTED_MS} ms", f"{slowest:.1f} ms", slowest < WANTED_MS),
        ],
    )


async def recorded(system: System, beside: Beside | None = None) -> float:
    """Jobs per second, on record. `beside` lasts as long as that, and is given the URLs of Redis and PostgreSQL."""
    async with AsyncExitStack() as stack:
        database_url = await open_database(stack)
        trial = await stack.enter_async_context(open_trial(system, system.quick, database_url=database_url))
        if beside is not None:
            await stack.enter_async_context(beside(trial.valkey.url, database_url))
        connection = await asyncpg.connect(database_url, ssl=False)
        stack.push_async_callback(connection.close)
        await trial.fill("noop", system.quick_jobs)
        workers = await stack.enter_async_context(trial.workers())
        await workers.expect(f"{system.name} begins", lambda: trial.ran().jobs > 0)
        await _until_on_record(connection, system.quick_jobs)
        ended_ns = time.monotonic_ns()
        return _rate(trial, system.quick_jobs, ended_ns)


def _rate(trial: Trial, jobs: int, ended_ns: int) -> float:
    return jobs / (ended_ns - trial.ran().first_ns) * 1e9


async def _until_on_record(connection: asyncpg.Connection, jobs: int) -> None:
    async with asyncio.timeout(WITHIN):
        while await connection.fetchval("SELECT count(*) FROM tasks.jobs WHERE status = 'succeeded'") < jobs:
            await asyncio.sleep(LOOK)


async def _pages() -> dict[str, float]:
    """Milliseconds of a page, by what was asked for."""
    async with AsyncExitStack() as stack:
        database_url = await open_database(stack)
        await pile_up(database_url)
        database = Database(database_url, application_name="indostar bench")
        stack.push_async_callback(database.close)
        reader = HistoryReader(database)
        return {name: await _page(reader, wanted) for name, wanted in ASKED.items()}


async def _page(reader: HistoryReader, wanted: JobFilter) -> float:
    took = []
    cursor: str | None = None
    for _ in range(PAGES):
        started = time.perf_counter()
        page = await reader.page(wanted, limit=PAGE, cursor=cursor)
        took.append((time.perf_counter() - started) * 1000)
        cursor = page.next_cursor
    return percentile(took, 95)


async def pile_up(database_url: str, jobs: int = JOBS) -> None:
    """So many jobs on record, spread over time, tasks and states as in a shop, the last of them before NOW."""
    connection = await asyncpg.connect(database_url, ssl=False)
    try:
        for start in range(0, jobs, JOBS_A_STATEMENT):
            last = min(start + JOBS_A_STATEMENT, jobs) - 1
            await connection.execute(_JOBS, NOW, start, last, jobs)
            await connection.execute(_ATTEMPTS, NOW, start, last)
        await connection.execute("VACUUM ANALYZE tasks.jobs, tasks.attempts")
    finally:
        await connection.close()
