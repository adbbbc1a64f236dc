"""Notification jobs against a provider that takes 80 ms, beside what bare HTTP clients reach with it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import httpx
from arq.jobs import Job
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from app.db.migrate import migrate
from app.dev.demo_shop import create_shop_tables
from app.dev.environment import development_settings
from app.dev.postgres import EmbeddedPostgres
from app.dev.state import free_port
from app.dev.valkey import EmbeddedValkey
from app.jobs.pool import JobPool
from app.jobs.registry import is_alive
from app.providers.http import http_client
from app.providers.mail import Mail, SendGrid
from app.tasks import TASKS
from app.tasks.notifications import send_email_task
from bench.measuring import Usage, machine, process

JOBS = 2_000
IN_FLIGHT = 100
LATENCY_MS = 80
# All jobs become due at once, after they were enqueued: enqueueing is not what is measured.
LEAD = timedelta(seconds=4)
TEXT = "Your milk is on its way. " * 40


async def measure() -> None:
    """Runs the three, prints a table."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="indostar-bench-")))
        folder.chmod(0o711)
        postgres = await stack.enter_async_context(EmbeddedPostgres(folder))
        valkey = await stack.enter_async_context(EmbeddedValkey(folder))
        await create_shop_tables(postgres.url)
        await migrate(postgres.url)

        port = free_port(0)
        provider = f"http://127.0.0.1:{port}"
        environment = {
            **development_settings(folder, provider),
            "DATABASE_URL": postgres.url,
            "REDIS_URL": valkey.url,
            "LOG_LEVEL": "INFO",
        }
        await stack.enter_async_context(process("app", "fakes", "--port", str(port), environment=environment))
        await _make_slow(provider)

        aiohttp_rate = await _rate_of(_bare_aiohttp, provider, environment["SENDGRID_API_KEY"])
        httpx_rate = await _rate_of(_bare_httpx, provider, environment["SENDGRID_API_KEY"])
        worker_rate, usage = await _worker(environment)

    table = Table(title=f"{JOBS:,} mails, {IN_FLIGHT} in flight, provider takes {LATENCY_MS} ms")
    for column in ("", "per second", "of bare aiohttp", "CPU each", "peak memory"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("bare aiohttp", f"{aiohttp_rate:,.0f}", "100 %", "", "")
    table.add_row("the same httpx client, bare", f"{httpx_rate:,.0f}", f"{httpx_rate / aiohttp_rate:.0%}", "", "")
    table.add_row(
        "one worker, real mail task",
        f"{worker_rate:,.0f}",
        f"{worker_rate / aiohttp_rate:.0%}",
        f"{usage.cpu_seconds / JOBS * 1e6:,.0f} us",
        f"{usage.peak_mib:,.0f} MiB",
    )
    console = Console(width=110)
    console.print(machine())
    console.print(table)


async def _make_slow(provider: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        while True:
            try:
                await client.get(f"{provider}/healthz")
                break
            except httpx.ConnectError:
                await asyncio.sleep(0.05)
        fault = {"provider": "sendgrid", "kind": "latency", "milliseconds": LATENCY_MS}
        (await client.post(f"{provider}/faults", json=fault)).raise_for_status()


Send = Callable[[], Awaitable[object]]


async def _rate_of(bare: Callable[[str, str, AsyncExitStack], Awaitable[Send]], provider: str, api_key: str) -> float:
    """Requests per second with `IN_FLIGHT` of them under way."""
    async with AsyncExitStack() as stack:
        send = await bare(provider, api_key, stack)
        left = iter(range(JOBS))

        async def sender() -> None:
            for _ in left:
                await send()

        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(sender())
        return JOBS / (time.perf_counter() - started)


async def _bare_aiohttp(provider: str, api_key: str, stack: AsyncExitStack) -> Send:
    session = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers={"Authorization": f"Bearer {api_key}"})
    )
    body = {
        "personalizations": [{"to": [{"email": "asha@example.com"}]}],
        "from": {"email": "orders@example.com"},
        "subject": "Your order",
        "content": [{"type": "text/plain", "value": TEXT}],
    }

    async def send() -> None:
        async with session.post(f"{provider}/v3/mail/send", json=body) as answer:
            await answer.read()
            answer.raise_for_status()

    return send


async def _bare_httpx(provider: str, api_key: str, stack: AsyncExitStack) -> Send:
    client = await stack.enter_async_context(http_client(max_connections=IN_FLIGHT))
    sendgrid = SendGrid(client, base_url=provider, api_key=SecretStr(api_key), from_email="orders@example.com")
    mail = Mail(to="asha@example.com", subject="Your order", text=TEXT, html=None, key="bench")

    async def send() -> None:
        await sendgrid.send(mail)

    return send


async def _worker(environment: dict[str, str]) -> tuple[float, Usage]:
    """Jobs per second of a worker process, and what they cost it."""
    pool = JobPool.from_dsn(environment["REDIS_URL"], TASKS)
    async with process("arq", "worker.NotificationsWorker", environment=environment) as worker:
        while not await is_alive(environment["REDIS_URL"], [send_email_task.queue]):
            await asyncio.sleep(0.1)
        enqueue = send_email_task.using(defer_until=datetime.now(UTC) + LEAD).enqueue
        jobs = [await enqueue(pool, "asha@example.com", "Your order", TEXT) for _ in range(JOBS)]
        before = Usage.of(worker.pid)
        while await pool.zcard(send_email_task.queue.key):
            await asyncio.sleep(0.05)
        after = Usage.of(worker.pid)
        results = [await job.result_info() for job in jobs if isinstance(job, Job)]
    await pool.aclose()
    done = [result for result in results if result is not None and result.success]
    if len(done) != JOBS:
        raise RuntimeError(f"{JOBS - len(done)} of {JOBS} jobs failed")
    first = min(result.start_time for result in done)
    last = max(result.finish_time for result in done)
    rate = JOBS / (last - first).total_seconds()
    return rate, Usage(after.cpu_seconds - before.cpu_seconds, after.peak_mib)
