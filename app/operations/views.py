"""What is shown of jobs, queues, workers, schedules and tasks, wherever it is shown."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from app.history.masking import HIDDEN
from app.jobs.effects import Effect, EffectState
from app.jobs.failures import UnknownTask
from app.jobs.lookup import JobRecord, JobState
from app.jobs.memory import Attempt, AttemptOutcome
from app.jobs.progress import Progress
from app.jobs.queue_states import QueueState
from app.jobs.queues import Queue
from app.jobs.registry import WorkerEntry
from app.jobs.serializer import ErrorRecord
from app.jobs.task import Task, TaskRegistry
from app.letters.letter import BulkDiscard, BulkRerun, Rerun
from app.operations import examples
from app.operations.actor import Role
from app.schedules.control import ScheduleView as ScheduleState


class TaskView(BaseModel):
    """A declared task; times in seconds."""

    name: str
    queue: Queue
    summary: str
    args_schema: dict[str, Any]
    max_retries: int
    soft_time_limit: float
    time_limit: float
    max_per_second: float | None
    max_in_flight: int | None
    schedule: str | None

    @classmethod
    def of(cls, task: Task[Any, Any]) -> Self:
        return cls(
            name=task.name,
            queue=task.queue,
            summary=task.summary,
            args_schema=task.arguments.json_schema(),
            max_retries=task.retry.retries,
            soft_time_limit=task.soft_time_limit.total_seconds(),
            time_limit=task.time_limit.total_seconds(),
            max_per_second=task.limit.per_second,
            max_in_flight=task.limit.in_flight,
            schedule=None if task.schedule is None else task.schedule.crontab.expression,
        )


class ErrorView(BaseModel):
    type: str
    message: str
    traceback: str

    @classmethod
    def of(cls, error: ErrorRecord | None) -> Self | None:
        return None if error is None else cls(type=error.type, message=error.message, traceback=error.traceback)


class AttemptView(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    try_: int = Field(alias="try")
    started_at: datetime | None
    finished_at: datetime | None
    outcome: AttemptOutcome
    error: ErrorView | None
    worker: str | None

    @classmethod
    def of(cls, attempt: Attempt) -> Self:
        return cls(
            try_=attempt.job_try,
            started_at=_time(attempt.started_ms),
            finished_at=_time(attempt.finished_ms),
            outcome=attempt.outcome,
            error=ErrorView.of(attempt.error),
            worker=attempt.worker,
        )


class JobView(BaseModel):
    """A job. To viewers what is not declared visible reads "hidden", and so does what may repeat it."""

    # Also keeps mypy's plugin from a second `kwargs` in the constructor.
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [examples.JOB]})

    id: str
    task: str
    queue: Queue
    status: JobState
    kwargs: dict[str, Any]
    enqueued_at: datetime
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    tries: int
    max_tries: int | None
    result: Any
    error: ErrorView | None
    attempts: list[AttemptView]
    progress: Progress | None
    retry_of: str | None = None

    @classmethod
    def of(cls, job: JobRecord, tasks: TaskRegistry, role: Role) -> Self:
        view = cls(
            id=job.id,
            task=job.task,
            queue=job.queue,
            status=job.state,
            kwargs=dict(job.kwargs),
            enqueued_at=job.enqueued_at,
            run_at=job.run_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            tries=job.tries,
            max_tries=job.max_tries,
            result=job.result,
            error=ErrorView.of(job.error),
            attempts=[AttemptView.of(attempt) for attempt in job.attempts],
            progress=job.progress,
            retry_of=job.retry_of,
        )
        return view if role is Role.OPERATOR else view._for_viewers(tasks)

    def _for_viewers(self, tasks: TaskRegistry) -> Self:
        """Words may repeat arguments: those of errors are never shown, others where the task hides no argument."""
        try:
            kwargs = tasks[self.task].shown(self.kwargs)
            hides = tasks[self.task].hides_arguments
        except UnknownTask:
            kwargs, hides = dict.fromkeys(self.kwargs, HIDDEN), True
        progress = self.progress
        if progress is not None and progress.message is not None and hides:
            progress = Progress(progress.done, progress.total, HIDDEN)
        changed = {
            "kwargs": kwargs,
            "result": HIDDEN if hides and self.result is not None else self.result,
            "error": _only_type(self.error),
            "attempts": [attempt.model_copy(update={"error": _only_type(attempt.error)}) for attempt in self.attempts],
            "progress": progress,
        }
        return self.model_copy(update=changed)


def _only_type(error: ErrorView | None) -> ErrorView | None:
    return error and ErrorView(type=error.type, message=HIDDEN, traceback=HIDDEN)


class JobPageView(BaseModel):
    """Jobs, newest first; `next_cursor` is null on the last page."""

    items: list[JobView]
    next_cursor: str | None


class EffectView(BaseModel):
    """One thing that a job does to the world, as in "send" an "email", and whether that has happened."""

    verb: str
    what: str
    state: EffectState

    @classmethod
    def all_of(cls, effects: Iterable[Effect]) -> list[Self]:
        return [cls(verb=effect.verb, what=effect.what, state=effect.state) for effect in effects]


class RetriedJobView(JobView):
    """The job that runs in a failed one's place, and what it can still do."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.RETRIED_JOB]})

    can: str
    effects: list[EffectView]

    @classmethod
    def from_job(cls, job: JobView, rerun: Rerun) -> Self:
        return cls(**dict(job), can=rerun.can, effects=EffectView.all_of(rerun.effects))


class RerunView(BaseModel):
    """What became of one of many: `retried_as` is the job in its place, `left_out` why there is none (or no new one).

    Of a dry run, what would become of it.
    """

    id: str
    task: str | None
    can: str
    retried_as: str | None
    left_out: str | None

    @classmethod
    def of(cls, rerun: Rerun) -> Self:
        left_out = None if rerun.left_out is None else rerun.left_out.value
        return cls(id=rerun.job_id, task=rerun.task, can=rerun.can, retried_as=rerun.new_id, left_out=left_out)


class BulkRetryView(BaseModel):
    """What running many jobs again came to. `can` counts what those that are run again can still do, `left_out` why
    others are not; `items` are the first thousand."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.BULK_RETRY]})

    matched: int
    retried: int
    dry_run: bool
    can: dict[str, int]
    left_out: dict[str, int]
    items: list[RerunView]

    @classmethod
    def of(cls, bulk: BulkRerun, *, dry_run: bool) -> Self:
        return cls(
            matched=bulk.matched,
            retried=bulk.retried,
            dry_run=dry_run,
            can=dict(bulk.can),
            left_out={reason.value: count for reason, count in bulk.left_out.items()},
            items=[RerunView.of(rerun) for rerun in bulk.items],
        )


class BulkDiscardView(BaseModel):
    """What discarding many jobs came to; `left_out` counts why others are not."""

    matched: int
    discarded: int
    dry_run: bool
    left_out: dict[str, int]

    @classmethod
    def of(cls, bulk: BulkDiscard, *, dry_run: bool) -> Self:
        left_out = {reason.value: count for reason, count in bulk.left_out.items()}
        return cls(matched=bulk.matched, discarded=bulk.discarded, dry_run=dry_run, left_out=left_out)


class QueueView(BaseModel):
    """A queue: jobs that are due, that are for later, and that run; and how long the first has been due."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.QUEUE]})

    name: Queue
    waiting: int
    scheduled: int
    running: int
    paused: bool
    oldest_wait_seconds: float | None

    @classmethod
    def of(cls, state: QueueState) -> Self:
        return cls(
            name=state.queue,
            waiting=state.waiting,
            scheduled=state.scheduled,
            running=state.running,
            paused=state.is_paused,
            oldest_wait_seconds=None if state.oldest_wait_ms is None else state.oldest_wait_ms / 1000,
        )


class WorkerView(BaseModel):
    """A worker process that is alive: `slots` are jobs at once of each queue, `running` the first 200 of its jobs,
    `done` and `failed` what it has ended since it started."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.WORKER]})

    id: str
    host: str
    pid: int
    queues: list[Queue]
    slots: dict[Queue, int]
    started_at: datetime
    last_seen_at: datetime
    running: list[str]
    done: int
    failed: int
    memory_bytes: int
    draining: bool

    @classmethod
    def of(cls, entry: WorkerEntry) -> Self:
        slots = {queue: entry.queues[queue] for queue in Queue if queue in entry.queues}
        return cls(
            id=entry.id,
            host=entry.host,
            pid=entry.pid,
            queues=list(slots),
            slots=slots,
            started_at=datetime.fromtimestamp(entry.started_ms / 1000, UTC),
            last_seen_at=datetime.fromtimestamp(entry.seen_ms / 1000, UTC),
            running=entry.running,
            done=entry.done,
            failed=entry.failed,
            memory_bytes=entry.memory_bytes,
            draining=entry.is_draining,
        )


class ScheduleView(BaseModel):
    """A schedule, named after its task. `next_run_at` is null while it is paused; `last_status` where its last job is
    forgotten."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.SCHEDULE]})

    name: str
    task: str
    cron: str
    timezone: str
    next_run_at: datetime | None
    last_run_at: datetime | None
    last_job_id: str | None
    last_status: JobState | None
    paused: bool

    @classmethod
    def of(cls, state: ScheduleState, last_status: JobState | None) -> Self:
        last = state.last_run
        return cls(
            name=state.name,
            task=state.name,
            cron=state.expression,
            timezone=state.timezone,
            next_run_at=state.next_run_at,
            last_run_at=None if last is None else last.fired_at,
            last_job_id=None if last is None else last.job_id,
            last_status=last_status,
            paused=state.paused_at is not None,
        )


def _time(ms: int | None) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)
