"""A job while it runs: its limits, its lease, what it says of its progress, and why it is ended."""

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from app.jobs.failures import LeaseRanOut
from app.jobs.progress import Progress
from app.jobs.store import ClaimedJob
from app.jobs.time_limits import Interruptible, SoftTimeLimitExceeded

NEVER = float("inf")
# How long a cancelled job may clean up before it is cancelled again (seconds): it may have swallowed the first time.
CLEAN_UP = 5.0


class Stop(Enum):
    """Why a running job is being ended from outside."""

    SHUTDOWN = auto()
    LEASE_LOST = auto()
    TIME_LIMIT = auto()
    ABORTED = auto()


@dataclass(slots=True, eq=False)
class RunningJob:
    """A job from its claim to the end of its attempt. Times without a unit are the event loop's seconds."""

    claimed: ClaimedJob
    started: float
    held_until: float
    task_name: str = ""
    job_try: int = 0
    enqueued_ms: int = 0
    asyncio_task: asyncio.Task[None] | None = None
    interruptible: Interruptible[Any] | None = None
    soft_limit_at: float = NEVER
    time_limit_at: float = NEVER
    stop: Stop | None = None
    cancel_again_at: float = NEVER
    has_begun: bool = False
    # What was not published yet.
    progress: Progress | None = None

    def end(self, why: Stop) -> None:
        """Cancels it, now or as soon as it has begun; the first reason stands."""
        if self.stop is None:
            self.stop = why
            self.cancel_again_at = asyncio.get_running_loop().time() + CLEAN_UP
            if self.has_begun and self.asyncio_task is not None:
                self.asyncio_task.cancel()

    def check_limits(self, now: float) -> None:
        if self.stop is not None:
            if now >= self.cancel_again_at and self.asyncio_task is not None:
                self.cancel_again_at = now + CLEAN_UP
                self.asyncio_task.cancel()
        elif now >= self.time_limit_at:
            self.end(Stop.TIME_LIMIT)
        elif now >= self.soft_limit_at and self.interruptible is not None and self.asyncio_task is not None:
            self.soft_limit_at = NEVER
            self.interruptible.interrupt(self.asyncio_task, SoftTimeLimitExceeded())

    def ensure_held(self) -> None:
        """Raises LeaseRanOut when the job may be another worker's by now."""
        if asyncio.get_running_loop().time() >= self.held_until:
            raise LeaseRanOut

    def note_progress(self, done: int, total: int | None, message: str | None) -> None:
        self.progress = Progress(done, total, message)

    def log_fields(self) -> dict[str, Any]:
        return {"task": self.task_name, "job_id": self.claimed.id, "job_try": self.job_try}


# The job that the current asyncio task works for: what it logs is told with the job's name.
current_job: ContextVar[RunningJob | None] = ContextVar("current_job", default=None)


def add_current_job(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """A structlog processor: puts task, job and try of the running job on its log lines."""
    running = current_job.get()
    if running is not None:
        for name, value in running.log_fields().items():
            event.setdefault(name, value)
    return event
