"""One attempt at a claimed job: from what lies in Redis to how it ended."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any, Literal

import structlog

from app.errors import NotDone, OutcomeUnknown, Refused, Unavailable
from app.jobs.context import Context, Resources
from app.jobs.failures import JobExpired, OverLimit, SecretArguments, WorkerLost
from app.jobs.limiter import Limiter
from app.jobs.limits import Limit
from app.jobs.memory import Attempt, AttemptOutcome, Memory
from app.jobs.payload import Payload
from app.jobs.queues import RECORDED_ELSEWHERE, Queue
from app.jobs.result import NOT_KEPT, UNKNOWN_TASK, JobEnd
from app.jobs.retry import PUT_OFF, PutOffPolicy
from app.jobs.running import RunningJob, Stop, current_job
from app.jobs.serializer import ErrorRecord, is_plain, serialize, serialize_plain
from app.jobs.store import WAITING_MARK, ClaimedJob, Finish
from app.jobs.task import Task, TaskRegistry
from app.jobs.time_limits import Interruptible, SoftTimeLimitExceeded, TimeLimitExceeded

log = structlog.stdlib.get_logger(__name__)

MOST_WORKERS_LOST = 3


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


# Is told of each attempt that has ended, with the task's name or UNKNOWN_TASK.
AttemptHook = Callable[[str, ClaimedJob, Attempt], None]


class TaskCancelledItself(Exception):
    """A CancelledError left the task although nobody had cancelled it."""


@dataclass(slots=True)
class JobRunner:
    """Runs attempts. `worker` is this worker's name in records; `result_ttl` how long results can be read;
    `on_attempt` is called at the end of each."""

    tasks: TaskRegistry
    resources: Resources
    limiter: Limiter
    worker: str
    result_ttl: timedelta
    on_attempt: AttemptHook | None = None
    put_off: PutOffPolicy = PUT_OFF
    random: Random = field(default_factory=Random)
    clock_ms: Callable[[], int] = wall_clock_ms

    async def run(self, running: RunningJob) -> Finish | None:
        """How the attempt ended; None where the job is another worker's by now, so that nothing is to be said."""
        current_job.set(running)
        attempt = _JobAttempt(self, running.claimed)
        try:
            return await attempt.execute(running)
        except SoftTimeLimitExceeded as error:
            return attempt.failed(error)
        except asyncio.CancelledError as cancelled:
            return attempt.cancelled(running.stop, cancelled)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 -- whatever a task raises is how its attempt ended
            return attempt.again_or_failed(error)


class _JobAttempt:
    """The one attempt; each ending builds the record for it."""

    def __init__(self, runner: JobRunner, job: ClaimedJob) -> None:
        self.runner = runner
        self.job = job
        self.started_ms = runner.clock_ms()
        self.memory = Memory()
        self.payload: Payload | None = None
        self.task: Task[Any, Any] | None = None
        self.tries = job.tries

    @property
    def job_try(self) -> int:
        return self.tries + 1

    async def execute(self, running: RunningJob) -> Finish:
        """Runs the task, or moves the job to the task's own queue where it lies on another that nobody named.

        Raises what the task raised, and Refused where the job itself is unfit to run.
        """
        job = self.job
        running.task_name, running.job_try = UNKNOWN_TASK, self.job_try
        if job.payload is None:
            raise JobExpired
        self.payload = payload = Payload.from_bytes(job.payload)
        self._recall()
        self.tries = max(job.tries, (payload.first_try or 1) - 1)
        running.task_name, running.job_try, running.enqueued_ms = payload.task, self.job_try, payload.enqueued_ms
        if running.stop is not None:
            # It was ended before it began.
            raise asyncio.CancelledError
        if job.abort_ms is not None and payload.enqueued_ms <= job.abort_ms:
            return self._aborted()
        if not job.was_due:
            # Taken to be aborted, but it is a later job than the one that was meant.
            due_ms = job.due_ms + (float(WAITING_MARK) if job.has_waited else 0)
            return Finish("keep", job, due_ms, self.memory.to_bytes(), tries=job.tries)
        self.task = task = self.runner.tasks[payload.task]
        if task.secret and job.id.startswith(RECORDED_ELSEWHERE):
            # Plain SQL wrote the row; its arguments are gone.
            raise SecretArguments(task.name)
        # Only the default queue is where a pool puts a job that names none.
        if payload.queue is None and job.queue is Queue.DEFAULT is not task.queue:
            self.memory.arrival = job.queue.key
            return Finish("move", job, job.due_ms, self.memory.to_bytes(), other_queue=task.queue.key)
        if payload.expires_ms is not None and self.started_ms > payload.expires_ms:
            raise JobExpired
        if job.lost >= MOST_WORKERS_LOST:
            raise WorkerLost(job.lost)
        kwargs = task.arguments.validated(payload.args, payload.kwargs)
        context = Context(
            job_id=job.id,
            root_id=payload.root or job.id,
            task=task.name,
            job_try=self.job_try,
            max_tries=task.retry.max_tries,
            enqueued_at=datetime.fromtimestamp(payload.enqueued_ms / 1000, UTC),
            resources=self.runner.resources,
            ensure_held=running.ensure_held,
            note_progress=running.note_progress,
            admit=partial(self.runner.limiter.within, job),
            give_away=partial(self.runner.limiter.forgo, job),
            is_fresh=not (self.memory.attempts or job.has_waited or payload.root),
        )
        running.soft_limit_at = running.started + task.soft_time_limit.total_seconds()
        running.time_limit_at = running.started + task.time_limit.total_seconds()
        running.interruptible = Interruptible(
            _call(task, context, kwargs) if task.limit else task.function(context, **kwargs)
        )
        return self.succeeded(await running.interruptible)

    def _recall(self) -> None:
        """What earlier attempts left behind, and a line for each worker that was lost since."""
        self.memory = Memory.from_bytes(self.job.memory)
        while self.memory.lost < self.job.lost:
            self.memory.lost += 1
            self.memory.add(Attempt(self.job_try, None, None, AttemptOutcome.LOST, worker=None))

    def succeeded(self, result: Any) -> Finish:
        self._add(AttemptOutcome.SUCCEEDED)
        self._log("info", "job.succeeded")
        return self._ended("done", success=True, result=result)

    def failed(self, error: BaseException) -> Finish:
        self._add(AttemptOutcome.FAILED, error)
        self._log("error", "job.failed", error)
        return self._ended("fail", success=False, result=error)

    def cancelled(self, stop: Stop | None, cancelled: asyncio.CancelledError) -> Finish | None:
        """Why it was cancelled decides; None where the job is another worker's."""
        match stop:
            case Stop.LEASE_LOST:
                return None
            case Stop.SHUTDOWN:
                return self._handed_back()
            case Stop.ABORTED:
                return self._aborted()
            case Stop.TIME_LIMIT:
                return self.failed(TimeLimitExceeded())
            case None:
                return self.again_or_failed(TaskCancelledItself().with_traceback(cancelled.__traceback__))

    def again_or_failed(self, error: BaseException) -> Finish:
        """What the error's kind and the task's policy say: again later, or ended."""
        if isinstance(error, OverLimit) and self.payload is not None:
            return self._in_line(error.limit, self.payload)
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

    def _in_line(self, limit: Limit, payload: Payload) -> Finish:
        """To wait for its turn, which goes by when it was enqueued. It is as if it had not been started."""
        log.debug("job.waits", limit=limit.name, **self._fields())
        memory = self.memory.to_bytes()
        return Finish("wait", self.job, payload.enqueued_ms, memory, tries=self.job.tries, limit=limit.name)

    def _handed_back(self) -> Finish:
        """For another worker to start at once: costs no try."""
        self._add(AttemptOutcome.HANDED_BACK)
        self._log("info", "job.handed_back")
        return self._again(timedelta(0), tries=self.tries)

    def _aborted(self) -> Finish:
        self._add(AttemptOutcome.CANCELLED)
        self._log("info", "job.cancelled")
        # What arq itself leaves behind, so that Job.abort() sees it.
        return self._ended("done", success=False, result=asyncio.CancelledError())

    def _again(self, wait: timedelta, tries: int) -> Finish:
        return Finish("again", self.job, int(wait.total_seconds() * 1000), self.memory.to_bytes(), tries=tries)

    def _add(self, outcome: AttemptOutcome, error: BaseException | None = None) -> None:
        record = None if error is None else ErrorRecord.of(error)
        finished_ms = self.runner.clock_ms()
        attempt = Attempt(self.job_try, self.started_ms, finished_ms, outcome, self.runner.worker, record)
        self.memory.add(attempt)
        if self.runner.on_attempt is not None:
            self.runner.on_attempt(self.task.name if self.task else UNKNOWN_TASK, self.job, attempt)

    def _ended(self, op: Literal["done", "fail"], *, success: bool, result: Any) -> Finish:
        data = JobEnd(
            job_id=self.job.id,
            payload=self.payload,
            queue_key=self.job.queue.key,
            enqueued_ms=self.job.due_ms,
            tries=self.job_try,
            attempts=self.memory.attempts,
            started_ms=self.started_ms,
            finished_ms=self.runner.clock_ms(),
            is_success=success,
            outcome=result,
        ).fields()
        try:
            text = self._serialized(data, result)
        except Exception as error:  # noqa: BLE001 -- what a result raises when it is written must not undo a success
            reason = ErrorRecord.of(error).message
            log.warning("job.result_not_kept", reason=reason, **self._fields())
            # Without the arguments, which may be what can't be written: orjson reads deeper nesting than it writes.
            data |= {"a": (), "k": {}, "r": f"{NOT_KEPT}{reason}>"}
            text = serialize(data)
        life_ms = int(self.runner.result_ttl.total_seconds() * 1000)
        return Finish(op, self.job, life_ms, text, other_queue=self.memory.arrival or "")

    def _serialized(self, data: dict[str, Any], result: Any) -> bytes:
        try:
            # Everything but the result came from JSON, or was made for it.
            if self.payload is not None and self.payload.is_plain and is_plain(result):
                return serialize_plain(data)
        except (TypeError, RecursionError):
            pass  # Not quite so plain.
        return serialize(data)

    def _fields(self) -> dict[str, Any]:
        name = self.payload.task if self.payload else UNKNOWN_TASK
        return {"task": name, "job_id": self.job.id, "job_try": self.job_try}

    def _log(
        self,
        level: Literal["info", "warning", "error"],
        event: str,
        error: BaseException | None = None,
        **fields: Any,
    ) -> None:
        fields["seconds"] = (self.runner.clock_ms() - self.started_ms) / 1000
        if error is not None:
            fields["error"] = type(error).__name__
            # Only our own sentences are known to be free of addresses and numbers.
            if isinstance(error, (Refused, NotDone, OutcomeUnknown)):
                fields["reason"] = ErrorRecord.of(error).message
        getattr(log, level)(event, **self._fields(), **fields)


async def _call(task: Task[Any, Any], context: Context, kwargs: dict[str, Any]) -> Any:
    async with context.within(task.limit):
        return await task.function(context, **kwargs)
