"""A job with its explanation, as it is shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel

from app.history.masking import HIDDEN
from app.jobs.lookup import JobRecord
from app.jobs.task import TaskRegistry
from app.operations.actor import Role
from app.operations.explaining.sentences import Explanation
from app.operations.views import JobView


@dataclass(frozen=True, slots=True)
class ExplainedJob:
    """A job and what there is to tell of it."""

    job: JobRecord
    explanation: Explanation


class ExplanationView(BaseModel):
    """Why there is a job, what happened at each attempt, why it stands where it stands, what comes next, and what
    running it again would do: in plain sentences."""

    origin: str
    attempts: Sequence[str]
    because: str
    next: str
    rerun: str

    @classmethod
    def of(cls, told: Explanation) -> Self:
        return cls(origin=told.origin, attempts=told.attempts, because=told.because, next=told.next, rerun=told.rerun)


class ExplainedJobView(JobView):
    """A job, and what there is to tell of it."""

    explanation: ExplanationView

    @classmethod
    def explained(cls, explained: ExplainedJob, tasks: TaskRegistry, role: Role) -> Self:
        view = ExplanationView.of(explained.explanation)
        if role is not Role.OPERATOR and explained.job.attempts:
            # What errors say may repeat arguments.
            view = view.model_copy(update={"attempts": [HIDDEN] * len(view.attempts), "because": HIDDEN})
        return cls(**dict(JobView.of(explained.job, tasks, role)), explanation=view)
