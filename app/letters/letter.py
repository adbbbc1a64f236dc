"""What there is to say of a dead letter, and of an attempt to run it again."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from app.db.letters import LetterAction
from app.errors import Refused
from app.jobs.effects import Effect, EffectState
from app.jobs.lookup import JobState


@dataclass(frozen=True, slots=True)
class Closed:
    """What somebody made of a dead letter; `retried_as` is the id of the job that runs in its place."""

    action: LetterAction
    by: str
    at: datetime
    retried_as: str | None


@dataclass(frozen=True, slots=True)
class Letter:
    """A job as history has it; `payload` where history has that, too. `closed` where it is no dead letter any more."""

    id: str
    task: str
    state: JobState
    enqueued_at: datetime
    root_id: str
    payload: bytes | None
    closed: Closed | None

    @property
    def enqueued_ms(self) -> int:
        return round(self.enqueued_at.timestamp() * 1000)


# Is told how many of how many jobs that were looked at something was done to.
Tell = Callable[[int, int], None]


def untold(_done: int, _matched: int) -> None:
    """Nobody wants to know how far it is."""


class LeftOut(StrEnum):
    """Why a job is not run again."""

    NO_SUCH_JOB = "there is no such job"
    NOT_FAILED = "it has not failed"
    RUNNING = "it is running"
    ENDED = "it has ended"
    RETRIED_BEFORE = "it was run again before"
    DISCARDED = "it was discarded"
    PAYLOAD_LOST = "its payload is lost"
    UNREADABLE = "its payload can't be read"
    UNKNOWN_TASK = "there is no task of that name any more"
    WRONG_ARGUMENTS = "its arguments do not fit the task"
    NOT_REPEATABLE = "its effects can't be repeated"


@dataclass(frozen=True, slots=True)
class Rerun:
    """What running a job again comes to: `effects` is what its line has done and can still do; `new_id` the job that
    runs in its place, None in a dry run; `left_out` why there is none, or none but
    that of an earlier press, of which `is_under_way` says that it has not ended."""

    job_id: str
    task: str | None
    effects: Sequence[Effect] = ()
    new_id: str | None = None
    left_out: LeftOut | None = None
    is_under_way: bool = False

    @property
    def can(self) -> str:
        """In words, as "send email; sent before: sms". A task that declares no effects simply runs."""
        if self.left_out is not None and not self.is_under_way:
            return "nothing"
        if not self.effects:
            return "run"
        words = [effect for effect in self.effects if effect.state is not EffectState.DONE]
        can = ", ".join(f"{effect.verb} {effect.what}{_doubt(effect)}" for effect in words) or "nothing"
        done = ", ".join(f"{each.verb} {each.what}" for each in self.effects if each.state is EffectState.DONE)
        return f"{can}; done before: {done}" if done else can


def _doubt(effect: Effect) -> str:
    return " (may have happened)" if effect.state is EffectState.UNKNOWN else ""


# Of very many, a person reads the totals.
MOST_ITEMS = 1_000


@dataclass(slots=True)
class BulkRerun:
    """What running many jobs again comes to, or would come to: totals of all, and the first thousand one by one.

    `can` counts what those that are run again can still do, `left_out` why others are not.
    """

    matched: int = 0
    retried: int = 0
    can: Counter[str] = field(default_factory=Counter)
    left_out: Counter[LeftOut] = field(default_factory=Counter)
    items: list[Rerun] = field(default_factory=list)

    def add(self, reruns: Sequence[Rerun]) -> None:
        self.matched += len(reruns)
        for rerun in reruns:
            if rerun.left_out is None:
                self.retried += 1
                self.can[rerun.can] += 1
            else:
                self.left_out[rerun.left_out] += 1
        self.items += reruns[: MOST_ITEMS - len(self.items)]


@dataclass(slots=True)
class BulkDiscard:
    """What discarding many jobs comes to, or would come to; `left_out` counts why others are not."""

    matched: int = 0
    discarded: int = 0
    left_out: Counter[LeftOut] = field(default_factory=Counter)

    def add(self, reason: LeftOut | None) -> None:
        """One job: None where it is discarded."""
        self.matched += 1
        if reason is None:
            self.discarded += 1
        else:
            self.left_out[reason] += 1


class NotALetter(Refused):
    """The job can't be run again or discarded, for the reason given."""

    def __init__(self, job_id: str, reason: LeftOut) -> None:
        super().__init__(job_id, reason)
        self.job_id = job_id
        self.reason = reason

    def __str__(self) -> str:
        return f"job {self.job_id}: {self.reason}"
