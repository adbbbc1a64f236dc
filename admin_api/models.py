"""What the admin API takes and gives."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from app.operations.views import TaskView

# An id is a segment of a path.
JobId = Annotated[str, Field(max_length=200, pattern=r"^[^/?#%\\\x00-\x20\x7f]+$", examples=["confirm:ORD-7"])]
# arq defers in milliseconds of a double; a year is more than any task of a shop waits.
LONGEST_DELAY = timedelta(days=366)


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


class Problem(BaseModel):
    """Why a call was refused."""

    detail: Any


class Health(BaseModel):
    status: str
