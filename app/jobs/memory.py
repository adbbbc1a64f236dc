"""What a job remembers from one attempt to the next."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import structlog

from app.jobs.serializer import ErrorRecord

log = structlog.stdlib.get_logger(__name__)

# A job that is put off for a day has some 150 attempts; some tell as much as all.
MOST_ATTEMPTS_KEPT = 20


class AttemptOutcome(StrEnum):
    SUCCEEDED = "succeeded"
    RETRIED = "retried"
    PUT_OFF = "put_off"
    HANDED_BACK = "handed_back"
    LOST = "lost"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a job. Times are epoch milliseconds, None where the worker died before it could tell."""

    job_try: int
    started_ms: int | None
    finished_ms: int | None
    outcome: AttemptOutcome
    worker: str | None
    error: ErrorRecord | None = None

    def as_json(self) -> dict[str, Any]:
        error = self.error
        return {
            "job_try": self.job_try,
            "started_ms": self.started_ms,
            "finished_ms": self.finished_ms,
            "outcome": self.outcome.value,
            "worker": self.worker,
            "error": error and {"type": error.type, "message": error.message, "traceback": error.traceback},
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Attempt":
        error = data["error"]
        return cls(
            data["job_try"],
            data["started_ms"],
            data["finished_ms"],
            AttemptOutcome(data["outcome"]),
            data["worker"],
            ErrorRecord(**error) if error else None,
        )


@dataclass(slots=True)
class Memory:
    """`put_offs` counts those in a row, since `put_off_since_ms`; `arrival` is the key of the queue that a job first
    arrived on, where that was not its own; `lost` is how many lost workers `attempts` tells of."""

    attempts: list[Attempt] = field(default_factory=list)
    put_offs: int = 0
    put_off_since_ms: int | None = None
    arrival: str | None = None
    lost: int = 0

    def add(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        if len(self.attempts) > MOST_ATTEMPTS_KEPT:
            # The first say why it began, the last why it ended.
            del self.attempts[MOST_ATTEMPTS_KEPT // 2]

    def to_bytes(self) -> bytes:
        data = {
            "attempts": attempts_as_json(self.attempts),
            "put_offs": self.put_offs,
            "put_off_since_ms": self.put_off_since_ms,
            "arrival": self.arrival,
            "lost": self.lost,
        }
        return json.dumps(data, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, raw: bytes | None) -> "Memory":
        """What was kept; nothing where it can't be read, as after a newer release wrote it: the job goes on."""
        if raw is None:
            return cls()
        try:
            data = json.loads(raw)
            return cls(**{**data, "attempts": attempts_from_json(data["attempts"])})
        except (ValueError, TypeError, KeyError):
            log.warning("job.memory_unreadable", size=len(raw))
            return cls()


def attempts_as_json(attempts: Iterable[Attempt]) -> list[dict[str, Any]]:
    return [attempt.as_json() for attempt in attempts]


def attempts_from_json(attempts: Iterable[dict[str, Any]]) -> list[Attempt]:
    return [Attempt.from_json(attempt) for attempt in attempts]
