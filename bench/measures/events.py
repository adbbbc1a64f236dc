"""Two hundred who watch jobs live: what that takes of the admin API's process."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from app.dev.valkey import EmbeddedValkey
from app.jobs.pool import JobPool
from app.tasks import TASKS
from bench.admin_api import open_admin_api
from bench.plan import Plan
from bench.report import Section, Target
from bench.usage import Usage

READERS = 200
CHANGES_A_SECOND = 1_000
SECONDS = 20
# Between two groups of new jobs (seconds).
PAUSE = 0.05
# After the last change, for what is still on its way.
SETTLE = 3

WANTED_PERCENT = 50
WANTED_MIB = 250


class Watcher:
    """Reads all that it is sent. Changes are counted as they are told: another job each, so none stands for two."""

    def __init__(self, port: int, token: str, query: str) -> None:
        self._request = f"GET /admin/events{query} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n"
        self._port = port
        self.changes = 0
        self.has_begun = asyncio.Event()

    async def watch(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        try:
            writer.write(self._request.encode())
            async for line in reader:
                self.has_begun.set()
                if line == b"event: missed\n":
                    raise RuntimeError("a reader was too slow: this machine is too busy to measure on")
                self.changes += line.startswith(b"event: job")
        finally:
            writer.close()


async def measure(_plan: Plan) -> Section:
    """Ours alone. Everybody wants everything, or each their own."""
    idle = await _taken("", changes_a_second=0)
    alike = await _taken("", changes_a_second=CHANGES_A_SECOND)
    filtered = await _taken("?queue=default", changes_a_second=CHANGES_A_SECOND)
    return Section(
        "Live events",
        f"{READERS} readers for {SECONDS} s, {CHANGES_A_SECOND:,} changes a second, each of another job: the admin "
        "API's process, in per cent of a core and MiB at its peak.",
        ("", "CPU", "peak MiB", "told"),
        [
            (name, f"{100 * usage.cpu_seconds / (SECONDS + SETTLE):.1f} %", f"{usage.peak_mib:,.0f}", f"{told:,}")
            for name, (usage, told) in {
                "nothing happens": idle,
                "all want everything": alike,
                "nobody wants what happens": filtered,
            }.items()
        ],
        [
            _target(
                "CPU", f"under {WANTED_PERCENT} %", 100 * alike[0].cpu_seconds / (SECONDS + SETTLE), WANTED_PERCENT
            ),
            _target("memory", f"under {WANTED_MIB} MiB", alike[0].peak_mib, WANTED_MIB),
        ],
    )


def _target(what: str, wanted: str, measured: float, limit: float) -> Target:
    return Target(f"{what} for {READERS} readers", wanted, f"{measured:.0f}", measured < limit)


async def _taken(query: str, *, changes_a_second: int) -> tuple[Usage, int]:
    """What the process took while changes were told, and how many it told."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="indostar-bench-")))
        valkey = await stack.enter_async_context(EmbeddedValkey(folder))
        pool = JobPool.from_dsn(valkey.url, TASKS)
        stack.push_async_callback(pool.aclose)
        port, token, api = await stack.enter_async_context(open_admin_api(folder, valkey.url))
        watchers = [Watcher(port, token, query) for _ in range(READERS)]
        watching = [asyncio.create_task(watcher.watch()) for watcher in watchers]
        stack.callback(lambda: [task.cancel() for task in watching])
        for watcher in watchers:
            await watcher.has_begun.wait()
        before = Usage.of([api.pid])
        await _change(pool, changes_a_second)
        await asyncio.sleep(SETTLE)
        usage = Usage.of([api.pid]).since(before)
        for task in watching:
            if task.done():
                task.result()
        return usage, sum(watcher.changes for watcher in watchers)


async def _change(pool: JobPool, changes_a_second: int) -> None:
    """New jobs, evenly spread over the time."""
    began, made = time.monotonic(), 0
    while (elapsed := time.monotonic() - began) < SECONDS:
        due = int(elapsed * changes_a_second) - made
        if due:
            await pool.enqueue_many("send_sms_task", [{"phone": "+919876543210", "message": "Milk"}] * due)
            made += due
        await asyncio.sleep(PAUSE)
