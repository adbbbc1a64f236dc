"""Workers that share limits: what waits occupies no slot, uses up no try, and gets its turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from arq.jobs import JobStatus

from app.errors import NotDone
from app.jobs.context import Context
from app.jobs.control import AbortAnswer, abort, pause, resume
from app.jobs.limit_store import WAITED_FOR
from app.jobs.limits import Limit
from app.jobs.lookup import JobState
from app.jobs.memory import AttemptOutcome
from app.jobs.pool import JobPool
from app.jobs.queues import Queue
from app.jobs.retry import RetryPolicy
from app.jobs.task import Task, TaskRegistry
from tests.running import found, open_pool, run_burst, running_worker
from tests.waiting import PATIENCE, until

PROVIDER = Limit("provider", in_flight=1)
tasks = TaskRegistry()


class Gauge:
    """Counts who is in, and keeps them there until they may leave."""

    def __init__(self) -> None:
        self.now = 0
        self.highest = 0
        self.entries: list[str] = []
        self.failures: list[Exception] = []
        self.may_leave = asyncio.Event()

    async def visit(self, name: str) -> str:
        self.entries.append(name)
        self.now += 1
        self.highest = max(self.highest, self.now)
        try:
            await self.may_leave.wait()
            # Others get the chance to be in as well.
            await asyncio.sleep(0.002)
            if self.failures:
                raise self.failures.pop(0)
        finally:
            self.now -= 1
        return name


@tasks.task(queue=Queue.NOTIFICATIONS, max_in_flight=2, retry=RetryPolicy(first=timedelta(0)))
async def two_at_once(ctx: Context, name: str) -> str:
    """Runs twice at once at most."""
    return await ctx[Gauge].visit(name)


@tasks.task(queue=Queue.NOTIFICATIONS, max_per_second=50)
async def fifty_a_second(ctx: Context, name: str) -> str:
    """Starts fifty times a second at most."""
    return await ctx[Gauge].visit(name)


@tasks.task(queue=Queue.NOTIFICATIONS)
async def unlimited(ctx: Context) -> str:
    """Runs whenever there is a slot."""
    return "ran"


@tasks.task(queue=Queue.NOTIFICATIONS, max_per_second=1000, max_in_flight=3)
async def through_both(ctx: Context, name: str) -> str:
    """Asks a provider that takes one at a time."""
    async with ctx.within(PROVIDER):
        return await ctx[Gauge].visit(name)


@tasks.task(queue=Queue.DEFAULT)
async def straight_to_the_provider(ctx: Context, name: str) -> str:
    """Asks the same provider, without a limit of its own."""
    async with ctx.within(PROVIDER):
        return await ctx[Gauge].visit(name)


@pytest.fixture
def gauge() -> Gauge:
    return Gauge()


@pytest.fixture
async def pool(redis_url: str) -> AsyncIterator[JobPool]:
    async with open_pool(redis_url, tasks) as pool:
        yield pool


async def line_up(pool: JobPool, task: Task[[str], str], *names: str) -> None:
    """Enqueues them in this order: places go by the millisecond."""
    for name in names:
        assert await task.using(job_id=name).enqueue(pool, name)
        await until(partial(_is_over, (await found(pool, name)).enqueued_at), every=0.001)


def _is_over(millisecond: datetime) -> bool:
    return datetime.now(UTC) > millisecond + timedelta(milliseconds=1)


async def waiting(pool: JobPool, limit: str) -> list[str]:
    return [
        job_id.decode()
        for job_id in await pool.zrange(f"indostar:limit:{limit}:waiting:{Queue.NOTIFICATIONS.key}", 0, -1)
    ]


async def test_jobs_over_the_limit_occupy_no_slot_and_use_up_no_try(pool: JobPool, gauge: Gauge) -> None:
    names = [f"j{number:02}" for number in range(20)]
    async with running_worker(pool, [gauge], slots={Queue.NOTIFICATIONS: 3}):
        for name in names:
            await two_at_once.using(job_id=name).enqueue(pool, name)
        await until(lambda: gauge.now == 2)
        job = await unlimited.enqueue(pool)
        assert job is not None
        assert await job.result(timeout=PATIENCE) == "ran"

        async def all_wait() -> bool:
            return len(await waiting(pool, "task:two_at_once")) == 18

        await until(all_wait)
        record = await found(pool, names[-1])
        assert (record.state, record.tries, record.run_at, record.attempts) == (JobState.QUEUED, 0, None, [])
        gauge.may_leave.set()
        results = [await pool_result(pool, name) for name in names]

    assert results == names
    assert gauge.highest == 2
    ended = [await found(pool, name) for name in names]
    assert {(job.tries, len(job.attempts)) for job in ended} == {(1, 1)}


async def pool_result(pool: JobPool, job_id: str) -> object:
    async def ended() -> bool:
        return (await found(pool, job_id)).state is JobState.SUCCEEDED

    await until(ended)
    return (await found(pool, job_id)).result


async def test_several_workers_keep_to_one_limit(pool: JobPool, gauge: Gauge) -> None:
    names = [f"j{number:02}" for number in range(60)]
    gauge.may_leave.set()
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(running_worker(pool, [gauge], slots={Queue.NOTIFICATIONS: 10}))
        await two_at_once.using(job_id="j00").enqueue(pool, "j00")
        for name in names[1:]:
            await two_at_once.using(job_id=name).enqueue(pool, name)
        for name in names:
            await pool_result(pool, name)

    assert sorted(gauge.entries) == names
    assert gauge.highest <= 2
    assert await pool.keys("indostar:limit*") == []


async def test_a_burst_worker_stays_until_those_who_wait_have_run(pool: JobPool, gauge: Gauge) -> None:
    gauge.may_leave.set()
    for number in range(40):
        await fifty_a_second.enqueue(pool, f"j{number}")

    started = asyncio.get_running_loop().time()
    await run_burst(pool, [gauge])

    assert len(gauge.entries) == 40
    # Five at once, the others one by one.
    assert asyncio.get_running_loop().time() - started >= 34 / 50
    assert not await pool.exists(WAITED_FOR)


async def test_those_who_were_enqueued_first_go_first(pool: JobPool, gauge: Gauge) -> None:
    names = [f"j{number}" for number in range(6)]
    async with running_worker(pool, [gauge], slots={Queue.NOTIFICATIONS: 10}):
        await line_up(pool, two_at_once, *names)
        await until(lambda: gauge.now == 2)
        gauge.may_leave.set()
        for name in names:
            await pool_result(pool, name)

    assert gauge.entries == names


async def test_a_job_that_waits_can_be_aborted(pool: JobPool, gauge: Gauge) -> None:
    async with running_worker(pool, [gauge], slots={Queue.NOTIFICATIONS: 10}):
        await line_up(pool, two_at_once, "a", "b", "c", "d")

        async def two_wait() -> bool:
            return await waiting(pool, "task:two_at_once") == ["c", "d"]

        await until(two_wait)
        assert await abort(pool, "c") is AbortAnswer.ASKED

        async def is_cancelled() -> bool:
            return (await found(pool, "c")).state is JobState.CANCELLED

        await until(is_cancelled)
        gauge.may_leave.set()
        await pool_result(pool, "d")

    assert gauge.entries == ["a", "b", "d"]
    assert not await pool.exists(WAITED_FOR)


async def test_a_job_that_is_aborted_within_lets_the_next_in(pool: JobPool, gauge: Gauge) -> None:
    async with running_worker(pool, [gauge], slots={Queue.NOTIFICATIONS: 10}):
        await line_up(pool, two_at_once, "a", "b", "c")
        await until(lambda: gauge.now == 2)

        await abort(pool, "a")
        await until(lambda: "c" in gauge.entries)
        gauge.may_leave.set()

    assert gauge.highest == 2


async def test_a_worker_that_stops_gives_back_what_its_jobs_held(pool: JobPool, gauge: Gauge) -> None:
    async with running_worker(pool, [gauge], slots={Queue.NOTIFICATIONS: 10}, grace=timedelta(0)):
        await line_up(pool, two_at_once, "a", "b")
        await until(lambda: gauge.now == 2)
    assert await pool.zcard("indostar:limit:task:two_at_once:held") == 0

    gauge.may_leave.set()
    await run_burst(pool, [gauge])

    assert gauge.entries == ["a", "b", "a", "b"]


async def test_stock_job_calls_work_on_a_job_that_waits(pool: JobPool, gauge: Gauge) -> None:
    async with running_worker(pool, [gauge], slots={Queue.NOTIFICATIONS: 10}):
        await line_up(pool, two_at_once, "a", "b")
        job = await two_at_once.using(job_id="c").enqueue(pool, "c")
        assert job is not None

        async def waits() -> bool:
            return await waiting(pool, "task:two_at_once") == ["c"]

        await until(waits)
        assert await job.status() is JobStatus.deferred
        assert await job.abort(timeout=PATIENCE)
        gauge.may_leave.set()


async def test_a_paused_queue_keeps_its_line(pool: JobPool, gauge: Gauge) -> None:
    async with running_worker(pool, [gauge], slots={Queue.NOTIFICATIONS: 10}):
        await line_up(pool, two_at_once, "a", "b", "c")

        async def waits() -> bool:
            return await waiting(pool, "task:two_at_once") == ["c"]

        await until(waits)
        await pause(pool, Queue.NOTIFICATIONS)
        gauge.may_leave.set()
        await pool_result(pool, "a")
        await pool_result(pool, "b")
        assert await waits()

        await resume(pool, Queue.NOTIFICATIONS)
        await pool_result(pool, "c")


async def test_a_try_that_fails_lets_the_next_in(pool: JobPool, gauge: Gauge) -> None:
    gauge.failures += [NotDone("not now"), NotDone("not now")]
    gauge.may_leave.set()
    for name in ("a", "b", "c", "d"):
        await two_at_once.using(job_id=name).enqueue(pool, name)

    await run_burst(pool, [gauge])

    records = [await found(pool, name) for name in ("a", "b", "c", "d")]
    assert [record.state for record in records] == [JobState.SUCCEEDED] * 4
    assert sum(record.tries for record in records) == 4 + 2
    outcomes = [attempt.outcome for record in records for attempt in record.attempts]
    assert sorted(outcomes) == [AttemptOutcome.RETRIED] * 2 + [AttemptOutcome.SUCCEEDED] * 4
    assert gauge.highest == 2


async def test_two_limits_within_each_other_both_hold_and_all_get_through(pool: JobPool, gauge: Gauge) -> None:
    gauge.may_leave.set()
    names = [f"j{number:02}" for number in range(30)]
    for name in names:
        await through_both.using(job_id=name).enqueue(pool, name)
        await straight_to_the_provider.using(job_id=f"{name}-other").enqueue(pool, f"{name}-other")

    await run_burst(pool, [gauge])

    assert sorted(gauge.entries) == sorted([*names, *(f"{name}-other" for name in names)])
    assert gauge.highest == 1


async def test_flushall_leaves_nobody_waiting_for_ever(pool: JobPool, gauge: Gauge) -> None:
    async with running_worker(pool, [gauge], slots={Queue.NOTIFICATIONS: 10}):
        await line_up(pool, two_at_once, "a", "b", "c")

        async def waits() -> bool:
            return await waiting(pool, "task:two_at_once") == ["c"]

        await until(waits)
        await pool.flushall()
        await line_up(pool, two_at_once, "d")
        gauge.may_leave.set()
        await pool_result(pool, "d")
        await pool_result(pool, "a")

    assert sorted(gauge.entries) == ["a", "b", "d"]
