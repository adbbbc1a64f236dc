"""An attempt that is ended from outside before the task has begun."""

from datetime import timedelta

from redis.asyncio import ConnectionPool

from app.jobs.context import Context, Resources
from app.jobs.limit_store import LimitStore
from app.jobs.limiter import Limiter
from app.jobs.memory import Attempt, AttemptOutcome, Memory
from app.jobs.outage import RedisLine
from app.jobs.payload import Payload
from app.jobs.queues import Queue
from app.jobs.runner import JobRunner
from app.jobs.running import RunningJob, Stop
from app.jobs.serializer import deserialize
from app.jobs.store import ClaimedJob, Finish
from app.jobs.task import TaskRegistry

tasks = TaskRegistry()


@tasks.task(queue=Queue.NOTIFICATIONS)
async def never(ctx: Context, what: str) -> None:
    """Must not be begun."""
    raise AssertionError


def no_limiter() -> Limiter:
    """It would connect when a job asks it, and none does."""
    store = LimitStore(ConnectionPool(), hold_ms=1000)
    return Limiter(store, RedisLine(), "this worker", [], happened=lambda: 0, found_nothing=lambda _, __: None)


async def end_before_it_began(why: Stop) -> Finish:
    before = Attempt(1, 1000, 2000, AttemptOutcome.RETRIED, "earlier worker")
    claimed = ClaimedJob(
        id="j1",
        queue=Queue.NOTIFICATIONS,
        token="epoch token",
        due_ms=3000,
        payload=Payload("never", 500, kwargs={"what": "milk"}).to_bytes(),
        tries=1,
        memory=Memory([before], arrival=Queue.DEFAULT.key).to_bytes(),
        lost=0,
    )
    running = RunningJob(claimed, started=0, held_until=15)
    running.end(why)
    finish = await JobRunner(tasks, Resources(), no_limiter(), "this worker", timedelta(hours=1)).run(running)
    assert finish is not None
    return finish


async def test_handed_back_it_remembers_what_went_before() -> None:
    finish = await end_before_it_began(Stop.SHUTDOWN)

    memory = Memory.from_bytes(finish.text)
    assert (finish.op, finish.tries, memory.arrival) == ("again", 1, Queue.DEFAULT.key)
    assert [attempt.outcome for attempt in memory.attempts] == [AttemptOutcome.RETRIED, AttemptOutcome.HANDED_BACK]


async def test_aborted_it_is_recorded_under_its_name() -> None:
    finish = await end_before_it_began(Stop.ABORTED)

    result = deserialize(finish.text)
    assert (finish.op, finish.other_queue) == ("done", Queue.DEFAULT.key)
    assert (result["f"], result["k"], result["t"]) == ("never", {"what": "milk"}, 2)
