"""One attempt at a claimed job: from what lies in Redis to how it ended."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from random import Random
from typing import Any

import structlog

from app.errors import NotDone, OutcomeUnknown, Refused, Unavailable
from app.jobs.context import Context, Resources
from app.jobs.failures import JobExpired, LeaseRanOut, WorkerLost
from app.jobs.limits import Interruptible, SoftTimeLimitExceeded, TimeLimitExceeded
from app.jobs.memory import Attempt, AttemptOutcome, Memory, attempts_as_json
from app.jobs.payload import Payload
from app.jobs.retry import PUT_OFF, PutOffPolicy
from app.jobs.serializer import ErrorRecord, serialize
from app.jobs.store import ClaimedJob, Finish
from app.jobs.task import Task, TaskRegistry

log = structlog.stdlib.get_logger(__name__)

MOST_WORKERS_LOST = 3
UNKNOWN_TASK = "<unknown>"


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class TaskCancelledItself(Exception):
    """A CancelledError left the task although nobody had cancelled it."""


class Stop(Enum):
    """Why a running job is being ended from outside."""

    SHUTDOWN = auto()
    LEASE_LOST = auto()
    TIME_LIMIT = auto()


@dataclass(slots=True, eq=False)
class RunningJob:
    """A job while it runs. Times without a unit are the event loop's seconds."""

    claimed: ClaimedJob
    started: float
    held_until: float
    asyncio_task: asyncio.Task[None] | None = None
    interruptible: Interruptible[Any] | None = None
    soft_limit_at: float = float("inf")
    time_limit_at: float = float("inf")
    stop: Stop | None = None

    def end(self, why: Stop) -> None:
        if self.stop is None and self.asyncio_task is not None:
            self.stop = why
            self.asyncio_task.cancel()

    def check_limits(self, now: float) -> None:
        if now >= self.time_limit_at:
            self.end(Stop.TIME_LIMIT)
        elif now >= self.soft_limit_at and self.interruptible is not None and self.asyncio_task is not None:
            self.soft_limit_at = float("inf")
            self.interruptible.interrupt(self.asyncio_task, SoftTimeLimitExceeded())

    def ensure_held(self) -> None:
        """Raises LeaseRanOut when the job may be another worker's by now."""
        if asyncio.get_running_loop().time() >= self.held_until:
            raise LeaseRanOut


@dataclass(slots=True)
class JobRunner:
    """Runs attempts. `worker` is this worker's name in records; `result_ttl` how long results can be read."""

    tasks: TaskRegistry
    resources: Resources
    worker: str
    result_ttl: timedelta
    put_off: PutOffPolicy = PUT_OFF
    random: Random = field(default_factory=Random)
    clock_ms: Callable[[], int] = wall_clock_ms

    async def run(self, running: RunningJob) -> Finish | None:
        """How the attempt ended; None where the job is another worker's by now, so that nothing is to be said."""
        attempt = _JobAttempt(self, running.claimed)
        try:
            return await attempt.execute(running)
        except SoftTimeLimitExceeded as error:
            return attempt.failed(error)
        except asyncio.CancelledError as cancelled:
            if running.stop is Stop.LEASE_LOST:
                return None
            if running.stop is Stop.SHUTDOWN:
                return attempt.handed_back()
            if running.stop is Stop.TIME_LIMIT:
                return attempt.failed(TimeLimitExceeded())
            return attempt.again_or_failed(TaskCancelledItself().with_traceback(cancelled.__traceback__))
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- whatever a task raises is how its attempt ended
            return attempt.again_or_failed(error)


class _JobAttempt:
    """The one attempt; each ending builds the record for it."""

    def __init__(self, runner: JobRunner, job: ClaimedJob) -> None:
        self.runner = runner
        self.job = job
        self.started_ms = runner.clock_ms()
        self.memory = Memory.from_bytes(job.memory)
        self.payload: Payload | None = None
        self.task: Task[Any, Any] | None = None
        self.tries = job.tries
        self._remember_lost_workers()

    @property
    def job_try(self) -> int:
        return self.tries + 1

    def _remember_lost_workers(self) -> None:
        while self.memory.lost < self.job.lost:
            self.memory.lost += 1
            self.memory.add(Attempt(self.job_try, None, None, AttemptOutcome.LOST, worker=None))

    async def execute(self, running: RunningJob) -> Finish:
        """Runs the task, or moves the job to the task's own queue where it lies on another that nobody named.

        Raises what the task raised, and Refused where the job itself is unfit to run.
        """
        job = self.job
        if job.payload is None:
            raise JobExpired
        self.payload = payload = Payload.from_bytes(job.payload)
        self.tries = max(job.tries, (payload.first_try or 1) - 1)
        self.task = task = self.runner.tasks[payload.task]
        if payload.queue is None and job.queue is not task.queue:
            self.memory.arrival = job.queue.key
            return Finish("move", job, job.due_ms, memory=self.memory.to_bytes(), other_queue=task.queue.key)
        if payload.expires_ms is not None and self.started_ms > payload.expires_ms:
            raise JobExpired
        if self.job.lost >= MOST_WORKERS_LOST:
            raise WorkerLost(self.job.lost)
        kwargs = task.arguments.validated(payload.args, payload.kwargs)
        context = Context(
            job_id=self.job.id,
            root_id=payload.root or self.job.id,
            task=task.name,
            job_try=self.job_try,
            max_tries=task.retry.max_tries,
            enqueued_at=datetime.fromtimestamp(payload.enqueued_ms / 1000, UTC),
            resources=self.runner.resources,
            ensure_held=running.ensure_held,
        )
        running.interruptible = Interruptible(task.function(context, **kwargs))
        running.soft_limit_at = running.started + task.soft_time_limit.total_seconds()
        running.time_limit_at = running.started + task.time_limit.total_seconds()
        with structlog.contextvars.bound_contextvars(task=task.name, job_id=self.job.id, job_try=self.job_try):
            return self.succeeded(await running.interruptible)

    def succeeded(self, result: Any) -> Finish:
        self._add(AttemptOutcome.SUCCEEDED)
        self._log("info", "job.succeeded")
        return self._ended("done", success=True, result=result)

    def failed(self, error: BaseException) -> Finish:
        self._add(AttemptOutcome.FAILED, error)
        self._log("error", "job.failed", error)
        return self._ended("fail", success=False, result=error)

    def again_or_failed(self, error: BaseException) -> Finish:
        """What the error's kind and the task's policy say: again later, or ended."""
        if isinstance(error, Unavailable):
            return self._put_off(error)
        if isinstance(error, (Refused, OutcomeUnknown)) or self.task is None:
            return self.failed(error)
        wish = error.retry_after if isinstance(error, NotDone) else None
        wait = self.task.retry.wait(self.job_try, self.runner.random, wish)
        if wait is None:
            return self.failed(error)
        self._add(AttemptOutcome.RETRIED, error)
        self._log("warning", "job.retried", error, wait_seconds=round(wait.total_seconds(), 1))
        self.memory.put_offs = 0
        self.memory.put_off_since_ms = None
        return self._again(wait, tries=self.job_try)

    def _put_off(self, error: Unavailable) -> Finish:
        now_ms = self.runner.clock_ms()
        memory = self.memory
        memory.put_offs += 1
        if memory.put_off_since_ms is None:
            memory.put_off_since_ms = now_ms
        waited = timedelta(milliseconds=now_ms - memory.put_off_since_ms)
        wait = self.runner.put_off.wait(memory.put_offs, waited, self.runner.random, error.retry_after)
        if wait is None:
            return self.failed(error)
        self._add(AttemptOutcome.PUT_OFF, error)
        self._log("warning", "job.put_off", error, wait_seconds=round(wait.total_seconds(), 1))
        return self._again(wait, tries=self.tries)

    def handed_back(self) -> Finish:
        """For another worker to start at once: costs no try."""
        self._add(AttemptOutcome.HANDED_BACK)
        self._log("info", "job.handed_back")
        return self._again(None, tries=self.tries)

    def _again(self, wait: timedelta | None, tries: int) -> Finish:
        due_ms = None if wait is None else self.runner.clock_ms() + int(wait.total_seconds() * 1000)
        return Finish("again", self.job, due_ms, memory=self.memory.to_bytes(), tries=tries)

    def _add(self, outcome: AttemptOutcome, error: BaseException | None = None) -> None:
        record = None if error is None else ErrorRecord.of(error)
        finished_ms = self.runner.clock_ms()
        self.memory.add(Attempt(self.job_try, self.started_ms, finished_ms, outcome, self.runner.worker, record))

    def _ended(self, op: Any, *, success: bool, result: Any) -> Finish:
        payload = self.payload
        data = {
            "t": self.job_try,
            "f": payload.task if payload else UNKNOWN_TASK,
            "a": payload.args if payload else (),
            "k": payload.kwargs if payload else {},
            "et": payload.enqueued_ms if payload else self.job.due_ms,
            "s": success,
            "r": result,
            "st": self.started_ms,
            "ft": self.runner.clock_ms(),
            "q": self.job.queue.key,
            "id": self.job.id,
            "attempts": attempts_as_json(self.memory.attempts),
        }
        life_ms = int(self.runner.result_ttl.total_seconds() * 1000)
        return Finish(op, self.job, life_ms, text=serialize(data), other_queue=self.memory.arrival or "")

    def _log(self, level: str, event: str, error: BaseException | None = None, **fields: Any) -> None:
        fields["seconds"] = round((self.runner.clock_ms() - self.started_ms) / 1000, 3)
        if error is not None:
            fields["error"] = type(error).__name__
            # Only our own sentences are known to be free of addresses and numbers.
            if isinstance(error, (Refused, NotDone, OutcomeUnknown)):
                fields["reason"] = str(error)
        name = self.payload.task if self.payload else UNKNOWN_TASK
        getattr(log, level)(event, task=name, job_id=self.job.id, job_try=self.job_try, **fields)
