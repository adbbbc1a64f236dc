"""Discarding jobs that wait: they end as if they had been aborted, without a worker."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from math import isfinite

from app.jobs.failures import UnreadablePayload
from app.jobs.memory import Memory
from app.jobs.payload import Payload
from app.jobs.pool import JobPool
from app.jobs.queues import ABORTS, CLAIMS, ENDED, EVENTS, LOST, MEMORY, PAYLOAD, PROGRESS, RESULT, TRIES, Queue
from app.jobs.result import JobEnd
from app.jobs.serializer import serialize
from app.jobs.store import MOST_EVENTS, QUEUE_KEYS
from app.jobs.wire import Script

DISCARD = Script("discard")
# As long as other results: who enqueued it may still wait for how it ended.
RESULT_LIFE = timedelta(hours=1)


class DiscardAnswer(Enum):
    """What became of the wish to discard a job. A job that a dead worker held counts as running."""

    DISCARDED = auto()
    RUNNING = auto()
    ENDED_BEFORE = auto()
    NO_SUCH_JOB = auto()


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A job as it lies in Redis."""

    payload: bytes | None
    tries: bytes | None
    memory: bytes | None
    queue: Queue
    due: float


async def discard_waiting(pool: JobPool, job_id: str, *, now_ms: int, dry_run: bool = False) -> DiscardAnswer:
    """Ends the job unless a worker has it; whoever waits for its result gets a CancelledError.

    It is taken off its queue, and its end is told, in one step. `now_ms` is the time that its record gives for the
    end; a dry run changes nothing and answers the same. Raises what Redis raises.
    """
    while True:
        found = await _look(pool, job_id)
        if isinstance(found, DiscardAnswer):
            return found
        if dry_run or await _end(pool, job_id, found, now_ms):
            return DiscardAnswer.DISCARDED


async def _look(pool: JobPool, job_id: str) -> _Waiting | DiscardAnswer:
    async with pool.pipeline(transaction=True) as pipe:
        pipe.exists(RESULT + job_id)
        pipe.hexists(CLAIMS, job_id)
        pipe.mget(PAYLOAD + job_id, TRIES + job_id, MEMORY + job_id)
        for queue in Queue:
            pipe.zscore(queue.key, job_id)
        has_ended, is_claimed, kept, *scores = await pipe.execute()
    if has_ended:
        return DiscardAnswer.ENDED_BEFORE
    if is_claimed:
        return DiscardAnswer.RUNNING
    due = {queue: score for queue, score in zip(Queue, scores, strict=True) if score is not None}
    payload, tries, memory = kept
    if payload is None and not due:
        return DiscardAnswer.NO_SUCH_JOB
    # A negative score marks where a job arrived that has moved on to its own queue.
    queue, score = max(due.items(), key=lambda item: item[1], default=(Queue.DEFAULT, 0.0))
    return _Waiting(payload, tries, memory, queue, score)


async def _end(pool: JobPool, job_id: str, job: _Waiting, now_ms: int) -> bool:
    """Whether it was still as it was read."""
    attempts = Memory.from_bytes(job.memory).attempts
    started = [attempt.started_ms for attempt in attempts if attempt.started_ms is not None]
    end = JobEnd(
        job_id=job_id,
        payload=_readable(job.payload),
        queue_key=job.queue.key,
        enqueued_ms=int(job.due) if isfinite(job.due) else 0,
        tries=int(job.tries) if job.tries and job.tries.isdigit() else 0,
        attempts=attempts,
        # arq can't read a result that lacks this; where there was no attempt, nobody else takes it for a start.
        started_ms=started[-1] if started else now_ms,
        finished_ms=now_ms,
        is_success=False,
        outcome=asyncio.CancelledError(),
    )
    life_ms = int(RESULT_LIFE.total_seconds() * 1000)
    kept = (job.payload or b"", job.tries or b"", job.memory or b"")
    words = (job_id, "", MOST_EVENTS, *kept, life_ms, serialize(end.fields()))
    return bool(await pool.run_script(DISCARD, (CLAIMS, LOST, PROGRESS, EVENTS, ABORTS, ENDED, *QUEUE_KEYS), *words))


def _readable(raw: bytes | None) -> Payload | None:
    try:
        return None if raw is None else Payload.from_bytes(raw)
    except UnreadablePayload:
        return None
