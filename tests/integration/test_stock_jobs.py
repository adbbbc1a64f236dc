"""A stock arq pool with our serializer: its jobs tell the truth in every state, on every queue."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import arq
import pytest
from arq.connections import ArqRedis, RedisSettings
from arq.jobs import Job, JobResult, JobStatus, ResultNotFound

from app.errors import NotDone
from app.jobs.context import Context
from app.jobs.pool import JobPool
from app.jobs.queues import Queue
from app.jobs.serializer import JobFailed, deserialize, serialize
from app.jobs.task import TaskRegistry
from tests.running import open_pool, run_burst, running_worker
from tests.waiting import PATIENCE, until

tasks = TaskRegistry()


class Gate:
    """Where running jobs wait."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.is_open = asyncio.Event()


@tasks.task(queue=Queue.DEFAULT)
async def add(ctx: Context, a: int, b: int) -> int:
    """The sum, once the gate is open."""
    ctx[Gate].reached.set()
    await ctx[Gate].is_open.wait()
    return a + b


@tasks.task(queue=Queue.DEFAULT)
async def fail(ctx: Context, later: bool) -> None:
    """Fails, or asks to be tried again in an hour."""
    raise NotDone("busy", retry_after=timedelta(hours=1)) if later else ExceptionGroup("bad", [ValueError("bad")])


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def pool(redis_url: str) -> AsyncIterator[JobPool]:
    async with open_pool(redis_url, tasks) as pool:
        yield pool


@pytest.fixture(params=[*Queue])
async def stock(redis_url: str, request: pytest.FixtureRequest) -> AsyncIterator[ArqRedis]:
    """A pool of stock arq for each queue in turn."""
    stock = await arq.create_pool(
        RedisSettings.from_dsn(redis_url),
        default_queue_name=request.param.key,
        job_serializer=serialize,
        job_deserializer=deserialize,
    )
    yield stock
    await stock.aclose()


async def enqueued(stock: ArqRedis, task: str, *args: object, wait: timedelta | None = None) -> Job:
    job = await stock.enqueue_job(task, *args, _defer_by=wait)
    assert job is not None
    return job


async def has_no_result_yet(job: Job) -> bool:
    try:
        await job.result(timeout=0, poll_delay=0)
    except TimeoutError:
        return True
    return False


async def test_a_job_that_nobody_enqueued_is_not_found(stock: ArqRedis) -> None:
    job = Job("never", stock, stock.default_queue_name, deserialize)

    assert await job.status() is JobStatus.not_found
    assert await job.info() is None
    with pytest.raises(ResultNotFound):
        await job.result(timeout=1)


async def test_from_the_queue_to_its_result(stock: ArqRedis, pool: JobPool, gate: Gate) -> None:
    job = await enqueued(stock, "add", 1, 2)
    assert await job.status() is JobStatus.queued
    assert await has_no_result_yet(job)

    async with running_worker(pool, [gate]):
        await gate.reached.wait()
        assert await job.status() is JobStatus.in_progress
        assert await has_no_result_yet(job)
        running = await job.info()
        gate.is_open.set()
        assert await job.result(timeout=PATIENCE, poll_delay=0.02) == 3

    assert running is not None
    assert (running.function, list(running.args), running.kwargs) == ("add", [1, 2], {})
    assert await job.status() is JobStatus.complete
    ended = await job.info()
    assert isinstance(ended, JobResult)
    assert (ended.function, list(ended.args), ended.success, ended.result) == ("add", [1, 2], True, 3)
    assert (ended.queue_name, ended.job_try, ended.job_id) == (stock.default_queue_name, 1, job.job_id)
    assert ended.enqueue_time == running.enqueue_time
    assert ended.start_time <= ended.finish_time


async def test_a_failure_is_raised_where_its_result_is_read(stock: ArqRedis, pool: JobPool, gate: Gate) -> None:
    job = await enqueued(stock, "no_such_task")

    await run_burst(pool, [gate])

    assert await job.status() is JobStatus.complete
    with pytest.raises(JobFailed, match="there is no task 'no_such_task'"):
        await job.result(timeout=PATIENCE)
    info = await job.result_info()
    assert info is not None
    assert not info.success


async def test_a_job_that_waits_for_its_next_try_is_deferred_and_can_be_aborted(
    stock: ArqRedis, pool: JobPool, gate: Gate
) -> None:
    job = await enqueued(stock, "fail", True)
    await run_burst(pool, [gate])

    assert await job.status() is JobStatus.deferred
    assert await has_no_result_yet(job)
    info = await job.info()
    assert info is not None
    assert info.score is not None

    async with running_worker(pool, [gate]):
        assert await job.abort(timeout=PATIENCE, poll_delay=0.02)
    assert await job.status() is JobStatus.complete


async def test_a_deferred_job_is_deferred_and_can_be_aborted(stock: ArqRedis, pool: JobPool, gate: Gate) -> None:
    job = await enqueued(stock, "add", 1, 2, wait=timedelta(hours=1))
    assert await job.status() is JobStatus.deferred

    async with running_worker(pool, [gate]):
        assert await job.abort(timeout=PATIENCE, poll_delay=0.02)

    assert await job.status() is JobStatus.complete
    assert not gate.reached.is_set()
    assert await stock.zcard(stock.default_queue_name) == 0


async def test_a_running_job_is_aborted_by_its_own_worker(stock: ArqRedis, pool: JobPool, gate: Gate) -> None:
    job = await enqueued(stock, "add", 1, 2)
    async with running_worker(pool, [gate]) as holder:
        await gate.reached.wait()
        # Others that could take it are at work.
        async with running_worker(pool, [gate]), running_worker(pool, [gate]):
            assert await job.abort(timeout=PATIENCE, poll_delay=0.02)

    events = [fields for _, fields in await pool.xrange("indostar:events") if f"job:{job.job_id}".encode() in fields]
    assert [fields[b"kind"] for fields in events] == [b"started", b"ended"]
    assert events[0][b"by"].startswith(holder.id.encode())
    assert await job.status() is JobStatus.complete


async def test_a_job_that_moved_to_its_own_queue_is_known_where_it_arrived(
    redis_url: str, pool: JobPool, gate: Gate
) -> None:
    @tasks.task(queue=Queue.NOTIFICATIONS)
    async def elsewhere(ctx: Context) -> None:
        """Belongs on another queue than the one where a stock pool puts it."""

    stock = await arq.create_pool(
        RedisSettings.from_dsn(redis_url), job_serializer=serialize, job_deserializer=deserialize
    )
    job = await enqueued(stock, "elsewhere")
    async with running_worker(pool, [gate], slots={Queue.DEFAULT: 1}):
        await until(lambda: _moved(pool, job))

        assert await job.status() is JobStatus.queued
        assert await has_no_result_yet(job)
        assert await job.abort(timeout=PATIENCE, poll_delay=0.02)

    assert await stock.zcard(stock.default_queue_name) == 0
    await stock.aclose()


async def _moved(pool: JobPool, job: Job) -> bool:
    return await pool.zscore(Queue.NOTIFICATIONS.key, job.job_id) is not None
