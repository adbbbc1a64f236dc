"""Why operators don't get what they asked for."""

from app.errors import Refused
from app.history.masking import storable
from app.jobs.lookup import JobState
from app.jobs.queues import RECORDED_ELSEWHERE

# Of an id that somebody made up; a longer one says nothing more.
LONGEST_SHOWN_ID = 100


class NoSuchJob(Refused):
    """Nobody knows a job of that id, or not any more."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return f"there is no job {shown(self.job_id)}"


class JobIdTaken(Refused):
    """A job of that id was enqueued before."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return f"there is a job with the id {shown(self.job_id)}"


class JobIdReserved(Refused):
    """Jobs of the outbox have ids like that: a row to come would find its id taken, and its job would be lost."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return f"an id that begins with {RECORDED_ELSEWHERE} is one of a job of the outbox"


class JobHasEnded(Refused):
    """The job can't be aborted any more."""

    def __init__(self, job_id: str, state: JobState | None) -> None:
        super().__init__(job_id, state)
        self.job_id = job_id
        self.state = state

    def __str__(self) -> str:
        return f"job {shown(self.job_id)} has ended{f': {self.state}' if self.state else ''}"


def shown(job_id: str) -> str:
    """The id as a sentence can hold it."""
    text = storable(job_id)
    return text if len(text) <= LONGEST_SHOWN_ID else f"{text[:LONGEST_SHOWN_ID]}..."
