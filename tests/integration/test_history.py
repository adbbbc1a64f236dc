"""What history tells of jobs that real workers ran."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.jobs import Job
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.db.engine import is_passing
from app.errors import NotDone, Refused, Unavailable
from app.history.reader import HistoryReader, JobFilter, WrongCursor
from app.jobs.context import Context
from app.jobs.control import abort
from app.jobs.lookup import JobState, find_job
from app.jobs.memory import AttemptOutcome
from app.jobs.payload import Payload
from app.jobs.pool import NewJob
from app.jobs.queues import EVENTS, Queue
from app.jobs.retry import RetryPolicy
from app.jobs.serializer import deserialize, serialize
from app.jobs.task import TaskRegistry
from tests.history import History, open_history
from tests.running import open_pool, run_burst, running_worker
from tests.waiting import until

TASKS = TaskRegistry()
AT_ONCE = RetryPolicy(retries=1, first=timedelta(0))


@TASKS.task(queue=Queue.NOTIFICATIONS, visible={"order"}, retry=AT_ONCE)
async def tell(context: Context, order: str, email: str = "", outcome: str = "") -> Any:
    """Tell, or end as it is told."""
    match outcome:
        case "refused":
            raise Refused(f"{email} has no mailbox")
        case "not done":
            raise NotDone(f"nobody at {email}")
        case "away":
            raise Unavailable(f"no way to {email}", retry_after=timedelta(hours=1))
        case "echo":
            return {"sent_to": [email], "order": order}
    return None


@TASKS.task(queue=Queue.DEFAULT, secret={"link"}, retry=AT_ONCE)
async def reset(context: Context, link: str, outcome: str = "") -> None:
    """Fail, and say with what."""
    if outcome == "away":
        raise Unavailable(link, retry_after=timedelta(hours=1))
    raise Refused(f"nobody follows {link}")


@TASKS.task(queue=Queue.DEFAULT, visible={"what"})
async def repeat(context: Context, what: Any) -> Any:
    """Return what it was given."""
    return what


@TASKS.task(queue=Queue.DEFAULT)
async def meet_nul(context: Context, fail: bool) -> str:
    """Answer or fail with what no argument may have."""
    if fail:
        raise Refused("the label ends with \x00")
    return "a\x00b"


@pytest.fixture
async def history(redis_url: str, database_url: str) -> AsyncIterator[History]:
    async with open_pool(redis_url, TASKS) as pool, open_history(pool, database_url) as history:
        yield history


async def enqueue(history: History, name: str, **kwargs: Any) -> Job:
    job = await history.pool.enqueue_job(name, **kwargs)
    assert job is not None
    return job


async def everything(history: History) -> str:
    """All that PostgreSQL has of jobs but their payloads, as text."""
    jobs = await history.rows("SELECT jobs::text FROM tasks.jobs")
    attempts = await history.rows("SELECT attempts::text FROM tasks.attempts")
    return repr(jobs + attempts)


async def test_history_tells_what_redis_told_and_keeps_it(history: History) -> None:
    job = await enqueue(history, "tell", order="ORD-7", outcome="echo", email="asha@example.com")
    await run_burst(history.pool)
    in_redis = await find_job(history.pool, job.job_id)
    assert in_redis is not None

    await history.projector().catch_up()
    await history.pool.flushall()

    kept = await history.job(job.job_id)
    assert kept.kwargs == {"order": "ORD-7", "outcome": "hidden", "email": "hidden"}
    assert kept.result == {"sent_to": ["hidden"], "order": "ORD-7"}
    told = ("task", "queue", "state", "enqueued_at", "started_at", "finished_at", "tries", "max_tries", "attempts")
    assert [getattr(kept, name) for name in told] == [getattr(in_redis, name) for name in told]


async def test_a_job_is_followed_from_queue_to_end(history: History) -> None:
    projector = history.projector()
    later = datetime.now(UTC) + timedelta(hours=1)
    job = await enqueue(history, "tell", order="ORD-7", _defer_until=later)
    await projector.catch_up()
    waiting = await history.job(job.job_id)
    assert (waiting.state, waiting.tries) == (JobState.SCHEDULED, 0)
    assert waiting.run_at is not None
    assert abs(waiting.run_at - later) < timedelta(milliseconds=1)
    assert (await history.reader.find(job.job_id, now=later + timedelta(seconds=1))).state is JobState.QUEUED  # type: ignore[union-attr]

    await history.pool.zadd(Queue.NOTIFICATIONS.key, {job.job_id: 1_000})
    await run_burst(history.pool)
    await projector.catch_up()

    ended = await history.job(job.job_id)
    assert (ended.state, ended.tries, ended.run_at) == (JobState.SUCCEEDED, 1, None)
    assert [attempt.outcome for attempt in ended.attempts] == [AttemptOutcome.SUCCEEDED]


async def test_a_failure_keeps_its_errors_attempts_and_payload(history: History) -> None:
    job = await enqueue(history, "tell", order="ORD-7", email="asha@example.com", outcome="not done")
    await run_burst(history.pool)
    await history.projector().catch_up()

    failed = await history.job(job.job_id)

    assert failed.state is JobState.FAILED
    assert [attempt.outcome for attempt in failed.attempts] == [AttemptOutcome.RETRIED, AttemptOutcome.FAILED]
    assert failed.error is not None
    assert (failed.error.type, failed.error.message) == ("NotDone", "nobody at hidden")
    assert "raise NotDone" in failed.error.traceback
    payload = await history.reader.payload(job.job_id)
    assert payload is not None
    assert Payload.from_bytes(payload).kwargs["email"] == "asha@example.com"
    assert payload == await history.pool.get(f"arq:job:{job.job_id}")


async def test_a_payload_goes_when_its_job_is_done(history: History) -> None:
    projector = history.projector()
    job = await enqueue(history, "tell", order="ORD-7")
    await projector.catch_up()
    assert await history.reader.payload(job.job_id) is not None

    await run_burst(history.pool)
    await projector.catch_up()

    assert await history.reader.payload(job.job_id) is None


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("outcome", ["refused", "not done", "away"])
async def test_hidden_arguments_are_in_payloads_alone(history: History, outcome: str, at_once: bool) -> None:
    projector = history.projector()
    await enqueue(history, "tell", order="ORD-7", email="asha@example.com", outcome=outcome)
    if not at_once:
        await projector.catch_up()

    await run_burst(history.pool)
    await projector.catch_up()

    assert "asha" not in await everything(history)
    [(errors,)] = await history.rows("SELECT count(error_message) FROM tasks.attempts")
    assert errors > 0


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("outcome", ["refused", "away"])
async def test_secrets_are_nowhere(history: History, outcome: str, at_once: bool) -> None:
    projector = history.projector()
    job = await enqueue(history, "reset", link="https://shop.example/reset?token=s3cr3t", outcome=outcome)
    if not at_once:
        await projector.catch_up()

    await run_burst(history.pool)
    await projector.catch_up()

    assert (await history.job(job.job_id)).error is not None
    assert "s3cr3t" not in await everything(history)
    assert await history.rows("SELECT job_id FROM tasks.payloads") == []


async def test_a_job_that_is_put_off_is_retrying(history: History) -> None:
    job = await enqueue(history, "tell", order="ORD-7", outcome="away")
    await run_burst(history.pool)
    await history.projector().catch_up()

    waiting = await history.job(job.job_id)

    in_redis = await find_job(history.pool, job.job_id)
    assert in_redis is not None
    assert (waiting.state, waiting.tries, waiting.run_at) == (JobState.RETRYING, 0, in_redis.run_at)
    assert len(waiting.attempts) == 1


async def test_an_aborted_job_is_cancelled(history: History) -> None:
    job = await enqueue(history, "tell", order="ORD-7", _defer_by=timedelta(hours=1))
    await abort(history.pool, job.job_id)
    async with running_worker(history.pool):
        await until(lambda: _has_ended(history, job.job_id))

    await history.projector().catch_up()

    assert (await history.job(job.job_id)).state is JobState.CANCELLED
    assert await history.reader.payload(job.job_id) is None


async def _has_ended(history: History, job_id: str) -> bool:
    record = await find_job(history.pool, job_id)
    return record is not None and record.finished_at is not None


@pytest.mark.parametrize(
    ("what", "kept"),
    [
        ("a\x00b", "a\ufffdb"),
        ({"a\x00": ["\\u0000", "\\\x00"]}, {"a\ufffd": ["\\u0000", "\\\ufffd"]}),
        ("half a \ud83e", "half a \ufffd"),
        ("मिल्क \U0001f95b", "मिल्क \U0001f95b"),
        (10**30, 10**30),
        ([1.5, None, True, {"$": "date"}], [1.5, None, True, {"$": "date"}]),
    ],
)
async def test_strange_characters_and_numbers_are_kept_as_far_as_postgres_can(
    history: History, what: Any, kept: Any
) -> None:
    # Our own pool would refuse some of them.
    stock_pool = ArqRedis(history.pool.connection_pool, job_serializer=serialize, job_deserializer=deserialize)
    job = await stock_pool.enqueue_job("repeat", what=what, _job_id="\x00 strange")
    assert job is not None
    await run_burst(history.pool)
    await history.projector().catch_up()

    record = await history.job("\ufffd strange")

    assert job.job_id == "\x00 strange"
    assert record.result == kept
    assert record.kwargs == {"what": kept}


async def test_nul_in_results_and_errors_is_replaced(history: History) -> None:
    succeeded, failed = [await enqueue(history, "meet_nul", fail=fail) for fail in (False, True)]
    await run_burst(history.pool)
    await history.projector().catch_up()

    assert (await history.job(succeeded.job_id)).result == "a\ufffdb"
    error = (await history.job(failed.job_id)).error
    assert error is not None
    assert error.message == "the label ends with \ufffd"


async def test_a_huge_payload_and_result_do_not_burst_a_row(history: History) -> None:
    job = await enqueue(history, "repeat", what="milk " * 1_000_000)
    await run_burst(history.pool)
    await history.projector().catch_up()

    record = await history.job(job.job_id)

    assert "too long for history" in record.result
    assert record.kwargs == {"what": "<5000002 bytes>"}


async def test_an_entry_that_nobody_can_read_does_not_stop_history(history: History) -> None:
    pool = history.pool
    await pool.xadd(
        EVENTS, {"kind": "ended", "at": "1", "job:broken": "done nonsense", b"job:\xff": "1", "job:odd": "x"}
    )
    await pool.xadd(EVENTS, {"job:foreign": "entry"})
    await pool.xadd(EVENTS, {"kind": "enqueued", "at": "1", f"job:{'long' * 1000}": "1 arq:queue {}"})
    await pool.send([NewJob("unreadable", Queue.DEFAULT, b"not a job", "")])
    job = await enqueue(history, "tell", order="ORD-7")
    await run_burst(pool)

    await history.projector().catch_up()

    assert (await history.job(job.job_id)).state is JobState.SUCCEEDED
    unreadable = await history.job("unreadable")
    assert (unreadable.state, unreadable.task) == (JobState.FAILED, "<unknown>")
    assert unreadable.error is not None
    assert unreadable.error.type == "UnreadablePayload"


async def test_an_id_that_is_used_again_begins_anew(history: History) -> None:
    projector = history.projector()
    await enqueue(history, "tell", order="ORD-7", outcome="not done", _job_id="again")
    await run_burst(history.pool)
    await projector.catch_up()
    await history.pool.delete("arq:job:again", "arq:result:again")

    await enqueue(history, "tell", order="ORD-8", _job_id="again")
    await run_burst(history.pool)
    await projector.catch_up()

    record = await history.job("again")
    assert (record.kwargs["order"], record.error, len(record.attempts)) == ("ORD-8", None, 1)
    assert await history.reader.payload("again") is None


async def test_pages_are_newest_first_and_meet_without_overlap(history: History) -> None:
    for number in range(7):
        payload = Payload("tell", 1_700_000_000_000 + number // 2, kwargs={"order": f"ORD-{number % 2}"}).to_bytes()
        await history.pool.send([NewJob(f"job-{number}", Queue.NOTIFICATIONS, payload, "")])
    await enqueue(history, "reset", link="https://shop.example")
    await run_burst(history.pool)
    await history.projector().catch_up()
    wanted = JobFilter(task="tell", queue=Queue.NOTIFICATIONS)

    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await history.reader.page(wanted, limit=3, cursor=cursor)
        found += [job.id for job in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert found == [f"job-{number}" for number in range(6, -1, -1)]
    by_order = await history.reader.page(JobFilter(q="ord-1"), limit=10)
    assert [job.id for job in by_order.items] == ["job-5", "job-3", "job-1"]
    failed = await history.reader.page(JobFilter(status=JobState.FAILED), limit=10)
    assert [job.task for job in failed.items] == ["reset"]
    since = datetime.fromtimestamp(1_700_000_000.001, UTC)
    some = await history.reader.page(
        JobFilter(task="tell", since=since, until=since + timedelta(milliseconds=1)), limit=9
    )
    assert [job.id for job in some.items] == ["job-3", "job-2"]


async def test_a_cursor_is_taken_where_it_was_given_and_as_it_was_given(history: History) -> None:
    for number in range(3):
        await enqueue(history, "tell", order=f"ORD-{number}")
    await history.projector().catch_up()
    wanted = JobFilter(task="tell")
    cursor = (await history.reader.page(wanted, limit=1)).next_cursor
    assert cursor is not None
    other = "B" if cursor[-6] == "A" else "A"
    tampered = [
        cursor[:-6] + other + cursor[-5:],
        cursor[4:],
        cursor + "AAAA",
        cursor[::-1],
        "bm9uc2Vuc2U=",
        "",
        "\x00",
        "₹",
    ]

    assert len((await history.reader.page(wanted, limit=5, cursor=cursor)).items) == 2
    for wrong in tampered:
        with pytest.raises(WrongCursor):
            await history.reader.page(wanted, limit=1, cursor=wrong)
    for others in (JobFilter(), JobFilter(task="reset"), JobFilter(task="tell", status=JobState.QUEUED)):
        with pytest.raises(WrongCursor):
            await history.reader.page(others, limit=1, cursor=cursor)


async def test_a_running_projector_follows_and_hands_over(history: History) -> None:
    first, second = (history.projector(holder) for holder in ("first", "second"))
    running = asyncio.create_task(first.run())
    other = asyncio.create_task(second.run())
    async with running_worker(history.pool):
        job = await enqueue(history, "tell", order="ORD-7")
        await until(lambda: history.reader.find(job.job_id))
        [(holder,)] = await history.rows("SELECT holder FROM tasks.leases")
        elected, standby = (running, other) if holder == "first" else (other, running)

        elected.cancel()
        await asyncio.wait([elected])

        later = await enqueue(history, "tell", order="ORD-8")
        await until(lambda: history.reader.find(later.job_id))
    standby.cancel()
    await asyncio.wait([standby])


async def test_a_page_that_takes_too_long_is_given_up(history: History) -> None:
    await enqueue(history, "tell", order="ORD-1")
    await history.projector().catch_up()
    async with history.database.session() as session:
        # Whoever reads has to wait for it.
        await session.execute(text("LOCK TABLE tasks.jobs IN ACCESS EXCLUSIVE MODE"))

        with pytest.raises(DBAPIError) as given_up:
            await HistoryReader(history.database, timedelta(milliseconds=20)).page(JobFilter(), limit=1)

    assert is_passing(given_up.value)
    assert len((await history.reader.page(JobFilter(), limit=1)).items) == 1
