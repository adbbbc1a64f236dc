"""The admin API over HTTP: how long lists and look-ups take with millions of jobs, and what they cost a worker."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from app.dev.valkey import EmbeddedValkey
from app.jobs.pool import JobPool
from app.tasks import TASKS
from bench.admin_api import open_admin_api
from bench.measures.history import pile_up, recorded
from bench.measures.mails import open_database
from bench.plan import Plan, median, percentile
from bench.report import Section, Target
from bench.systems import OURS_ON_RECORD

JOBS = 5_000_000
WAITING = 100_000
CALLS = 100
WANTED_MS = 100
# As several pages that are looked at all day make them.
READS_A_SECOND = 10
WANTED_SLOWED = 5
TRIES = 3
SMS: dict[str, Any] = {"phone": "+919876543210", "message": "Milk"}

Paths = Callable[[int], str]
ASKED: dict[str, Paths] = {
    "the newest jobs": lambda _: "/admin/jobs",
    "failed jobs": lambda _: "/admin/jobs?status=failed",
    "failed jobs of a task since a day": lambda _: (
        "/admin/jobs?status=failed&task=send_sms_task&since=2026-02-28T00:00:00Z"
    ),
    "jobs of an order": lambda number: f"/admin/jobs?q=ORD-{number * 331}",
    "a job on record": lambda number: f"/admin/jobs/job-{number * 997}",
    "a waiting job": lambda number: f"/admin/jobs/waiting-{number}",
    "queues": lambda _: "/admin/queues",
    "workers": lambda _: "/admin/workers",
    "schedules": lambda _: "/admin/schedules",
    "tasks": lambda _: "/admin/tasks",
}


async def measure(plan: Plan) -> Section:
    """Ours alone."""
    jobs, waiting = int(JOBS * plan.scale), int(WAITING * plan.scale)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="indostar-bench-")))
        database_url = await open_database(stack)
        await pile_up(database_url, jobs)
        valkey = await stack.enter_async_context(EmbeddedValkey(folder))
        await _wait(valkey.url, waiting)
        port, token, _ = await stack.enter_async_context(open_admin_api(folder, valkey.url, database_url))
        client = await stack.enter_async_context(_client(port, token))
        took = {name: await _calls(client, path) for name, path in ASKED.items()}
    alone, beside = [], []
    for _ in range(TRIES):
        alone.append(await recorded(OURS_ON_RECORD))
        beside.append(await recorded(OURS_ON_RECORD, _reading))
    slowed = 100 * (1 - median(beside) / median(alone))
    slowest = max(percentile(each, 95) for each in took.values())
    return Section(
        "Admin API",
        f"{CALLS} calls of each kind over HTTP, one after the other, with {jobs:,} jobs on record and {waiting:,} more "
        "waiting; the first is not counted. Then no-op jobs from a full queue until their last end is on record, alone "
        f"and while {READS_A_SECOND} calls a second are made; medians of {TRIES}.",
        ("", "median, ms", "p95, ms", "jobs/s"),
        [
            *((name, f"{percentile(each, 50):.1f}", f"{percentile(each, 95):.1f}", "") for name, each in took.items()),
            ("a worker alone", "", "", f"{median(alone):,.0f}"),
            ("a worker beside", "", "", f"{median(beside):,.0f}"),
        ],
        [
            Target("lists and look-ups, p95", f"under {WANTED_MS} ms", f"{slowest:.1f} ms", slowest < WANTED_MS),
            Target("a busy worker is slowed", f"under {WANTED_SLOWED} %", f"{slowed:.1f} %", slowed < WANTED_SLOWED),
        ],
    )


async def _calls(client: httpx.AsyncClient, path: Paths) -> list[float]:
    """Milliseconds of each."""
    took = []
    for number in range(CALLS + 1):
        started = time.perf_counter()
        answer = await client.get(path(number))
        took.append((time.perf_counter() - started) * 1000)
        answer.raise_for_status()
    return took[1:]


@asynccontextmanager
async def _reading(redis_url: str, database_url: str) -> AsyncIterator[None]:
    """Lists are read for as long as it lasts."""
    with TemporaryDirectory(prefix="indostar-bench-") as folder:
        async with (
            open_admin_api(Path(folder), redis_url, database_url) as (port, token, _),
            _client(port, token) as api,
        ):
            reading = asyncio.create_task(_read_on(api))
            try:
                yield
            finally:
                reading.cancel()
                with suppress(asyncio.CancelledError):
                    await reading


async def _read_on(api: httpx.AsyncClient) -> None:
    for path in cycle(("/admin/jobs", "/admin/queues", "/admin/jobs?status=failed", "/admin/workers")):
        (await api.get(path)).raise_for_status()
        await asyncio.sleep(1 / READS_A_SECOND)


def _client(port: int, token: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token}"}, timeout=30
    )


async def _wait(redis_url: str, jobs: int) -> None:
    """So many jobs that wait, some of which have ids of their own."""
    pool = JobPool.from_dsn(redis_url, TASKS)
    try:
        for number in range(CALLS + 1):
            await pool.enqueue_job("send_sms_task", **SMS, _job_id=f"waiting-{number}")
        await pool.enqueue_many("send_sms_task", [SMS] * jobs)
    finally:
        await pool.aclose()
