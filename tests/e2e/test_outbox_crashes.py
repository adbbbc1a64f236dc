"""Everything that outbox jobs go through is killed in turn: each job takes effect, and none after it is on record."""

import os
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from app.db.migrate import migrate
from app.dev.postgres import EmbeddedPostgres
from app.dev.valkey import EmbeddedValkey
from app.jobs.queues import FAILED_JOBS
from tests.e2e.commands import Command, command
from tests.e2e.crash_worker import Entry, Journal
from tests.folders import open_folder
from tests.waiting import until

JOBS_A_WAVE = 1_000
# How much of a wave has happened when something is killed: the rest of it is under way.
UNDER_WAY = 150
# Longer than a busy machine stands still.
LEASE = 4


class Site:
    """Servers, processes and the journal of what jobs did."""

    def __init__(
        self, valkey: EmbeddedValkey, postgres: EmbeddedPostgres, journal: Path, stack: AsyncExitStack
    ) -> None:
        self.valkey = valkey
        self.postgres = postgres
        self._journal_path = journal
        self._journal = Journal(journal)
        self._stack = stack
        self.written = 0

    async def start(self, role: str) -> Command:
        arguments = (role, self.valkey.url, self.postgres.url, str(self._journal_path), str(LEASE))
        process = await self._stack.enter_async_context(
            command("python", "-m", "tests.e2e.outbox_worker", *arguments, environment={})
        )
        await until(lambda: f"{role}.started" in process.output)
        return process

    async def sql(self, statement: str, *values: Any) -> list[Any]:
        connection = await asyncpg.connect(self.postgres.url, ssl=False)
        try:
            return [tuple(row) for row in await connection.fetch(statement, *values)]
        finally:
            await connection.close()

    async def write_a_wave(self) -> None:
        """As the shop's backend does. Returns when some of it has happened, and most of it not."""
        before = self.times("effect")
        await self.sql(
            "INSERT INTO tasks.outbox (task, kwargs) SELECT 'take_effect', jsonb_build_object('number', number)"
            " FROM generate_series($1::bigint, $2::bigint) AS number",
            self.written + 1,
            self.written + JOBS_A_WAVE,
        )
        self.written += JOBS_A_WAVE
        await until(lambda: self.times("effect") >= before + UNDER_WAY, every=0.01)

    def entries(self) -> list[Entry]:
        return self._journal.entries()

    def times(self, what: str) -> int:
        return self._journal_path.read_bytes().count(what.encode() + b" ")

    async def all_have_ended(self) -> None:
        # Step by step: each has a patience of its own, however slow the machine.
        for count in range(JOBS_A_WAVE // 2, self.written + 1, JOBS_A_WAVE // 2):
            await until(partial(self._so_many_have_ended, count), every=0.2)

    async def _so_many_have_ended(self, count: int) -> bool:
        [(ended,)] = await self.sql("SELECT count(*) FROM tasks.outbox WHERE ended_at IS NOT NULL")
        return bool(ended >= count)


def happened_again(entries: Iterable[Entry]) -> list[str]:
    """The jobs that took effect in an attempt that began when their effect was on record."""
    on_record: set[str] = set()
    too_late: set[tuple[str, int]] = set()
    again = []
    for what, job_id, pid in entries:
        match what:
            case "start" if job_id in on_record:
                too_late.add((job_id, pid))
            case "recorded":
                on_record.add(job_id)
            case "effect" if (job_id, pid) in too_late:
                again.append(job_id)
    return again


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with _open_site() as site:
        yield site


@asynccontextmanager
async def _open_site() -> AsyncIterator[Site]:
    with open_folder() as redis_folder, open_folder() as postgres_folder, open_folder() as folder:
        async with EmbeddedValkey(redis_folder) as valkey, EmbeddedPostgres(postgres_folder) as postgres:
            await migrate(postgres.url)
            async with AsyncExitStack() as stack:
                site = Site(valkey, postgres, folder / "journal", stack)
                await site.sql("CREATE TABLE effects (root_id text PRIMARY KEY)")
                yield site


async def test_5000_jobs_take_effect_whatever_is_killed(site: Site) -> None:
    relay, worker, _ = [await site.start(role) for role in ("relay", "worker", "worker")]

    await site.write_a_wave()
    relay.send(signal.SIGKILL)
    await relay.exit_code()
    await site.start("relay")

    await site.write_a_wave()
    worker.send(signal.SIGKILL)
    await worker.exit_code()
    await site.start("worker")

    await site.write_a_wave()
    os.kill(site.valkey.pid, signal.SIGKILL)
    await site.valkey.start()

    await site.write_a_wave()
    async with Redis.from_url(site.valkey.url) as redis:
        await redis.flushall()

    await site.write_a_wave()
    # PostgreSQL's own way to crash: no session is ended, nothing is written out, and the next start recovers.
    os.kill(site.postgres.pid, signal.SIGQUIT)
    await site.postgres.stop()
    await site.postgres.start()

    await site.all_have_ended()

    jobs = {f"outbox:{number}" for number in range(1, site.written + 1)}
    assert {entry.job_id for entry in site.entries() if entry.what == "effect"} == jobs
    assert await site.sql("SELECT count(*) FROM effects") == [(len(jobs),)]
    assert happened_again(site.entries()) == []
    assert await site.sql("SELECT id FROM tasks.jobs WHERE status = 'failed'") == []
    async with Redis.from_url(site.valkey.url) as redis:
        assert await redis.zrange(FAILED_JOBS, 0, -1) == []
