"""Each kind of failure done to a job by a real worker, and whether its explanation says so."""

import asyncio
import pickle
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from arq.cron import cron

from app import outbox
from app.errors import NotDone, OutcomeUnknown, Refused, Unavailable
from app.jobs.context import Context
from app.jobs.control import abort, pause
from app.jobs.discarding import discard_waiting
from app.jobs.lookup import JobState
from app.jobs.payload import Payload
from app.jobs.pool import JobPool, NewJob
from app.jobs.queues import LOST, Queue
from app.jobs.retry import RetryPolicy
from app.jobs.task import TaskRegistry
from app.jobs.time_limits import SoftTimeLimitExceeded
from app.letters.control import DeadLetters
from app.operations.explaining import Explainer, Explanation
from app.operations.failures import NoSuchJob
from app.operations.finding import JobFinder
from app.outbox.relay import OutboxRelay
from app.outbox.reruns import end_failed
from app.schedules.control import ScheduleControl
from tests.history import History, open_history
from tests.running import found, open_pool, run_burst, running_worker
from tests.waiting import until

TASKS = TaskRegistry()
AT_ONCE = RetryPolicy(first=timedelta(0))
SOON, LATER = timedelta(milliseconds=50), timedelta(hours=1)

# What each job of `fail` raises.
FAILURES: dict[str, Callable[[], BaseException]] = {
    "refused": lambda: Refused("no such address"),
    "not done": lambda: NotDone("the dairy is busy"),
    "fault": lambda: KeyError("milk"),
    "unknown": lambda: OutcomeUnknown("no answer"),
    "away": lambda: Unavailable("nobody is there", retry_after=LATER),
    "later": lambda: NotDone("come back", retry_after=LATER),
}


class Unwritable:
    """Has no form in which it could be kept."""

    def __repr__(self) -> str:
        raise ValueError("not even words")


@TASKS.task(queue=Queue.DEFAULT, retry=AT_ONCE)
async def fail(ctx: Context, how: str) -> None:
    """Ends as it is told to."""
    error = FAILURES[how]()
    raise error


@TASKS.task(queue=Queue.DEFAULT, soft_time_limit=SOON)
async def linger(ctx: Context) -> None:
    """Never ends by itself."""
    await asyncio.Event().wait()


@TASKS.task(queue=Queue.DEFAULT, soft_time_limit=SOON, time_limit=2 * SOON)
async def hang(ctx: Context) -> None:
    """Does not even end when it is asked to."""
    while True:
        with suppress(SoftTimeLimitExceeded):
            await asyncio.Event().wait()


@TASKS.task(queue=Queue.DEFAULT)
async def give(ctx: Context) -> object:
    """Returns what can't be kept."""
    return Unwritable()


@TASKS.task(queue=Queue.DEFAULT, max_in_flight=1)
async def wait(ctx: Context) -> None:
    """Runs until the test lets it go, one at a time."""
    await ctx[asyncio.Event].wait()


@TASKS.task(queue=Queue.NOTIFICATIONS, schedule=partial(cron, hour=5, minute=0))
async def report(ctx: Context) -> None:
    """Runs each day."""


class Desk:
    """Whoever asks about jobs, with a worker at hand."""

    def __init__(self, history: History, database_url: str) -> None:
        self.history, self.pool, self.database = history, history.pool, history.database
        self.letters = DeadLetters(self.database, self.pool, history.stream)
        self.relay = OutboxRelay(self.database, database_url, self.pool, lease=timedelta(seconds=5))
        self.explainer = Explainer(
            self.database, self.pool, history.reader, self.letters, JobFinder(self.pool, self.database, history.reader)
        )
        self.may_end = asyncio.Event()

    async def run(self) -> None:
        """Runs everything that is due, and puts it on record."""
        await run_burst(self.pool, [self.may_end], companions=[self.relay], slots={Queue.DEFAULT: 10})
        await self.relay.end_some()
        await self.history.projector(on_failed=end_failed).catch_up()

    async def put(self, job_id: str, raw: bytes) -> None:
        await self.pool.send([NewJob(job_id, Queue.DEFAULT, raw, "")])

    async def told(self, job_id: str) -> Explanation:
        return (await self.explainer.explained(job_id)).explanation


@pytest.fixture
async def desk(redis_url: str, database_url: str) -> AsyncIterator[Desk]:
    async with open_pool(redis_url, TASKS) as pool, open_history(pool, database_url) as history:
        desk = Desk(history, database_url)
        yield desk
        await desk.explainer.aclose()


async def test_what_was_done_to_a_job_is_the_cause_that_is_told(desk: Desk) -> None:
    pool, now_ms = desk.pool, round(datetime.now(UTC).timestamp() * 1000)
    for how in FAILURES:
        await pool.enqueue_job("fail", how, _job_id=how)
    for name in ("linger", "hang", "give"):
        await pool.enqueue_job(name, _job_id=name)
    await desk.put("nameless", Payload("fial", now_ms).to_bytes())
    await desk.put("pickled", pickle.dumps({"f": "fail"}))
    await desk.put("misfit", Payload("fail", now_ms, kwargs={"hwo": "refused"}).to_bytes())
    await desk.put("stale", Payload("fail", now_ms, kwargs={"how": "fault"}, expires_ms=now_ms - 1).to_bytes())
    await pool.enqueue_job("give", _job_id="deadly")
    async with pool.pipeline() as pipe:
        pipe.hset(LOST, "deadly", "3")
        await pipe.execute()
    await pool.enqueue_job("give", _job_id="aborted")
    await abort(pool, "aborted")
    await pool.enqueue_job("give", _job_id="discarded")
    await discard_waiting(pool, "discarded", now_ms=now_ms)

    await desk.run()

    causes = {
        "refused": "it was refused (Refused: no such address)",
        "not done": "each of its 4 tries did, the last one with NotDone: the dairy is busy.",
        "fault": "the last one with KeyError: 'milk', a fault of the program",
        "unknown": "nobody can tell whether it happened (OutcomeUnknown: no answer)",
        "away": "It is put off because what it needs can't be had now (Unavailable: nobody is there)",
        "later": "It waits to be tried again because try 1 failed (NotDone: come back)",
        "linger": "it ran into its soft time limit of 50 ms",
        "hang": "it still ran at its time limit of 100 ms",
        "give": "It succeeded at its first try. What it returned could not be kept: not even words",
        "nameless": "there is no task 'fial'; did you mean fail?",
        "pickled": "the payload can't be read: it is pickled",
        "misfit": "wrong arguments for fail: how: is missing; hwo: is no argument of this task",
        "stale": "It failed because it expired",
        "deadly": "the worker died or fell silent 3 times while it ran this job: it is probably what kills them",
        "aborted": "It was aborted because somebody asked",
        "discarded": "It was discarded while it waited",
    }
    told = {job_id: (await desk.told(job_id)).because for job_id in causes}
    assert {job_id: cause for job_id, cause in causes.items() if cause not in told[job_id]} == {}, told
    # The same from history alone, once Redis has lost everything.
    await pool.flushall()
    for job_id in ("away", "later"):
        lost = await desk.told(job_id)
        assert "Redis lost it" in lost.because
        assert "Enqueue it anew" in lost.next
        del causes[job_id]
    from_history = {job_id: (await desk.told(job_id)).because for job_id in causes}
    assert {job_id: cause for job_id, cause in causes.items() if cause not in from_history[job_id]} == {}, from_history


async def test_what_a_waiting_job_waits_for_is_told(desk: Desk) -> None:
    pool = desk.pool
    await pool.enqueue_job("report", _job_id="unserved")
    await pool.enqueue_job("fail", "fault", _job_id="scheduled", _defer_by=3600)
    async with desk.database.session() as session:
        written = await outbox.add(session, fail, how="fault", key="order:8")
    assert written is not None
    by_hand = await ScheduleControl(desk.database, TASKS, ZoneInfo("UTC")).run_now("report")
    assert "in the outbox because no worker has handed it" in (await desk.told(written)).because
    assert "under the key order:8" in (await desk.told(written)).origin
    assert "Somebody ran the schedule report by hand" in (await desk.told(by_hand)).origin

    async with running_worker(pool, [desk.may_end], slots={Queue.DEFAULT: 10}):
        await pool.enqueue_job("wait", _job_id="first")
        await until(lambda: is_running(pool, "first"))
        await pool.enqueue_job("wait", _job_id="second")
        await until(lambda: is_told(desk, "second", "the limit task:wait, which all workers share, is reached"))
        await until(lambda: is_told(desk, "first", "It is running"))
        assert "no worker that is alive serves the queue notifications" in (await desk.told("unserved")).because
        assert "It waits for its time" in (await desk.told("scheduled")).because
        await pause(pool, Queue.DEFAULT)
        await pool.enqueue_job("fail", "fault", _job_id="held")
        held = await desk.told("held")
        assert "the queue default is paused" in held.because
        assert "indostar resume default" in held.next
        desk.may_end.set()


async def is_running(pool: JobPool, job_id: str) -> bool:
    return (await found(pool, job_id)).state is JobState.RUNNING


async def is_told(desk: Desk, job_id: str, cause: str) -> bool:
    return cause in (await desk.told(job_id)).because


async def test_what_became_of_a_failed_job_is_told_with_it(desk: Desk) -> None:
    for job_id in ("retried", "dropped", "open"):
        await desk.pool.enqueue_job("fail", "refused", _job_id=job_id)
    await desk.run()
    rerun = await desk.letters.rerun("retried", by="asha")
    await desk.letters.discard("dropped", by="ravi")
    assert rerun.new_id is not None

    retried, dropped, kept, successor = [
        await desk.told(job_id) for job_id in ("retried", "dropped", "open", rerun.new_id)
    ]

    assert retried.next.startswith("asha ran it again at ")
    assert f"as job {rerun.new_id}" in retried.next
    assert "ravi discarded it" in dropped.next
    assert dropped.rerun == "It can't be run again: it was discarded."
    assert "indostar retry open" in kept.next
    assert "would do all of it once more" in kept.rerun
    assert successor.origin.startswith("It runs again what job retried failed to do. asha ran that again at ")


async def test_nobody_knows_a_job_that_there_never_was(desk: Desk) -> None:
    with pytest.raises(NoSuchJob):
        await desk.explainer.explained("nothing")
