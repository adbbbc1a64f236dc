"""Jobs that wait are discarded without a worker, one or many; those that run are not."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from app import outbox
from app.errors import NotDone, Refused
from app.history.reader import JobFilter
from app.jobs.context import Context
from app.jobs.lookup import JobState, find_job
from app.jobs.queues import Queue
from app.jobs.task import TaskRegistry
from app.letters.control import DeadLetters
from app.letters.letter import LeftOut, NotALetter
from app.outbox.relay import OutboxRelay
from tests.history import History, open_history
from tests.running import open_pool, run_burst, running_worker

TASKS = TaskRegistry()
LATER = timedelta(hours=1)


@dataclass
class Gate:
    """What ran; whoever is to be held waits here."""

    ran: list[str] = field(default_factory=list)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    is_open: asyncio.Event = field(default_factory=asyncio.Event)


@TASKS.task(queue=Queue.DEFAULT, visible={"number"})
async def work(ctx: Context, number: int) -> None:
    """Do something that can be seen."""
    ctx[Gate].ran.append(ctx.job_id)


@TASKS.task(queue=Queue.DEFAULT)
async def hold(ctx: Context) -> None:
    """Run until it is let go."""
    ctx[Gate].entered.set()
    await ctx[Gate].is_open.wait()


@TASKS.task(queue=Queue.DEFAULT)
async def refuse(ctx: Context) -> None:
    """Fail for good."""
    raise Refused


@TASKS.task(queue=Queue.DEFAULT)
async def stumble(ctx: Context) -> None:
    """Fail, to be tried again."""
    raise NotDone


@dataclass
class Desk:
    """Discarding with everything around it."""

    history: History
    letters: DeadLetters
    relay: OutboxRelay
    gate: Gate

    async def state(self, job_id: str) -> JobState:
        await self.history.projector().catch_up()
        return (await self.history.job(job_id)).state

    async def rows(self) -> list[tuple[object, ...]]:
        return await self.history.rows("SELECT kwargs, ended_at IS NOT NULL FROM tasks.outbox ORDER BY id")


@pytest.fixture
async def desk(redis_url: str, database_url: str) -> AsyncIterator[Desk]:
    async with open_pool(redis_url, TASKS) as pool, open_history(pool, database_url) as history:
        relay = OutboxRelay(history.database, database_url, pool, lease=timedelta(seconds=5))
        yield Desk(history, DeadLetters(history.database, pool, history.stream), relay, Gate())


@pytest.mark.parametrize("delay", [None, LATER], ids=["due", "deferred"])
async def test_a_waiting_job_is_discarded_and_never_runs(desk: Desk, delay: timedelta | None) -> None:
    pool = desk.history.pool
    job = await pool.enqueue_job("work", number=1, _job_id="j", _defer_by=delay)
    assert job is not None

    await desk.letters.discard("j", by="asha")
    await desk.letters.discard("j", by="ravi")
    await run_burst(pool, [desk.gate])

    assert desk.gate.ran == []
    assert await pool.zcard(Queue.DEFAULT.key) == 0
    with pytest.raises(asyncio.CancelledError):
        await job.result()
    record = await find_job(pool, "j")
    assert record is not None
    assert (record.state, record.started_at) == (JobState.CANCELLED, None)
    assert await desk.state("j") is JobState.CANCELLED
    told = await desk.history.job("j")
    assert (told.kwargs, told.started_at, told.attempts) == ({"number": 1}, None, [])


async def test_a_job_between_two_tries_keeps_its_attempts(desk: Desk) -> None:
    pool = desk.history.pool
    await pool.enqueue_job("stumble", _job_id="j")
    await run_burst(pool, [desk.gate])

    await desk.letters.discard("j", by="asha")

    assert await desk.state("j") is JobState.CANCELLED
    told = await desk.history.job("j")
    assert (told.tries, len(told.attempts)) == (1, 1)
    assert told.started_at is not None
    assert not await pool.exists("arq:retry:j", "indostar:memory:j", "arq:job:j")


async def test_a_running_job_is_not_discarded(desk: Desk) -> None:
    pool = desk.history.pool
    await pool.enqueue_job("hold", _job_id="j")
    async with running_worker(pool, [desk.gate]):
        await desk.gate.entered.wait()

        with pytest.raises(NotALetter, match="is running"):
            await desk.letters.discard("j", by="asha")

        desk.gate.is_open.set()

    assert await desk.state("j") is JobState.SUCCEEDED


async def test_a_job_that_ended_well_is_not_discarded(desk: Desk) -> None:
    pool = desk.history.pool
    await pool.enqueue_job("work", number=1, _job_id="j")
    await run_burst(pool, [desk.gate])

    with pytest.raises(NotALetter, match="has not failed"):
        await desk.letters.discard("j", by="asha")


@pytest.mark.parametrize("is_relayed", [True, False])
async def test_a_job_of_the_outbox_is_ended_there(desk: Desk, *, is_relayed: bool) -> None:
    not_before = None if is_relayed else datetime.now(UTC) + LATER
    async with desk.history.database.session() as session:
        job_id = await outbox.add(session, work, number=7, key="work:7", not_before=not_before)
    assert job_id is not None
    await desk.relay.relay()

    await desk.letters.discard(job_id, by="asha")
    await desk.relay.sweep()
    await desk.relay.end_some()
    await run_burst(desk.history.pool, [desk.gate], companions=[desk.relay])

    assert desk.gate.ran == []
    assert await desk.rows() == [({}, True)]
    assert await desk.state(job_id) is JobState.CANCELLED
    assert (await desk.history.job(job_id)).kwargs == {"number": 7}


async def test_what_redis_lost_of_the_outbox_may_be_running(desk: Desk) -> None:
    async with desk.history.database.session() as session:
        job_id = await outbox.add(session, work, number=7)
    assert job_id is not None
    await desk.relay.relay()
    await desk.history.pool.flushall()

    with pytest.raises(NotALetter, match="is running"):
        await desk.letters.discard(job_id, by="asha")
    await desk.relay.sweep()
    await desk.letters.discard(job_id, by="asha")

    assert await desk.rows() == [({}, True)]


async def test_a_job_is_run_or_discarded_and_never_both(desk: Desk) -> None:
    pool = desk.history.pool
    ids = [f"j{number}" for number in range(60)]
    for job_id in ids:
        await pool.enqueue_job("work", number=1, _job_id=job_id)

    async def discard(job_id: str) -> str | None:
        try:
            await desk.letters.discard(job_id, by="asha")
        except NotALetter:
            return None
        return job_id

    async with running_worker(pool, [desk.gate]):
        discarded = await asyncio.gather(*map(discard, reversed(ids)))
        await run_burst(pool, [desk.gate])

    assert sorted([*desk.gate.ran, *filter(None, discarded)]) == sorted(ids)


async def test_many_that_wait_are_discarded_by_filter(desk: Desk) -> None:
    pool = desk.history.pool
    await pool.enqueue_many("work", [{"number": number} for number in range(250)])
    await pool.enqueue_job("stumble", _job_id="other", _defer_by=LATER)
    wanted = JobFilter(status=JobState.QUEUED, task="work")

    dry = await desk.letters.discard_many(wanted, by="asha", dry_run=True)
    assert await pool.zcard(Queue.DEFAULT.key) == 251
    real = await desk.letters.discard_many(wanted, by="asha")

    assert dry == real
    assert (real.matched, real.discarded) == (250, 250)
    assert await pool.zrange(Queue.DEFAULT.key, 0, -1) == [b"other"]
    assert (await desk.letters.discard_many(wanted, by="asha")).matched == 0


async def test_many_that_failed_are_discarded_by_filter(desk: Desk) -> None:
    pool = desk.history.pool
    for number in range(3):
        await pool.enqueue_job("refuse", _job_id=f"j{number}")
    await run_burst(pool, [desk.gate])
    await desk.letters.discard("j0", by="asha")

    dry = await desk.letters.discard_many(JobFilter(), by="ravi", dry_run=True)
    real = await desk.letters.discard_many(JobFilter(), by="ravi")

    assert dry == real
    assert (real.matched, real.discarded, dict(real.left_out)) == (3, 2, {LeftOut.DISCARDED: 1})
    assert await desk.history.rows("SELECT * FROM tasks.payloads") == []
    assert not await pool.exists("indostar:failed", "arq:job:j1", "arq:result:j1")


async def test_what_runs_or_has_ended_is_left_out(desk: Desk) -> None:
    pool = desk.history.pool
    await pool.enqueue_job("work", number=1)
    await run_burst(pool, [desk.gate])

    bulk = await desk.letters.discard_many(JobFilter(status=JobState.SUCCEEDED), by="asha")

    assert (bulk.matched, dict(bulk.left_out)) == (1, {LeftOut.ENDED: 1})
