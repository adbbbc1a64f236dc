"""Jobs through a real Redis: from enqueue to their last record."""

import asyncio
import pickle
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import arq
import pytest
from arq.connections import RedisSettings
from arq.jobs import JobStatus
from redis.exceptions import ConnectionError as RedisConnectionError

from app.errors import NotDone, OutcomeUnknown, Refused, Unavailable
from app.jobs.context import Context
from app.jobs.failures import UnknownQueue, UnknownTask, WrongArguments
from app.jobs.lookup import JobState
from app.jobs.memory import AttemptOutcome
from app.jobs.pool import JobPool
from app.jobs.queues import Queue
from app.jobs.retry import RetryPolicy
from app.jobs.serializer import JobFailed, deserialize, serialize
from app.jobs.task import TaskRegistry
from app.jobs.time_limits import SoftTimeLimitExceeded
from tests.running import found, open_pool, run_burst, running_worker
from tests.waiting import PATIENCE, until

AT_ONCE = RetryPolicy(first=timedelta(0))
tasks = TaskRegistry()


class Diary:
    """What the tasks of a test did, and what they are to do."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.failures: list[Exception] = []
        self.may_end = asyncio.Event()


@tasks.task(queue=Queue.DEFAULT, visible={"what"})
async def note(ctx: Context, what: str, amount: Decimal = Decimal(1)) -> dict[str, Any]:
    """Note it."""
    ctx[Diary].entries.append(what)
    return {"what": what, "amount": amount, "at": datetime(2026, 1, 5, tzinfo=UTC)}


@tasks.task(queue=Queue.NOTIFICATIONS, retry=AT_ONCE)
async def fail_first(ctx: Context) -> str:
    """Raises what the diary has left to raise."""
    diary = ctx[Diary]
    diary.entries.append(f"try {ctx.job_try}")
    if diary.failures:
        raise diary.failures.pop(0)
    return "done"


@tasks.task(queue=Queue.SUBSCRIPTIONS)
async def wait(ctx: Context) -> str:
    """Waits until it may end."""
    ctx[Diary].entries.append("started")
    await ctx[Diary].may_end.wait()
    return "ended"


@tasks.task(queue=Queue.DEFAULT, soft_time_limit=timedelta(0), time_limit=timedelta(hours=1))
async def overrun_and_clean_up(ctx: Context) -> str:
    """Cleans up at its soft limit."""
    try:
        await asyncio.Event().wait()
    except SoftTimeLimitExceeded:
        ctx[Diary].entries.append("cleaned up")
    return "partial"


@tasks.task(queue=Queue.DEFAULT, soft_time_limit=timedelta(hours=1), time_limit=timedelta(0))
async def overrun(ctx: Context) -> None:
    """Never ends by itself."""
    await asyncio.Event().wait()


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.fixture
async def pool(redis_url: str) -> AsyncIterator[JobPool]:
    async with open_pool(redis_url, tasks) as pool:
        yield pool


async def test_a_job_runs_and_its_result_is_read(pool: JobPool, diary: Diary) -> None:
    job = await note.enqueue(pool, "milk", amount=Decimal("1.50"))
    assert job is not None

    await run_burst(pool, [diary])

    assert await job.result(timeout=PATIENCE) == {
        "what": "milk",
        "amount": Decimal("1.50"),
        "at": datetime(2026, 1, 5, tzinfo=UTC),
    }
    assert await job.status() is JobStatus.complete
    record = await found(pool, job.job_id)
    assert (record.state, record.tries, record.queue) == (JobState.SUCCEEDED, 1, Queue.DEFAULT)
    assert [attempt.outcome for attempt in record.attempts] == [AttemptOutcome.SUCCEEDED]


async def test_nothing_of_a_job_that_succeeded_is_left_but_its_result(pool: JobPool, diary: Diary) -> None:
    await note.using(job_id="j1").enqueue(pool, "milk")

    await run_burst(pool, [diary])

    assert set(await pool.keys()) == {b"arq:result:j1", b"indostar:events", b"indostar:epoch", b"health"}
    assert 0 < await pool.pttl("arq:result:j1") <= 3_600_000


async def test_the_stream_has_each_payload_once(pool: JobPool, redis_url: str, diary: Diary) -> None:
    stock = await arq.create_pool(
        RedisSettings.from_dsn(redis_url), job_serializer=serialize, job_deserializer=deserialize
    )
    await note.using(job_id="ours").enqueue(pool, "of ours")
    await stock.enqueue_job("note", "of stock", _job_id="stock")
    await stock.aclose()

    await run_burst(pool, [diary])

    told = [fields for _, fields in await pool.xrange("indostar:events") if fields[b"kind"] != b"ended"]
    assert [b"of ours" in entry.get(b"job:ours", b"") for entry in told] == [True, False]
    assert [b"of stock" in entry.get(b"job:stock", b"") for entry in told] == [False, True]


async def test_every_task_has_its_own_queue(pool: JobPool) -> None:
    await pool.enqueue_job("fail_first", _job_id="j1")

    assert await pool.zrange("arq:queue:notifications", 0, -1) == [b"j1"]


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("no_such_task", {}, UnknownTask),
        ("note", {}, WrongArguments),
        ("note", {"what": "milk", "whom": "Asha"}, WrongArguments),
        ("note", {"what": "milk", "_queue_name": "arq:elsewhere"}, UnknownQueue),
        ("note", {"what": "m" * 9_000_000}, WrongArguments),
    ],
)
async def test_what_no_worker_could_run_is_refused_at_the_caller(
    pool: JobPool, name: str, arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await pool.enqueue_job(name, **arguments)

    assert await pool.keys() == []


async def test_an_id_is_taken_while_redis_knows_it(pool: JobPool, diary: Diary) -> None:
    assert await note.using(job_id="j1").enqueue(pool, "first") is not None
    assert await note.using(job_id="j1").enqueue(pool, "waiting") is None

    await run_burst(pool, [diary])

    assert await note.using(job_id="j1").enqueue(pool, "ended") is None
    assert diary.entries == ["first"]


async def test_two_enqueuers_of_the_very_same_job_do_not_both_get_it(pool: JobPool) -> None:
    job = pool.new_job("note", ("milk",), {}, job_id="mine")

    assert await pool.send([job]) == [True]
    assert await pool.send([job]) == [False]


async def test_a_job_whose_answer_was_lost_is_its_enqueuers_all_the_same(
    pool: JobPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = pool._wire
    run = wire.run

    async def run_and_lose_the_answer(*words: Any) -> Any:
        await run(*words)
        monkeypatch.setattr(wire, "run", run)
        raise RedisConnectionError

    monkeypatch.setattr(wire, "run", run_and_lose_the_answer)

    assert await note.using(job_id="mine").enqueue(pool, "milk") is not None
    assert await pool.zcard(Queue.DEFAULT.key) == 1


async def test_a_deferred_job_waits(pool: JobPool, diary: Diary) -> None:
    job = await note.using(defer_by=timedelta(hours=1)).enqueue(pool, "later")
    assert job is not None

    await run_burst(pool, [diary])

    assert diary.entries == []
    assert await job.status() is JobStatus.deferred
    assert (await found(pool, job.job_id)).state is JobState.SCHEDULED


async def test_a_job_that_expired_is_not_started(pool: JobPool, diary: Diary) -> None:
    job = await note.using(expires=timedelta(milliseconds=1), defer_by=timedelta(milliseconds=5)).enqueue(pool, "old")
    assert job is not None

    async with running_worker(pool, [diary]):
        with pytest.raises(JobFailed, match="JobExpired"):
            await job.result(timeout=PATIENCE, poll_delay=0.02)

    assert diary.entries == []
    assert (await found(pool, job.job_id)).kwargs == {"what": "old"}


async def test_an_error_is_retried_and_every_attempt_is_kept(pool: JobPool, diary: Diary) -> None:
    diary.failures = [ValueError("typo"), NotDone("busy", retry_after=timedelta(0))]
    job = await fail_first.enqueue(pool)
    assert job is not None

    await run_burst(pool, [diary])

    assert await job.result(timeout=PATIENCE) == "done"
    record = await found(pool, job.job_id)
    assert diary.entries == ["try 1", "try 2", "try 3"]
    assert record.tries == 3
    assert [(attempt.job_try, attempt.outcome) for attempt in record.attempts] == [
        (1, AttemptOutcome.RETRIED),
        (2, AttemptOutcome.RETRIED),
        (3, AttemptOutcome.SUCCEEDED),
    ]
    first = record.attempts[0].error
    assert first is not None
    assert (first.type, first.message) == ("ValueError", "typo")
    assert "in fail_first" in first.traceback


async def test_after_the_last_try_the_real_error_stands(pool: JobPool, diary: Diary) -> None:
    diary.failures = [RuntimeError(f"cause {number}") for number in range(1, 9)]
    job = await fail_first.enqueue(pool)
    assert job is not None

    await run_burst(pool, [diary])

    with pytest.raises(JobFailed, match="RuntimeError: cause 4"):
        await job.result(timeout=PATIENCE)
    record = await found(pool, job.job_id)
    assert (record.state, record.tries, record.max_tries) == (JobState.FAILED, 4, 4)
    assert len(diary.entries) == 4


@pytest.mark.parametrize("error", [Refused("no"), OutcomeUnknown("perhaps")])
async def test_what_would_not_change_is_not_tried_again(pool: JobPool, diary: Diary, error: Exception) -> None:
    diary.failures = [error]
    job = await fail_first.enqueue(pool)
    assert job is not None

    await run_burst(pool, [diary])

    assert diary.entries == ["try 1"]
    assert (await found(pool, job.job_id)).state is JobState.FAILED


async def test_a_failed_job_keeps_its_payload(pool: JobPool, diary: Diary) -> None:
    diary.failures = [Refused("no")]
    await fail_first.using(job_id="j1").enqueue(pool)

    await run_burst(pool, [diary])

    assert await pool.exists("arq:job:j1")
    assert await pool.ttl("arq:job:j1") == -1
    assert await pool.zrange("indostar:failed", 0, -1) == [b"j1"]


async def test_waiting_for_something_unavailable_costs_no_try(pool: JobPool, diary: Diary) -> None:
    diary.failures = [Unavailable("down", retry_after=timedelta(0)) for _ in range(9)]
    job = await fail_first.enqueue(pool)
    assert job is not None

    await run_burst(pool, [diary])

    assert await job.result(timeout=PATIENCE) == "done"
    assert diary.entries == ["try 1"] * 10
    assert (await found(pool, job.job_id)).tries == 1


async def test_a_job_that_waits_for_its_next_try_says_so(pool: JobPool, diary: Diary) -> None:
    diary.failures = [NotDone("busy", retry_after=timedelta(minutes=5))]
    job = await fail_first.enqueue(pool)
    assert job is not None

    await run_burst(pool, [diary])

    record = await found(pool, job.job_id)
    assert (record.state, record.tries) == (JobState.RETRYING, 1)
    assert record.run_at is not None
    assert timedelta(minutes=4) < record.run_at - datetime.now(UTC) <= timedelta(minutes=5)
    assert record.error is not None
    assert record.error.message == "busy"


async def test_a_stock_pool_with_our_serializer_works(pool: JobPool, redis_url: str, diary: Diary) -> None:
    stock = await arq.create_pool(
        RedisSettings.from_dsn(redis_url), job_serializer=serialize, job_deserializer=deserialize
    )
    async with running_worker(pool, [diary]):
        own_queue = await stock.enqueue_job("note", "milk", amount=Decimal("2.50"))
        wrong_queue = await stock.enqueue_job("fail_first")
        assert own_queue is not None
        assert wrong_queue is not None

        assert (await own_queue.result(timeout=PATIENCE, poll_delay=0.02))["amount"] == Decimal("2.50")
        assert await wrong_queue.result(timeout=PATIENCE, poll_delay=0.02) == "done"

    assert (await found(pool, wrong_queue.job_id)).queue is Queue.NOTIFICATIONS
    assert await pool.zcard("arq:queue") == 0
    await stock.aclose()


async def test_a_job_that_moved_to_its_own_queue_is_still_found_where_it_arrived(
    pool: JobPool, redis_url: str, diary: Diary
) -> None:
    stock = await arq.create_pool(
        RedisSettings.from_dsn(redis_url), job_serializer=serialize, job_deserializer=deserialize
    )
    job = await stock.enqueue_job("fail_first")
    assert job is not None

    await run_burst(pool, [diary], slots={Queue.DEFAULT: 5})

    assert await job.status() is JobStatus.queued
    assert await pool.zcount("arq:queue:notifications", 0, "+inf") == 1
    record = await found(pool, job.job_id)
    assert (record.state, record.queue) == (JobState.QUEUED, Queue.NOTIFICATIONS)

    await run_burst(pool, [diary], slots={Queue.NOTIFICATIONS: 5})

    assert await job.result(timeout=PATIENCE) == "done"
    assert await pool.zcard("arq:queue") == 0
    await stock.aclose()


async def test_a_queue_that_the_caller_named_is_kept(pool: JobPool, diary: Diary) -> None:
    job = await note.using(queue=Queue.SUBSCRIPTIONS).enqueue(pool, "here")
    assert job is not None

    await run_burst(pool, [diary], slots={Queue.SUBSCRIPTIONS: 1})

    assert diary.entries == ["here"]
    assert (await found(pool, job.job_id)).queue is Queue.SUBSCRIPTIONS


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (pickle.dumps({"t": None, "f": "note", "a": ("x",), "k": {}, "et": 1}), "it is pickled"),
        (b"\xff not json", "not a JSON object"),
        (b'{"f": "note"}', "it lacks a, k, et"),
        (b'{"t": "one", "f": "note", "a": [], "k": {}, "et": 1}', "wrong type"),
        (serialize({"t": None, "f": "gone", "a": [], "k": {}, "et": 1}), "there is no task 'gone'"),
        (serialize({"t": None, "f": "note", "a": [], "k": {"whom": 1}, "et": 1}), "what: is missing"),
    ],
)
async def test_what_cannot_run_is_set_aside_with_its_reason(
    pool: JobPool, diary: Diary, payload: bytes, reason: str
) -> None:
    await pool.set("arq:job:bad", payload)
    await pool.zadd("arq:queue", {"bad": 1000})
    await note.enqueue(pool, "behind it")

    await run_burst(pool, [diary])

    assert diary.entries == ["behind it"]
    assert await pool.get("arq:job:bad") == payload
    record = await found(pool, "bad")
    assert record.state is JobState.FAILED
    assert record.error is not None
    assert reason in record.error.message


class Trap:
    """Whoever unpickles it runs `spring`."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return spring, ()


sprung: list[str] = []


def spring() -> None:
    sprung.append("sprung")


async def test_a_pickled_payload_is_never_executed(pool: JobPool, diary: Diary) -> None:
    trap = pickle.dumps(Trap())
    pickle.loads(trap)
    assert sprung == ["sprung"]
    await pool.set("arq:job:bad", trap)
    await pool.zadd("arq:queue", {"bad": 1000})

    await run_burst(pool, [diary])
    await found(pool, "bad")

    assert sprung == ["sprung"]


async def test_a_job_runs_once_however_many_workers_there_are(pool: JobPool, diary: Diary) -> None:
    for number in range(200):
        await note.enqueue(pool, str(number))

    await asyncio.gather(*(run_burst(pool, [diary]) for _ in range(4)))

    assert sorted(diary.entries, key=int) == [str(number) for number in range(200)]


async def test_a_stopped_worker_lets_its_jobs_end(pool: JobPool, diary: Diary) -> None:
    job = await wait.enqueue(pool)
    assert job is not None
    async with running_worker(pool, [diary]) as worker:
        await until(lambda: diary.entries == ["started"])

        worker.stop()
        diary.may_end.set()

    assert await job.result(timeout=PATIENCE) == "ended"


async def test_what_does_not_end_in_time_is_handed_back_without_using_a_try(pool: JobPool, diary: Diary) -> None:
    job = await wait.enqueue(pool)
    assert job is not None
    async with running_worker(pool, [diary], grace=timedelta(0)):
        await until(lambda: diary.entries == ["started"])

    record = await found(pool, job.job_id)
    assert (record.state, record.tries) == (JobState.QUEUED, 0)
    assert [attempt.outcome for attempt in record.attempts] == [AttemptOutcome.HANDED_BACK]

    diary.may_end.set()
    await run_burst(pool, [diary])

    assert await job.result(timeout=PATIENCE) == "ended"
    assert (await found(pool, job.job_id)).tries == 1


async def test_a_running_job_says_so_and_keeps_its_lease(pool: JobPool, diary: Diary) -> None:
    job = await wait.enqueue(pool)
    assert job is not None
    async with running_worker(pool, [diary], lease=timedelta(seconds=1)):
        await until(lambda: diary.entries == ["started"])
        first = await pool.zscore("arq:queue:subscriptions", job.job_id)

        assert await job.status() is JobStatus.in_progress
        assert (await found(pool, job.job_id)).state is JobState.RUNNING
        # A second worker finds nothing to do once the lease has been renewed.
        await until(lambda: _later(pool, job.job_id, first))
        await run_burst(pool, [diary], slots={Queue.SUBSCRIPTIONS: 1})
        assert diary.entries == ["started"]
        diary.may_end.set()

    assert await job.result(timeout=PATIENCE) == "ended"


async def _later(pool: JobPool, job_id: str, first: float | None) -> bool:
    score = await pool.zscore("arq:queue:subscriptions", job_id)
    return first is not None and score is not None and score > first


async def test_a_task_may_clean_up_at_its_soft_limit(pool: JobPool, diary: Diary) -> None:
    job = await overrun_and_clean_up.enqueue(pool)
    assert job is not None

    await run_burst(pool, [diary])

    assert await job.result(timeout=PATIENCE) == "partial"
    assert diary.entries == ["cleaned up"]


async def test_the_hard_limit_ends_a_task(pool: JobPool, diary: Diary) -> None:
    job = await overrun.enqueue(pool)
    assert job is not None

    await run_burst(pool, [diary])

    with pytest.raises(JobFailed, match="TimeLimitExceeded"):
        await job.result(timeout=PATIENCE)
