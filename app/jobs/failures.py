"""What can be wrong with a job itself, and with the worker that runs it."""

from collections.abc import Sequence
from datetime import timedelta

from app.errors import Refused, Unavailable
from app.jobs.limits import Limit


class UnknownTask(Refused):
    """No task has that name."""

    def __init__(self, name: str, similar: Sequence[str] = ()) -> None:
        super().__init__(name, similar)
        self.name = name
        self.similar = similar

    def __str__(self) -> str:
        hint = f"; did you mean {' or '.join(self.similar)}?" if self.similar else ""
        return f"there is no task {self.name!r}{hint}"


class UnknownQueue(Refused):
    """No worker serves a queue of that name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name, known)
        self.name = name
        self.known = known

    def __str__(self) -> str:
        return f"there is no queue {self.name!r}; the queues are {', '.join(self.known)}"


class WrongArguments(Refused):
    """The arguments do not fit the task: `faults` is (argument, what is wrong with it)."""

    def __init__(self, task: str, faults: Sequence[tuple[str, str]]) -> None:
        super().__init__(task, faults)
        self.task = task
        self.faults = faults

    def __str__(self) -> str:
        told = "; ".join(f"{argument}: {sentence}" if argument else sentence for argument, sentence in self.faults)
        return f"wrong arguments for {self.task}: {told}"


class SecretArguments(Refused):
    """A task with secret arguments can't go by the outbox."""

    def __init__(self, task: str) -> None:
        super().__init__(task)
        self.task = task

    def __str__(self) -> str:
        return (
            f"{self.task} has secret arguments, which must not enter PostgreSQL: "
            "enqueue it straight, by enqueue_job of app.connect()"
        )


class UnreadablePayload(Refused):
    """The payload is not a job in our JSON. It is kept as it is and never unpickled."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the payload can't be read: {self.reason}"


class JobExpired(Refused):
    """The job was not to start after a time that has passed, or its payload expired with that time."""

    def __str__(self) -> str:
        return "the time in which the job might start is over"


class WorkerLost(Refused):
    """The job lost its worker several times: it is probably what kills them."""

    def __init__(self, times: int) -> None:
        super().__init__(times)
        self.times = times

    def __str__(self) -> str:
        return f"the worker died or fell silent {self.times} times while it ran this job"


class LeaseRanOut(Unavailable):
    """This worker was stopped for longer than its lease; another one may be running the job by now."""

    def __init__(self) -> None:
        super().__init__(retry_after=timedelta(0))

    def __str__(self) -> str:
        return "the worker was stopped for longer than its lease on the job"


class OverLimit(Unavailable):
    """All that a limit allows is taken, or others wait for it already. The job waits for its turn, in line."""

    def __init__(self, limit: Limit) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"the limit {self.limit.name} ({self.limit}) is reached"
