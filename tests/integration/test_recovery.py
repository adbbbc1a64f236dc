"""Failures that the stream of events lost are put on record from what Redis keeps of them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from app import outbox
from app.db.leases import Lease
from app.errors import Refused
from app.history.housekeeping import HistoryHousekeeping
from app.history.recovery import FailureRecovery
from app.jobs.context import Context
from app.jobs.lookup import JobState
from app.jobs.queues import EVENTS, EVENTS_GENERATION, Queue
from app.jobs.task import TaskRegistry
from app.outbox.relay import OutboxRelay
from app.outbox.reruns import end_failed
from tests.history import History, open_history
from tests.running import open_pool, run_burst
from tests.waiting import until

TASKS = TaskRegistry()


@TASKS.task(queue=Queue.DEFAULT, visible={"number"})
async def fail(ctx: Context, number: int) -> None:
    """Fail."""
    raise Refused("no")


@pytest.fixture
async def history(redis_url: str, database_url: str) -> AsyncIterator[History]:
    async with open_pool(redis_url, TASKS) as pool, open_history(pool, database_url) as history:
        await history.projector().catch_up()
        yield history


def recovery(history: History) -> FailureRecovery:
    return FailureRecovery(history.database, TASKS, history.stream, end_failed)


async def lose_stream(history: History) -> None:
    await history.pool.delete(EVENTS, EVENTS_GENERATION)
    await history.projector().catch_up()


async def test_housekeeping_adopts_what_the_stream_lost(history: History, database_url: str) -> None:
    async with history.database.session() as session:
        job_id = await outbox.add(session, fail, number=7)
    assert job_id is not None
    relay = OutboxRelay(history.database, database_url, history.pool, lease=timedelta(seconds=5))
    await run_burst(history.pool, companions=[relay])
    await lose_stream(history)
    assert await history.reader.find(job_id) is None

    lease = Lease(history.database, "housekeeping", "test")
    keep = HistoryHousekeeping(history.database, history.stream, lease, timedelta(days=90), recovery(history))
    running = asyncio.create_task(keep.run())
    await until(lambda: history.reader.find(job_id))
    running.cancel()
    await asyncio.wait([running])

    job = await history.job(job_id)
    assert (job.state, job.kwargs) == (JobState.FAILED, {"number": 7})
    assert await history.reader.payload(job_id) is not None
    assert await history.rows("SELECT ended_at IS NOT NULL FROM tasks.outbox") == [(True,)]


async def test_hundreds_are_adopted_once(history: History) -> None:
    await history.pool.enqueue_many("fail", [{"number": number} for number in range(250)])
    await run_burst(history.pool)
    await lose_stream(history)

    assert [await recovery(history).recover() for _ in range(2)] == [250, 0]
    assert await history.rows("SELECT count(*) FROM tasks.jobs WHERE status = 'failed'") == [(250,)]


async def test_what_the_stream_still_tells_is_left_to_it(history: History) -> None:
    await history.pool.enqueue_job("fail", number=7, _job_id="j")
    await run_burst(history.pool)

    assert await recovery(history).recover() == 0

    assert (await history.job("j")).state is JobState.FAILED


async def test_another_job_of_the_same_id_takes_the_place_of_the_first(history: History) -> None:
    await history.pool.enqueue_job("fail", number=1, _job_id="j")
    await run_burst(history.pool)
    await history.projector().catch_up()
    # As an hour later, when Redis has forgotten the first.
    await history.pool.delete("arq:job:j", "arq:result:j", "indostar:failed")
    await history.execute("""
        UPDATE tasks.jobs SET enqueued_at = enqueued_at - interval '2 hours',
                              finished_at = finished_at - interval '2 hours'
    """)
    await history.pool.enqueue_job("fail", number=2, _job_id="j")
    await run_burst(history.pool)
    await lose_stream(history)

    assert [await recovery(history).recover() for _ in range(2)] == [1, 0]

    assert (await history.job("j")).kwargs == {"number": 2}


async def test_a_failure_that_postgres_refuses_does_not_hold_up_the_others(history: History) -> None:
    await history.pool.enqueue_many("fail", [{"number": number} for number in range(3)])
    await run_burst(history.pool)
    await lose_stream(history)
    await history.execute("ALTER TABLE tasks.jobs ADD CONSTRAINT no_one CHECK (kwargs <> '{\"number\": 1}')")
    try:
        assert await recovery(history).recover() == 2
    finally:
        await history.execute("ALTER TABLE tasks.jobs DROP CONSTRAINT no_one")
