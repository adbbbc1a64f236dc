"""One job as Redis knows it, whatever state it is in."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from app.jobs.failures import UnknownTask, UnreadablePayload
from app.jobs.memory import Attempt, AttemptOutcome, Memory, attempts_from_json
from app.jobs.payload import Payload
from app.jobs.pool import JobPool
from app.jobs.progress import Progress
from app.jobs.queues import IN_PROGRESS, MEMORY, PAYLOAD, PROGRESS, RESULT, TRIES, Queue, queue_by_key
from app.jobs.result import UNKNOWN_TASK
from app.jobs.serializer import ErrorRecord, JobFailed, deserialize
from app.jobs.store import WAITING_MARK
from app.jobs.task import TaskRegistry


class JobState(StrEnum):
    QUEUED = "queued"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job's present and past. `tries` are those used up, the running one included; `max_tries` is None for a task
    that is not known here."""

    id: str
    task: str
    queue: Queue
    state: JobState
    kwargs: Mapping[str, Any]
    enqueued_at: datetime
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    tries: int
    max_tries: int | None
    result: Any
    error: ErrorRecord | None
    attempts: list[Attempt]
    progress: Progress | None = None
    retry_of: str | None = None


async def find_job(pool: JobPool, job_id: str) -> JobRecord | None:
    """The job with that id; None where Redis knows none (results are forgotten after their time)."""
    async with pool.pipeline(transaction=True) as pipe:
        pipe.mget(RESULT + job_id, PAYLOAD + job_id, IN_PROGRESS + job_id, TRIES + job_id, MEMORY + job_id)
        pipe.hget(PROGRESS, job_id)
        for queue in Queue:
            pipe.zscore(queue.key, job_id)
        (result, payload, in_progress, tries, memory), progress, *scores = await pipe.execute()
    if result is not None:
        return _ended(pool, job_id, result)
    if payload is None:
        return None
    due = {queue: score for queue, score in zip(Queue, scores, strict=True) if score is not None}
    return _alive(
        pool,
        job_id,
        payload,
        Memory.from_bytes(memory),
        due,
        running=in_progress is not None,
        tries=int(tries or 0),
        progress=None if progress is None else Progress.from_bytes(progress),
    )


def _ended(pool: JobPool, job_id: str, raw: bytes) -> JobRecord:
    data = deserialize(raw)
    attempts = attempts_from_json(data["attempts"])
    outcome: Any = data["r"]
    error = None
    state = JobState.SUCCEEDED
    if not data["s"]:
        is_cancelled = isinstance(outcome, asyncio.CancelledError)
        state = JobState.CANCELLED if is_cancelled else JobState.FAILED
        error = ErrorRecord.of(outcome) if isinstance(outcome, JobFailed) else None
        outcome = None
    return JobRecord(
        id=job_id,
        task=data["f"],
        queue=queue_by_key(data["q"]),
        state=state,
        kwargs=named_arguments(pool.tasks, data["f"], data["a"], data["k"]),
        enqueued_at=_time(data["et"]),
        run_at=None,
        # One that was discarded before its first attempt never started.
        started_at=_time(data["st"]) if attempts else None,
        finished_at=_time(data["ft"]),
        tries=data["t"],
        max_tries=max_tries(pool.tasks, data["f"]),
        result=outcome,
        error=error,
        attempts=attempts,
        retry_of=data.get("retry_of"),
    )


def _alive(
    pool: JobPool,
    job_id: str,
    raw: bytes,
    memory: Memory,
    due: Mapping[Queue, float],
    *,
    running: bool,
    tries: int,
    progress: Progress | None,
) -> JobRecord:
    try:
        payload = Payload.from_bytes(raw)
    except UnreadablePayload:
        payload = Payload(UNKNOWN_TASK, enqueued_ms=0)
    # A negative score marks where a job arrived that has moved on to its own queue.
    queue, score = max(due.items(), key=lambda item: item[1], default=(Queue.DEFAULT, 0.0))
    # It waits for a limit: what its score says is not when it will run.
    is_in_line = score % 1 == float(WAITING_MARK)
    has_failed = any(attempt.outcome is not AttemptOutcome.HANDED_BACK for attempt in memory.attempts)
    if running:
        state = JobState.RUNNING
    elif has_failed:
        state = JobState.RETRYING
    else:
        is_later = not is_in_line and _time(score) > datetime.now(UTC)
        state = JobState.SCHEDULED if is_later else JobState.QUEUED
    errors = [attempt.error for attempt in memory.attempts if attempt.error is not None]
    return JobRecord(
        id=job_id,
        task=payload.task,
        queue=queue,
        state=state,
        kwargs=named_arguments(pool.tasks, payload.task, payload.args, payload.kwargs),
        enqueued_at=_time(payload.enqueued_ms),
        run_at=None if running or is_in_line else _time(score),
        started_at=None,
        finished_at=None,
        tries=tries + running,
        max_tries=max_tries(pool.tasks, payload.task),
        result=None,
        error=errors[-1] if errors else None,
        attempts=memory.attempts,
        progress=progress,
        retry_of=payload.retry_of,
    )


def named_arguments(tasks: TaskRegistry, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by name; what has no name by its position."""
    if not args:
        return dict(kwargs)
    try:
        names = tasks[task].arguments.names
    except UnknownTask:
        names = []
    positions = (names[index] if index < len(names) else str(index) for index in range(len(args)))
    return {**dict(zip(positions, args, strict=True)), **kwargs}


def max_tries(tasks: TaskRegistry, task: str) -> int | None:
    """How often a job of the task is tried; None for a task that is not known here."""
    try:
        return tasks[task].retry.max_tries
    except UnknownTask:
        return None


def _time(ms: float) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
