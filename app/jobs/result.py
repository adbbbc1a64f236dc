"""What is kept in Redis of a job that has ended: arq's own fields, and ours beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.jobs.memory import Attempt, attempts_as_json
from app.jobs.payload import Payload

UNKNOWN_TASK = "<unknown>"
# What stands in for a result that could not be written; the reason follows.
NOT_KEPT = "<a result that could not be kept: "


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a job ended. `payload` is None where nobody could read it; `queue_key` is the queue's key in Redis.

    `enqueued_ms` stands in for what the payload would tell. `outcome` is what the task returned, or its error.
    """

    job_id: str
    payload: Payload | None
    queue_key: str
    enqueued_ms: int
    tries: int
    attempts: Sequence[Attempt]
    started_ms: int
    finished_ms: int
    is_success: bool
    outcome: Any

    def fields(self) -> dict[str, Any]:
        payload = self.payload
        data = {
            "t": self.tries,
            "f": payload.task if payload else UNKNOWN_TASK,
            "a": payload.args if payload else (),
            "k": payload.kwargs if payload else {},
            "et": payload.enqueued_ms if payload else self.enqueued_ms,
            "s": self.is_success,
            "r": self.outcome,
            "st": self.started_ms,
            "ft": self.finished_ms,
            "q": self.queue_key,
            "id": self.job_id,
            "attempts": attempts_as_json(self.attempts),
        }
        if payload is not None and (payload.root is not None or payload.retry_of is not None):
            data |= {"root": payload.root, "retry_of": payload.retry_of}
        return data
