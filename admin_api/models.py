"""What the admin API takes, and the lists that it gives."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

from fastapi import Path, status
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from app.deliveries.days import DeliveryDay
from app.history.reader import MOST_JOBS_A_PAGE, JobFilter
from app.jobs.lookup import JobState
from app.jobs.queues import Queue
from app.operations.views import QueueView, ScheduleView, TaskView, WorkerView

# arq defers in milliseconds of a double; a year is more than any task of a shop waits.
LONGEST_DELAY = timedelta(days=366)
# Of one call; more go by a filter.
MOST_IDS = 10_000
# As history has it.
LONGEST_ID = 1_000

# What can stand in a path without being escaped.
NewJobId = Annotated[str, Field(max_length=200, pattern=r"^[^/?#%\\\x00-\x20\x7f]+$", examples=["confirm:ORD-7"])]
# Others enqueue jobs, too, under whatever ids.
JobId = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$", examples=["confirm:ORD-7"])]
JobIdInPath = Annotated[str, Path(min_length=1, pattern=r"^[^\x00]*$", examples=["confirm:ORD-7"])]
Words = Annotated[str, Field(min_length=1, max_length=LONGEST_ID, pattern=r"^[^\x00]*$")]


_BEGINS_AS_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]")


def _written_as_time(value: object) -> object:
    # Pydantic would take a number for the seconds since 1970.
    if (isinstance(value, str) and not _BEGINS_AS_TIME.match(value)) or isinstance(value, int | float):
        raise ValueError("is no time such as 2026-03-05T00:00:00Z")
    return value


def _in_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("is no time that can be told in UTC") from None


AnyTime = Annotated[AwareDatetime, BeforeValidator(_written_as_time)]
Time = Annotated[AnyTime, AfterValidator(_in_utc), Field(examples=["2026-03-05T00:00:00Z"])]


class Strict(BaseModel):
    """Refuses what it does not know, by name."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class NewJob(Strict):
    """A job to enqueue: now, at `run_at`, or in `delay_seconds`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"kwargs": {"to_email": "asha@example.com", "subject": "Hello", "body": "From the dairy"}}]
        },
    )

    kwargs: dict[str, Any] = Field(default_factory=dict)
    run_at: AnyTime | None = None
    delay_seconds: float | None = Field(default=None, ge=0, le=LONGEST_DELAY.total_seconds())
    job_id: NewJobId | None = None

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


class WantedJobs(Strict):
    """Which jobs are meant. `since` and `until` (exclusive) are about when they were enqueued."""

    status: JobState | None = None
    queue: Queue | None = None
    task: Words | None = Field(default=None, examples=["send_email_task"])
    since: Time | None = None
    until: Time | None = None

    def as_filter(self) -> JobFilter:
        return JobFilter(status=self.status, queue=self.queue, task=self.task, since=self.since, until=self.until)


class JobQuery(WantedJobs):
    """Which jobs are listed. `q` is an id, the id that re-runs go back to, or all that a visible argument says."""

    q: Words | None = Field(default=None, examples=["ORD-7"])
    limit: int = Field(default=50, ge=1, le=MOST_JOBS_A_PAGE)
    cursor: str | None = Field(default=None, max_length=4 * LONGEST_ID, description="From the page before.")

    def as_filter(self) -> JobFilter:
        return JobFilter(
            status=self.status, queue=self.queue, task=self.task, since=self.since, until=self.until, q=self.q
        )


class RetryJob(Strict):
    """`resend` sends messages that were sent before again. There is no such switch for charges."""

    resend: bool = False


class ManyJobs(Strict):
    """The jobs of a filter, or those named: one of the two. A dry run changes nothing and tells the same."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"filter": {"task": "send_email_task", "since": "2026-03-05T00:00:00Z"}, "dry_run": True},
                {"ids": ["confirm:ORD-7"]},
            ]
        },
    )

    filter: WantedJobs | None = None
    ids: list[JobId] | None = Field(default=None, max_length=MOST_IDS)
    dry_run: bool = False

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.filter is None) == (self.ids is None):
            raise ValueError("give either filter or ids; an empty filter means all that failed")
        return self


class RunSchedule(Strict):
    """`date` is the day that the job works for, where its task takes one; today by the schedule's clocks without it."""

    # Not `date`, which would hide its own type.
    day: DeliveryDay | None = Field(default=None, alias="date")


class DateQuery(Strict):
    """Of which day; today in UTC without it."""

    # Not `date`, which would hide its own type.
    day: DeliveryDay | None = Field(default=None, alias="date", examples=["2026-03-05"])


class TaskList(BaseModel):
    items: list[TaskView]


class QueueList(BaseModel):
    items: list[QueueView]


class WorkerList(BaseModel):
    items: list[WorkerView]


class ScheduleList(BaseModel):
    items: list[ScheduleView]


class Problem(BaseModel):
    """Why a call was refused."""

    detail: Any


class Fault(BaseModel):
    """What is wrong with a part of a call, and where that stands."""

    type: str
    loc: list[str | int]
    msg: str


class Faults(BaseModel):
    """Everything that is wrong with a call."""

    detail: list[Fault]


class Health(BaseModel):
    status: str


Responses = dict[int | str, dict[str, Any]]

_DETAILS: Mapping[int, str] = {
    status.HTTP_401_UNAUTHORIZED: "send Authorization: Bearer <token>",
    status.HTTP_403_FORBIDDEN: "this token only reads; acting takes an operator's",
    status.HTTP_404_NOT_FOUND: "there is no job confirm:ORD-7",
    status.HTTP_409_CONFLICT: "job confirm:ORD-7: it has not failed",
    status.HTTP_413_CONTENT_TOO_LARGE: "the body has more than 1048576 bytes",
    status.HTTP_429_TOO_MANY_REQUESTS: "too many wrong tokens came from this address",
    status.HTTP_503_SERVICE_UNAVAILABLE: "PostgreSQL can't be reached",
}


def answers(*statuses: int) -> Responses:
    """What OpenAPI is told of these statuses."""
    told: Responses = {}
    for code in statuses:
        if code == status.HTTP_422_UNPROCESSABLE_CONTENT:
            told[code] = {"model": Faults, "description": "What is wrong with the call, each by name."}
            continue
        example = {"application/json": {"example": {"detail": _DETAILS[code]}}}
        told[code] = {"model": Problem, "content": example}
    return told


def in_turn() -> Responses:
    """What OpenAPI is told of a call of which only so many may be under way."""
    return {
        status.HTTP_429_TOO_MANY_REQUESTS: {
            "model": Problem,
            "description": "So many of these calls are under way already, or too many wrong tokens came from here.",
            "headers": {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
            "content": {"application/json": {"example": {"detail": "1 of these calls are under way already"}}},
        }
    }


READING = answers(401, 422, 429, 503)
ACTING = answers(401, 403, 413, 422, 429, 503)
