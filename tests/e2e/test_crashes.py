"""Workers and servers that are killed, stopped and cut off while jobs run: none is lost, none is doubled."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random

import orjson
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from app.dev.valkey import EmbeddedValkey
from app.jobs.pool import JobPool
from app.jobs.queues import EVENTS, RESULT
from tests.e2e.commands import Command, command
from tests.e2e.crash_worker import Journal, block_once, tasks, work, work_carefully
from tests.folders import open_folder
from tests.running import open_pool
from tests.waiting import until

LEASE = 1.5


class Site:
    """A Redis, the journal, and the workers that were started."""

    def __init__(
        self, valkey: EmbeddedValkey, pool: JobPool, journal: Path, open_until_the_end: AsyncExitStack
    ) -> None:
        self.valkey = valkey
        self.pool = pool
        self.journal = Journal(journal)
        self._journal_path = journal
        self._exit_stack = open_until_the_end

    async def start_worker(self, *, lease: float = LEASE) -> Command:
        """A worker that has started; `lease` in seconds."""
        arguments = (self.valkey.url, str(self._journal_path), str(lease))
        worker = await self._exit_stack.enter_async_context(
            command("python", "-m", "tests.e2e.crash_worker", *arguments, environment={})
        )
        await until(lambda: "worker.started" in worker.output)
        return worker

    async def enqueue(self, ids: Collection[str], seconds: float = 0.03) -> None:
        for job_id in ids:
            await work.using(job_id=job_id).enqueue(self.pool, seconds)

    async def recorded(self, ids: Collection[str]) -> set[str]:
        """Those of the jobs that have a result."""
        results = await self.pool.mget([RESULT + job_id for job_id in ids])
        return {job_id for job_id, result in zip(ids, results, strict=True) if result is not None}

    async def all_recorded(self, ids: Collection[str]) -> None:
        async def none_is_missing() -> bool:
            return len(await self.recorded(ids)) == len(ids)

        await until(none_is_missing, every=0.05)
        results = [
            orjson.loads(result) for result in await self.pool.mget([RESULT + job_id for job_id in ids]) if result
        ]
        assert [result["r"] for result in results if not result["s"]] == []

    def times(self, what: str) -> Counter[str]:
        return Counter(entry.job_id for entry in self.journal.entries() if entry.what == what)

    async def has(self, what: str, count: int) -> None:
        """Waits until so many jobs have started or ended."""
        await until(lambda: len(self.times(what)) >= count, every=0.005)


@pytest.fixture
async def site(valkey_server: EmbeddedValkey, redis_url: str) -> AsyncIterator[Site]:
    """With the server of all tests."""
    async with open_site(valkey_server) as site:
        yield site


@pytest.fixture
async def own_site() -> AsyncIterator[Site]:
    """With a server that this test may kill, and which keeps its data."""
    with open_folder() as folder:
        async with EmbeddedValkey(folder) as valkey, open_site(valkey) as site:
            yield site


@asynccontextmanager
async def open_site(valkey: EmbeddedValkey) -> AsyncIterator[Site]:
    with open_folder() as folder:
        async with open_pool(valkey.url, tasks) as pool, AsyncExitStack() as stack:
            yield Site(valkey, pool, folder / "journal", stack)


def ids(count: int, prefix: str = "j") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def says(worker: Command, event: str) -> int:
    return worker.output.count(f'"event": "{event}"')


async def test_killed_workers_lose_no_job_and_only_what_they_ran_is_done_again(site: Site) -> None:
    random = Random(7)
    jobs = ids(400)
    workers = [await site.start_worker() for _ in range(3)]
    await site.enqueue(jobs)
    were_running: set[str] = set()

    for ended in sorted(random.sample(range(20, 330), 5)):
        await site.has("end", ended)
        victim = workers.pop(random.randrange(len(workers)))
        victim.send(signal.SIGKILL)
        await victim.exit_code()
        theirs = {entry.job_id for entry in site.journal.entries() if entry.pid == victim.process.pid}
        were_running |= theirs - await site.recorded(sorted(theirs))
        workers.append(await site.start_worker())
    await site.all_recorded(jobs)

    ends = site.times("end")
    assert set(ends) == set(jobs)
    assert were_running
    assert {job_id for job_id, count in ends.items() if count > 1} <= were_running
    assert {job_id for job_id, count in site.times("start").items() if count > 1} <= were_running


async def test_a_worker_that_was_stopped_for_longer_than_its_lease_changes_nothing(site: Site) -> None:
    slow = await site.start_worker()
    await work_carefully.using(job_id="j").enqueue(site.pool, 0.5)
    await site.has("start", 1)
    slow.send(signal.SIGSTOP)
    quick = await site.start_worker()
    await site.all_recorded(["j"])
    result, events = await site.pool.get(RESULT + "j"), await site.pool.xrange(EVENTS)

    slow.send(signal.SIGCONT)
    await until(lambda: says(slow, "job.lease_lost"))
    await site.enqueue(["after"])
    await site.all_recorded(["after"])

    assert await site.pool.get(RESULT + "j") == result
    assert [entry for entry in await site.pool.xrange(EVENTS) if b"job:j" in entry[1]] == events
    assert [entry.pid for entry in site.journal.entries() if entry[:2] == ("end", "j")] == [quick.process.pid]
    assert "Traceback" not in slow.output
    assert slow.process.returncode is None


async def test_a_worker_that_stutters_keeps_its_jobs(site: Site) -> None:
    jobs = ids(150)
    slow, _ = await site.start_worker(), await site.start_worker()
    await site.enqueue(jobs, seconds=0.2)

    while len(await site.recorded(jobs)) < len(jobs):
        slow.send(signal.SIGSTOP)
        await asyncio.sleep(LEASE / 5)
        slow.send(signal.SIGCONT)
        await asyncio.sleep(LEASE / 15)

    assert site.times("start") == site.times("end") == Counter(jobs)


async def test_a_redis_that_is_killed_and_comes_back_loses_nothing(own_site: Site) -> None:
    site, jobs = own_site, ids(300)
    workers = [await site.start_worker() for _ in range(2)]

    async def enqueue_whatever_happens() -> None:
        for job_id in jobs:
            while True:
                try:
                    await site.enqueue([job_id], seconds=0.05)
                    break
                except (RedisConnectionError, OSError):
                    await asyncio.sleep(0.05)

    enqueueing = asyncio.create_task(enqueue_whatever_happens())
    await site.has("end", 30)
    os.kill(site.valkey.pid, signal.SIGKILL)
    await until(lambda: all(says(worker, "redis.lost") for worker in workers))
    await site.valkey.start()
    await enqueueing
    await site.all_recorded(jobs)

    assert site.times("end") == Counter(jobs)
    for worker in workers:
        assert worker.process.returncode is None
        assert (says(worker, "redis.lost"), says(worker, "redis.back")) == (1, 1)
        assert "Traceback" not in worker.output


async def test_jobs_that_run_while_redis_is_away_for_several_leases_end_once(own_site: Site) -> None:
    site, short, long = own_site, ids(5, "short"), ids(5, "long")
    workers = [await site.start_worker() for _ in range(2)]
    await site.enqueue(short, seconds=1)
    await site.enqueue(long, seconds=4 * LEASE)
    await site.has("start", 10)

    await site.valkey.stop()
    await site.has("end", len(short))
    await asyncio.sleep(3 * LEASE)
    await site.valkey.start()
    await site.all_recorded(short + long)

    assert site.times("start") == site.times("end") == Counter(short + long)
    for worker in workers:
        await until(partial(says, worker, "redis.back"))
        assert (says(worker, "redis.lost"), says(worker, "redis.back")) == (1, 1)


async def test_a_redis_that_stands_still_for_longer_than_a_lease_gives_no_running_job_away(own_site: Site) -> None:
    # Two thirds of it have to be longer than the second after which an idle worker asks again.
    lease = 2 * LEASE
    site, jobs = own_site, ids(8)
    for _ in range(3):
        await site.start_worker(lease=lease)
    await site.enqueue(jobs, seconds=3 * lease)
    await site.has("start", len(jobs))

    os.kill(site.valkey.pid, signal.SIGSTOP)
    await asyncio.sleep(2 * lease)
    os.kill(site.valkey.pid, signal.SIGCONT)
    await site.all_recorded(jobs)

    assert site.times("start") == site.times("end") == Counter(jobs)


async def test_after_a_flushall_running_jobs_are_recorded_and_new_ones_are_run(site: Site) -> None:
    before, after = ids(200, "before"), ids(50, "after")
    workers = [await site.start_worker() for _ in range(2)]
    await site.enqueue(before, seconds=0.2)
    await site.has("end", 40)

    await site.pool.flushall()
    ended = set(site.times("end"))
    await site.enqueue(after)
    await site.all_recorded(after)
    await until(lambda: site.times("start") == site.times("end"))
    ran_through_it = set(site.times("end")) - ended - set(after)
    await site.all_recorded(sorted(ran_through_it))

    assert ran_through_it
    assert set(site.times("start").values()) == {1}
    assert all(worker.process.returncode is None for worker in workers)


async def test_a_blocked_worker_is_named_and_loses_its_jobs_once(site: Site) -> None:
    blocked = await site.start_worker()
    await work_carefully.using(job_id="beside").enqueue(site.pool, 1)
    await block_once.using(job_id="blocks").enqueue(site.pool, 3 * LEASE)
    await site.has("start", 2)

    other = await site.start_worker()
    await site.all_recorded(["beside", "blocks"])
    await until(lambda: says(blocked, "loop.free_again"))
    await until(lambda: says(blocked, "job.lease_lost") >= 2)

    assert [entry.pid for entry in site.journal.entries() if entry.what == "end"] == [other.process.pid] * 2
    lines = [orjson.loads(line) for line in blocked.output.splitlines()]
    [named] = [line for line in lines if line["event"] == "loop.blocked"]
    assert (named["by"], "block_once" in named["stack"]) == ("job blocks", True)
