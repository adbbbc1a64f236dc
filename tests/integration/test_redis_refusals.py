"""A Redis that answers and refuses: no room, no replicas. And what nobody but a foreign hand puts there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from app.jobs.context import Context
from app.jobs.limit_store import LimitStore
from app.jobs.limits import Limit
from app.jobs.lookup import JobState, find_job
from app.jobs.pool import JobPool
from app.jobs.queues import Queue
from app.jobs.task import TaskRegistry
from tests.running import open_pool, running_worker
from tests.waiting import until

LEASE = timedelta(seconds=1.5)
tasks = TaskRegistry()


class Ran:
    """The jobs that were started, and whether they may end."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.may_end = asyncio.Event()


@tasks.task(queue=Queue.DEFAULT)
async def step(ctx: Context) -> None:
    """Ends at once."""
    ctx[Ran].ids.append(ctx.job_id)


@tasks.task(queue=Queue.DEFAULT)
async def hold(ctx: Context) -> None:
    """Ends when it may."""
    ctx[Ran].ids.append(ctx.job_id)
    await ctx[Ran].may_end.wait()


@tasks.task(queue=Queue.NOTIFICATIONS)
async def send(ctx: Context) -> None:
    """Ends when it may."""
    ctx[Ran].ids.append(ctx.job_id)
    await ctx[Ran].may_end.wait()


@pytest.fixture
async def pool(redis_url: str) -> AsyncIterator[JobPool]:
    async with open_pool(redis_url, tasks) as pool:
        yield pool


@pytest.fixture
def ran() -> Ran:
    return Ran()


@asynccontextmanager
async def configured(pool: JobPool, setting: str, value: int, normal: int) -> AsyncIterator[None]:
    await pool.config_set(setting, value)
    try:
        yield
    finally:
        await pool.config_set(setting, normal)


async def has_ended(pool: JobPool, job_id: str) -> bool:
    return bool(await pool.exists(f"arq:result:{job_id}"))


async def have_ended(pool: JobPool, ids: list[str]) -> bool:
    return all([await has_ended(pool, job_id) for job_id in ids])


async def test_a_redis_that_refuses_writes_is_away_and_gives_no_running_job_away(
    pool: JobPool, redis_url: str, ran: Ran
) -> None:
    ids = [f"j{number}" for number in range(5)]
    for job_id in ids:
        await hold.using(job_id=job_id).enqueue(pool)
    with capture_logs() as logs:
        async with (
            open_pool(redis_url, tasks) as others,
            running_worker(pool, [ran], lease=LEASE, slots={Queue.DEFAULT: 10}),
            running_worker(others, [ran], lease=LEASE, slots={Queue.DEFAULT: 10}),
        ):
            await until(lambda: len(ran.ids) == len(ids))
            async with configured(pool, "min-replicas-to-write", 1, normal=0):
                lasted = asyncio.get_running_loop().time() + 2 * LEASE.total_seconds()
                await until(lambda: asyncio.get_running_loop().time() > lasted)
            ran.may_end.set()
            await until(lambda: have_ended(pool, ids))

    assert sorted(ran.ids) == ids
    assert [line["event"] for line in logs if line["event"].startswith("redis.")].count("redis.lost") == 2


async def test_jobs_make_room_in_a_redis_that_is_full(pool: JobPool, ran: Ran) -> None:
    await step.using(job_id="j1").enqueue(pool)
    async with configured(pool, "maxmemory", 1, normal=0), running_worker(pool, [ran]):
        await until(lambda: has_ended(pool, "j1"))

    assert ran.ids == ["j1"]


async def test_a_worker_outlives_a_key_that_somebody_else_uses(pool: JobPool, ran: Ran) -> None:
    await pool.set("arq:abort", "of another program")
    await step.using(job_id="j1").enqueue(pool)
    async with running_worker(pool, [ran]):
        await pool.delete("arq:abort")
        await until(lambda: has_ended(pool, "j1"))


async def test_numbers_and_names_that_are_none_are_passed_over(pool: JobPool, ran: Ran) -> None:
    async with pool.pipeline() as pipe:
        pipe.hset("indostar:lost", "j1", "often")
        pipe.sadd("indostar:limits", b"\xff")
        await pipe.execute()
    await step.using(job_id="j1").enqueue(pool)
    async with running_worker(pool, [ran]):
        await until(lambda: has_ended(pool, "j1"))


async def test_arguments_that_can_be_read_and_not_written_end_their_job(pool: JobPool, ran: Ran) -> None:
    deep = b"[" * 700 + b"]" * 700
    await pool.set("arq:job:j1", b'{"t":null,"f":"step","a":[%b],"k":{},"et":1}' % deep)
    await pool.zadd(Queue.DEFAULT.key, {"j1": 1000})
    async with running_worker(pool, [ran]):
        await until(lambda: has_ended(pool, "j1"))

    record = await find_job(pool, "j1")
    assert record is not None
    assert (record.state, ran.ids) == (JobState.FAILED, [])


async def test_a_job_that_was_due_in_1970_moves_to_its_queue_once(pool: JobPool, ran: Ran) -> None:
    job = pool.new_job("send", (), {}, job_id="j1")
    await pool.set("arq:job:j1", job.payload)
    await pool.zadd(Queue.DEFAULT.key, {"j1": datetime(1970, 1, 1, tzinfo=UTC).timestamp()})
    async with running_worker(pool, [ran]):
        await until(lambda: ran.ids)
        # Everything that is due is claimed before this one.
        await step.using(job_id="later").enqueue(pool)
        await until(lambda: has_ended(pool, "later"))
        ran.may_end.set()
        await until(lambda: has_ended(pool, "j1"))

    assert ran.ids == ["j1", "later"]


async def test_a_long_line_is_not_read_while_its_limit_is_full(pool: JobPool) -> None:
    store, limit = LimitStore(pool.connection_pool, hold_ms=60_000), Limit("x", in_flight=1)
    in_an_hour = datetime.now(UTC).timestamp() * 1000 + 3_600_000
    await pool.zadd("indostar:limit:x:held", {"somebody": in_an_hour})
    await pool.zadd(f"indostar:limit:x:waiting:{Queue.DEFAULT.key}", {f"j{number}": number for number in range(500)})
    await pool.config_resetstat()

    assert await store.pace(limit) == 500

    assert "cmdstat_zrange" not in await pool.info("commandstats")
    await store.aclose()
