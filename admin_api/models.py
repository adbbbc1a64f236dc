"""What the admin API takes and gives."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from app.jobs.lookup import JobRecord, JobState
from app.jobs.memory import Attempt, AttemptOutcome
from app.jobs.progress import Progress
from app.jobs.queues import Queue
from app.jobs.serializer import ErrorRecord
from app.jobs.task import Task

# An id is a segment of a path.
JobId = Annotated[str, Field(max_length=200, pattern=r"^[^/?#%\\\x00-\x20\x7f]+$", examples=["confirm:ORD-7"])]
# arq defers in milliseconds of a double; a year is more than any task of a shop waits.
LONGEST_DELAY = timedelta(days=366)


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


class TaskList(BaseModel):
    items: list[TaskView]


class NewJob(BaseModel):
    """A job to enqueue: now, at `run_at`, or in `delay_seconds`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"kwargs": {"to_email": "asha@example.com", "subject": "Hello", "body": "From the dairy"}}]
        },
    )

    kwargs: dict[str, Any] = Field(default_factory=dict)
    run_at: AwareDatetime | None = None
    delay_seconds: float | None = Field(default=None, ge=0, le=LONGEST_DELAY.total_seconds())
    job_id: JobId | None = None

    @model_validator(mode="after")
    def _one_time_at_most(self) -> Self:
        if self.run_at is not None and self.delay_seconds is not None:
            raise ValueError("run_at and delay_seconds exclude each other")
        return self

    @field_validator("run_at")
    @classmethod
    def _within_a_year(cls, run_at: datetime | None) -> datetime | None:
        if run_at is not None and run_at > datetime.now(UTC) + LONGEST_DELAY:
            raise ValueError("is more than a year away")
        # Before 1970 is not a time that Redis can hold; it is due all the same.
        return run_at and max(run_at, datetime.fromtimestamp(1, UTC))


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


def _time(ms: int | None) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)


class JobView(BaseModel):
    """A job. Arguments that are not declared visible read "hidden" for viewers."""

    # Also keeps mypy's plugin from a second `kwargs` in the constructor.
    model_config = ConfigDict(extra="forbid")

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
    def of(cls, job: JobRecord, kwargs: dict[str, Any]) -> Self:
        return cls(
            id=job.id,
            task=job.task,
            queue=job.queue,
            status=job.state,
            kwargs=kwargs,
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

    def without_words(self) -> Self:
        """The same without the messages and tracebacks of errors: they may repeat what is hidden."""
        attempts = [attempt.model_copy(update={"error": _only_type(attempt.error)}) for attempt in self.attempts]
        return self.model_copy(update={"error": _only_type(self.error), "attempts": attempts})


def _only_type(error: ErrorView | None) -> ErrorView | None:
    return error and ErrorView(type=error.type, message="hidden", traceback="hidden")


class Problem(BaseModel):
    """Why a call was refused."""

    detail: Any


class Health(BaseModel):
    status: str
