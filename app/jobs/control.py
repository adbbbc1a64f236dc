"""Steering jobs and queues from outside the workers."""

from enum import Enum, auto

from arq.utils import timestamp_ms
from redis.asyncio import Redis

from app.jobs.queues import ABORTS, PAUSED, PAYLOAD, RESULT, Queue


class AbortAnswer(Enum):
    """What became of the wish to abort a job."""

    ASKED = auto()
    ENDED_BEFORE = auto()
    NO_SUCH_JOB = auto()


async def abort(redis: Redis, job_id: str) -> AbortAnswer:
    """Asks for the job to be ended, running or waiting; workers do so within a second.

    A job that is enqueued under the same id later is not meant.
    """
    async with redis.pipeline(transaction=True) as pipe:
        pipe.exists(RESULT + job_id)
        pipe.exists(PAYLOAD + job_id)
        has_ended, exists = await pipe.execute()
    if has_ended:
        return AbortAnswer.ENDED_BEFORE
    if not exists:
        return AbortAnswer.NO_SUCH_JOB
    await redis.zadd(ABORTS, {job_id: timestamp_ms()})
    return AbortAnswer.ASKED


async def pause(redis: Redis, queue: Queue) -> None:
    """No worker claims from the queue any more; what runs goes on. Pausing twice changes nothing."""
    async with redis.pipeline() as pipe:
        pipe.sadd(PAUSED, queue.value)
        await pipe.execute()


async def resume(redis: Redis, queue: Queue) -> None:
    """Workers claim from the queue again, at once."""
    async with redis.pipeline() as pipe:
        pipe.srem(PAUSED, queue.value)
        await pipe.execute()
