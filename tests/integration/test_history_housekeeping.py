"""History keeps within its time, never loses a dead letter, and relieves Redis only of what it has itself."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from app.db.leases import Lease
from app.db.retention import delete_old
from app.errors import Refused
from app.history.housekeeping import OLD_JOBS, HistoryHousekeeping, relieve_redis
from app.history.recovery import FailureRecovery
from app.jobs.context import Context
from app.jobs.lookup import JobState, find_job
from app.jobs.queues import FAILED_JOBS, Queue
from app.jobs.task import TaskRegistry
from app.letters.control import DeadLetters
from app.outbox.reruns import end_failed
from tests.history import History, open_history
from tests.running import open_pool, run_burst
from tests.waiting import until

TASKS = TaskRegistry()
TOMORROW = datetime.now(UTC) + timedelta(days=1)


@TASKS.task(queue=Queue.DEFAULT)
async def succeed(context: Context) -> None:
    """Succeed."""


@TASKS.task(queue=Queue.DEFAULT)
async def fail(context: Context) -> None:
    """Fail."""
    raise Refused("no")


@TASKS.task(queue=Queue.DEFAULT, secret={"link"})
async def fail_with(context: Context, link: str) -> None:
    """Fail with a secret."""
    raise Refused("no")


@pytest.fixture
async def history(redis_url: str, database_url: str) -> AsyncIterator[History]:
    async with open_pool(redis_url, TASKS) as pool, open_history(pool, database_url) as history:
        for name in ("succeed", "fail"):
            await pool.enqueue_job(name, _job_id=name)
        await pool.enqueue_job("fail_with", link="https://shop.example", _job_id="fail_with")
        await run_burst(pool)
        await history.projector().catch_up()
        yield history


async def test_what_is_old_goes_and_dead_letters_stay(history: History) -> None:
    await history.pool.enqueue_job("succeed", _job_id="later", _defer_by=timedelta(days=30))
    await history.projector().catch_up()

    assert await delete_old(history.database, OLD_JOBS, datetime.now(UTC) - timedelta(days=1)) == 0
    assert await delete_old(history.database, OLD_JOBS, TOMORROW) == 1

    assert await history.rows("SELECT id FROM tasks.jobs ORDER BY 1") == [("fail",), ("fail_with",), ("later",)]
    attempts = await history.rows("SELECT DISTINCT job_id FROM tasks.attempts ORDER BY 1")
    assert attempts == [("fail",), ("fail_with",)]
    assert await history.rows("SELECT job_id FROM tasks.payloads ORDER BY 1") == [("fail",), ("later",)]


async def test_a_dead_letter_that_somebody_closed_goes_by_its_age(history: History) -> None:
    await DeadLetters(history.database, history.pool, history.stream).discard("fail", by="asha")

    assert await delete_old(history.database, OLD_JOBS, TOMORROW) == 2

    assert await history.rows("SELECT id FROM tasks.jobs") == [("fail_with",)]


async def test_many_old_jobs_go_page_by_page(history: History) -> None:
    await history.execute("""
        INSERT INTO tasks.jobs (id, task, queue, status, kwargs, terms, enqueued_at, tries, root_id, last_event)
        SELECT 'old-' || n, 'succeed', 'default', 'succeeded', '{}', '{}', now() - interval '100 days', 1, 'old', '0-0'
        FROM generate_series(1, 2500) AS n
    """)

    assert await delete_old(history.database, OLD_JOBS, datetime.now(UTC) - timedelta(days=90)) == 2500
    assert await history.rows("SELECT count(*) FROM tasks.jobs") == [(3,)]


async def test_redis_keeps_of_failed_jobs_what_history_has_not(history: History) -> None:
    failed_at = await history.pool.zscore(FAILED_JOBS, "fail")
    assert failed_at is not None
    assert await relieve_redis(history.database, history.stream, int(failed_at) - 1) == 0
    assert (await history.job("fail")).state is JobState.FAILED

    assert await relieve_redis(history.database, history.stream, int(failed_at) + 10_000) == 1

    assert await find_job(history.pool, "fail") is None
    assert await find_job(history.pool, "fail_with") is not None
    assert await history.pool.zrange(FAILED_JOBS, 0, -1) == [b"fail_with"]
    assert await history.reader.payload("fail") is not None


async def test_a_job_that_failed_again_meanwhile_stays_in_redis(history: History) -> None:
    [(job_id, failed_ms)] = [job for job in await history.stream.failed_jobs(2**53, skip=0, most=9) if job[0] == "fail"]
    await history.pool.zadd(FAILED_JOBS, {job_id: failed_ms + 1})

    assert await history.stream.drop_failed([(job_id, failed_ms)]) == 0

    assert await find_job(history.pool, job_id) is not None


async def test_one_of_several_workers_keeps_house(history: History) -> None:
    def housekeeping(holder: str) -> HistoryHousekeeping:
        lease = Lease(history.database, "housekeeping", holder, length=timedelta(minutes=10))
        clock = TOMORROW.timestamp
        recovery = FailureRecovery(history.database, TASKS, history.stream, end_failed)
        return HistoryHousekeeping(history.database, history.stream, lease, timedelta(hours=1), recovery, clock=clock)

    running = [asyncio.create_task(housekeeping(holder).run()) for holder in ("a", "b")]

    async def is_tidy() -> bool:
        return await history.rows("SELECT id FROM tasks.jobs ORDER BY 1") == [("fail",), ("fail_with",)]

    await until(is_tidy)
    for task in running:
        task.cancel()
    await asyncio.wait(running)
    assert await history.rows("SELECT count(*) FROM tasks.leases WHERE holder IN ('a', 'b')") == [(1,)]


async def test_a_lease_is_one_holders_until_it_runs_out_or_is_given_up(history: History) -> None:
    first, second = (Lease(history.database, "x", holder) for holder in ("first", "second"))

    assert await first.take()
    assert not await second.take()
    assert await first.take()
    await second.give_up()
    assert not await second.take()

    await first.give_up()
    assert await second.take()
    await history.execute("UPDATE tasks.leases SET expires_at = now() - interval '1 second' WHERE name = 'x'")
    assert await first.take()
