"""Steering running workers: abort, pause, progress, recycling, and workers and jobs that misbehave."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Mapping, MutableMapping
from datetime import timedelta
from typing import Any

import arq
import pytest
import structlog
from arq.connections import RedisSettings
from arq.jobs import JobStatus

from app.errors import Refused
from app.jobs.context import Context
from app.jobs.control import AbortAnswer, abort, pause, resume
from app.jobs.lookup import JobState
from app.jobs.memory import AttemptOutcome
from app.jobs.pool import JobPool
from app.jobs.progress import Progress
from app.jobs.queues import Queue
from app.jobs.registry import workers
from app.jobs.retry import RetryPolicy
from app.jobs.serializer import JobFailed, deserialize, serialize
from app.jobs.task import Task, TaskRegistry
from app.jobs.watchdog import Watchdog
from app.jobs.worker import SWEEP
from tests.running import found, make_worker, open_pool, run_burst, running_worker
from tests.waiting import PATIENCE, until

tasks = TaskRegistry()


class Stage:
    """What the tasks of a test did, and when they may end."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.may_end = asyncio.Event()


@tasks.task(queue=Queue.DEFAULT)
async def step(ctx: Context, name: str = "step") -> None:
    """Says its name."""
    ctx[Stage].seen.append(name)


@tasks.task(queue=Queue.DEFAULT)
async def wait(ctx: Context, name: str = "wait") -> str:
    """Waits until it may end."""
    stage = ctx[Stage]
    stage.seen.append(name)
    try:
        await stage.may_end.wait()
    except asyncio.CancelledError:
        stage.seen.append("cancelled")
        raise
    return "ended"


@tasks.task(queue=Queue.DEFAULT, soft_time_limit=timedelta(hours=1), time_limit=timedelta(0))
async def swallow(ctx: Context) -> str:
    """Ignores the first time it is cancelled."""
    for _ in range(2):
        try:
            await ctx[Stage].may_end.wait()
        except asyncio.CancelledError:
            if "swallowed" in ctx[Stage].seen:
                raise
            ctx[Stage].seen.append("swallowed")
    return "ended"


@tasks.task(queue=Queue.DEFAULT, soft_time_limit=timedelta(hours=1), time_limit=timedelta(0))
async def clean_up_slowly(ctx: Context) -> None:
    """Cleans up for longer than two sweeps over the running jobs take."""
    try:
        await ctx[Stage].may_end.wait()
    finally:
        await asyncio.sleep(2.5 * SWEEP.total_seconds())
        ctx[Stage].seen.append("cleaned up")


@tasks.task(queue=Queue.DEFAULT)
async def count_up(ctx: Context) -> None:
    """Says how far it is."""
    for number in range(1, 1001):
        ctx.progress(number, 2000, "counting")
    ctx[Stage].seen.append("counted")
    await ctx[Stage].may_end.wait()


@tasks.task(queue=Queue.DEFAULT)
async def return_what_json_can_not_hold(ctx: Context) -> list[Any]:
    """Returns a list that holds itself."""
    ctx[Stage].seen.append("ran")
    endless: list[Any] = []
    endless.append(endless)
    return endless


@tasks.task(queue=Queue.DEFAULT)
async def block(ctx: Context, seconds: float) -> None:
    """Blocks the event loop."""
    time.sleep(seconds)  # noqa: ASYNC251 -- as careless tasks do
    ctx[Stage].seen.append("blocked")


class Unprintable(Refused):
    """An error, and a result, that can't say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


@tasks.task(queue=Queue.DEFAULT)
async def raise_the_unprintable(ctx: Context) -> None:
    """Raises what can't be logged."""
    raise Unprintable


@tasks.task(queue=Queue.DEFAULT)
async def return_the_unprintable(ctx: Context) -> Any:
    """Returns what can't be written."""
    ctx[Stage].seen.append("ran")
    return type("Odd", (), {"__repr__": Unprintable.__str__})()


@tasks.task(queue=Queue.DEFAULT, retry=RetryPolicy(retries=0))
async def raise_what_is_no_exception(ctx: Context) -> None:
    """Raises a group that `except Exception` does not catch."""
    raise BaseExceptionGroup("group", [GeneratorExit()])


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
async def pool(redis_url: str) -> AsyncIterator[JobPool]:
    async with open_pool(redis_url, tasks) as pool:
        yield pool


async def state(pool: JobPool, job_id: str) -> JobState:
    return (await found(pool, job_id)).state


async def is_cancelled(pool: JobPool, job_id: str) -> bool:
    return await state(pool, job_id) is JobState.CANCELLED


async def test_a_running_job_is_aborted(pool: JobPool, stage: Stage) -> None:
    await wait.using(job_id="j1").enqueue(pool)
    async with running_worker(pool, [stage]):
        await until(lambda: stage.seen == ["wait"])

        assert await abort(pool, "j1") is AbortAnswer.ASKED
        await until(lambda: is_cancelled(pool, "j1"))

    assert stage.seen == ["wait", "cancelled"]
    assert [attempt.outcome for attempt in (await found(pool, "j1")).attempts] == [AttemptOutcome.CANCELLED]
    assert await pool.zcard("arq:abort") == 0


async def test_a_waiting_job_is_aborted_without_being_started(pool: JobPool, stage: Stage) -> None:
    await step.using(job_id="j1", defer_by=timedelta(hours=1)).enqueue(pool)
    async with running_worker(pool, [stage]):
        await abort(pool, "j1")
        await until(lambda: is_cancelled(pool, "j1"))

    assert stage.seen == []
    assert await pool.zcard(Queue.DEFAULT.key) == 0


async def test_stock_abort_tells_the_truth(pool: JobPool, redis_url: str, stage: Stage) -> None:
    stock = await arq.create_pool(
        RedisSettings.from_dsn(redis_url), job_serializer=serialize, job_deserializer=deserialize
    )
    running = await stock.enqueue_job("wait", _job_id="running")
    waiting = await stock.enqueue_job("step", _job_id="waiting", _defer_by=3600)
    ended = await stock.enqueue_job("step", _job_id="ended")
    assert running is not None
    assert waiting is not None
    assert ended is not None
    async with running_worker(pool, [stage]):
        await ended.result(timeout=PATIENCE, poll_delay=0.02)
        await until(lambda: "wait" in stage.seen)
        assert await running.status() is JobStatus.in_progress
        assert await waiting.status() is JobStatus.deferred

        assert await running.abort(timeout=PATIENCE, poll_delay=0.02)
        assert await waiting.abort(timeout=PATIENCE, poll_delay=0.02)
        assert not await ended.abort(timeout=PATIENCE, poll_delay=0.02)

    assert "cancelled" in stage.seen
    assert await running.status() is JobStatus.complete
    await stock.aclose()


async def test_a_stale_abort_never_hits_a_later_job(pool: JobPool, stage: Stage) -> None:
    await pool.zadd("arq:abort", {"j1": 1})
    await pool.zadd("arq:abort", {"j2": 1})
    await step.using(job_id="j1").enqueue(pool, "due")
    await step.using(job_id="j2", defer_by=timedelta(hours=1)).enqueue(pool, "deferred")

    async with running_worker(pool, [stage]):
        await until(lambda: _no_aborts(pool))

    assert stage.seen == ["due"]
    later = await found(pool, "j2")
    assert (later.state, later.tries) == (JobState.SCHEDULED, 0)


async def _no_aborts(pool: JobPool) -> bool:
    return not await pool.exists("arq:abort")


async def test_what_can_not_be_aborted_is_said(pool: JobPool, stage: Stage) -> None:
    await step.using(job_id="j1").enqueue(pool)
    await run_burst(pool, [stage])

    assert await abort(pool, "j1") is AbortAnswer.ENDED_BEFORE
    assert await abort(pool, "never") is AbortAnswer.NO_SUCH_JOB
    assert await pool.zcard("arq:abort") == 0


async def test_a_paused_queue_waits_and_goes_on(pool: JobPool, stage: Stage) -> None:
    async with running_worker(pool, [stage]):
        await pause(pool, Queue.DEFAULT)
        await step.enqueue(pool, "waiting")
        await step.using(queue=Queue.NOTIFICATIONS).enqueue(pool, "not paused")
        await until(lambda: stage.seen == ["not paused"])

        await resume(pool, Queue.DEFAULT)
        await until(lambda: stage.seen == ["not paused", "waiting"])


async def test_progress_is_seen_on_the_job_and_gone_with_it(pool: JobPool, stage: Stage) -> None:
    await count_up.using(job_id="j1").enqueue(pool)
    async with running_worker(pool, [stage]):
        progress = await until(lambda: _progress(pool, "j1"))
        stage.may_end.set()

    assert progress == Progress(1000, 2000, "counting")
    assert (await found(pool, "j1")).progress is None
    assert not await pool.exists("indostar:progress")


async def _progress(pool: JobPool, job_id: str) -> Progress | None:
    return (await found(pool, job_id)).progress


async def test_a_result_that_json_can_not_hold_is_still_a_success(pool: JobPool, stage: Stage) -> None:
    job = await return_what_json_can_not_hold.enqueue(pool)
    assert job is not None

    await run_burst(pool, [stage])

    assert "could not be kept" in await job.result(timeout=PATIENCE)
    assert stage.seen == ["ran"]


@pytest.mark.parametrize("task", [raise_the_unprintable, raise_what_is_no_exception])
async def test_whatever_a_task_raises_ends_its_job(pool: JobPool, stage: Stage, task: Task[[], None]) -> None:
    await task.using(job_id="j1").enqueue(pool)

    await run_burst(pool, [stage])

    assert await state(pool, "j1") is JobState.FAILED


async def test_a_result_that_can_not_be_written_is_still_a_success(pool: JobPool, stage: Stage) -> None:
    await return_the_unprintable.using(job_id="j1").enqueue(pool)

    await run_burst(pool, [stage])

    assert await state(pool, "j1") is JobState.SUCCEEDED
    assert stage.seen == ["ran"]


async def test_a_job_that_is_ended_may_clean_up(pool: JobPool, stage: Stage) -> None:
    job = await clean_up_slowly.enqueue(pool)
    assert job is not None

    await run_burst(pool, [stage])

    with pytest.raises(JobFailed, match="TimeLimitExceeded"):
        await job.result(timeout=PATIENCE)
    assert stage.seen == ["cleaned up"]


async def test_a_job_that_swallows_its_cancellation_is_cancelled_again(
    pool: JobPool, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.running.CLEAN_UP", 0)
    job = await swallow.enqueue(pool)
    assert job is not None

    await run_burst(pool, [stage])

    with pytest.raises(JobFailed, match="TimeLimitExceeded"):
        await job.result(timeout=PATIENCE)
    assert stage.seen == ["swallowed"]


async def test_a_job_that_loses_three_workers_is_not_started_again(pool: JobPool, stage: Stage) -> None:
    job = await step.using(job_id="j1").enqueue(pool)
    assert job is not None
    async with pool.pipeline() as pipe:
        pipe.hset("indostar:lost", "j1", "2")
        await pipe.execute()
    await pool.zadd(Queue.DEFAULT.key, {"j1": 1000.5})

    async with running_worker(pool, [stage], lease=timedelta(milliseconds=300)):
        with pytest.raises(JobFailed, match="WorkerLost"):
            await job.result(timeout=PATIENCE, poll_delay=0.02)

    assert stage.seen == []
    record = await found(pool, "j1")
    assert [attempt.outcome for attempt in record.attempts].count(AttemptOutcome.LOST) == 3


async def test_memory_that_can_not_be_read_does_not_hold_a_job_up(pool: JobPool, stage: Stage) -> None:
    await step.using(job_id="j1").enqueue(pool)
    await pool.set("indostar:memory:j1", b'{"attempts": [], "of_a_newer_release": 1}')

    await run_burst(pool, [stage])

    assert await state(pool, "j1") is JobState.SUCCEEDED


async def test_after_its_number_of_jobs_a_worker_ends_by_itself(pool: JobPool, stage: Stage) -> None:
    for number in range(30):
        await step.enqueue(pool, str(number))

    await make_worker(pool, [stage], slots={Queue.DEFAULT: 2}, most_jobs=10).run()

    assert 10 <= len(stage.seen) < 20
    await run_burst(pool, [stage])
    assert sorted(stage.seen, key=int) == [str(number) for number in range(30)]


async def test_beyond_its_memory_a_worker_ends_by_itself(pool: JobPool, stage: Stage) -> None:
    await make_worker(pool, [stage], most_memory=1).run()


async def test_a_worker_says_who_it_is_and_what_it_runs(pool: JobPool, stage: Stage) -> None:
    await wait.using(job_id="j1").enqueue(pool)
    async with running_worker(pool, [stage], slots={Queue.DEFAULT: 3}) as worker:
        [entry] = await until(lambda: _with_running(pool))
        stage.may_end.set()

    assert (entry.id, entry.queues, entry.running) == (worker.id, {"default": 3}, ["j1"])
    assert entry.memory_bytes > 1_000_000
    assert await workers(pool) == []


async def _with_running(pool: JobPool) -> list[Any]:
    return [entry for entry in await workers(pool) if entry.running]


async def test_an_idle_worker_is_woken_by_a_job_without_looking_for_it(
    pool: JobPool, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.lane.POLL_LISTENING", 3600)
    monkeypatch.setattr("app.jobs.lane.POLL", 3600)
    async with running_worker(pool, [stage]):
        for number in range(5):
            await step.enqueue(pool, str(number))
            await until(lambda: len(stage.seen) == number + 1)  # noqa: B023 -- called at once


async def test_a_deferred_job_starts_at_its_time(pool: JobPool, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.jobs.lane.POLL_LISTENING", 3600)
    monkeypatch.setattr("app.jobs.lane.POLL", 3600)
    async with running_worker(pool, [stage]):
        await step.using(defer_by=timedelta(milliseconds=300)).enqueue(pool, "later")
        await until(lambda: stage.seen == ["later"])


async def test_where_the_server_does_not_tell_it_is_asked(
    pool: JobPool, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.wake.PREFIXES", ("arq:queue", "arq:queue:overlaps"))
    async with running_worker(pool, [stage]):
        await step.enqueue(pool)
        await until(lambda: stage.seen == ["step"])


async def test_what_blocks_the_event_loop_is_named_while_it_does() -> None:
    watching = asyncio.create_task(Watchdog(patience=0.05).run())
    await asyncio.sleep(0)
    told = threading.Event()
    lines: list[Mapping[str, Any]] = []

    def listen(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        lines.append(event)
        told.set()
        return event

    async def block() -> None:
        assert told.wait(timeout=10)

    with structlog.testing.capture_logs(processors=[listen]):
        await asyncio.create_task(block(), name="job j1")
    watching.cancel()

    assert (lines[0]["event"], lines[0]["by"]) == ("loop.blocked", "job j1")
    assert "in block" in lines[0]["stack"]


async def test_a_worker_that_was_blocked_does_not_take_its_own_jobs_for_lost_ones(pool: JobPool, stage: Stage) -> None:
    lease = timedelta(milliseconds=300)
    for number in range(5):
        await wait.enqueue(pool, f"job {number}")
    async with running_worker(pool, [stage], lease=lease):
        await until(lambda: len(stage.seen) == 5)
        await block.enqueue(pool, 2 * lease.total_seconds())
        await until(lambda: "blocked" in stage.seen)
        # By now the next claims have found what there was.
        await step.enqueue(pool)
        await until(lambda: "step" in stage.seen)
        stage.may_end.set()

    assert sorted(stage.seen) == ["blocked", *(f"job {number}" for number in range(5)), "step"]
    started = [fields for _, fields in await pool.xrange("indostar:events") if fields[b"kind"] == b"started"]
    assert not [value for fields in started for value in fields.values() if value.endswith(b".5")]


async def test_many_jobs_at_once_are_all_checked_before_the_first_is_queued(pool: JobPool, stage: Stage) -> None:
    jobs = await pool.enqueue_many("step", ({"name": str(number)} for number in range(250)))
    assert len({job.job_id for job in jobs}) == 250

    with pytest.raises(Exception, match="name"):
        await pool.enqueue_many("step", [{"name": "good"}, {"name": 5}])
    await run_burst(pool, [stage])

    assert sorted(stage.seen, key=int) == [str(number) for number in range(250)]


async def test_what_a_foreign_hand_wrote_does_not_end_the_worker(pool: JobPool, stage: Stage) -> None:
    await pool.zadd("arq:abort", {b"\xff no text": 1, b"no time": float("inf"), b"long ago": float("-inf")})
    await pool.set("arq:retry:j1", "many")
    job = await step.using(job_id="j1").enqueue(pool)
    assert job is not None

    async with running_worker(pool, [stage]):
        await job.result(timeout=PATIENCE, poll_delay=0.02)

    assert stage.seen == ["step"]
