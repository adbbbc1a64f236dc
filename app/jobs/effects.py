"""What jobs have done that stays done, so that whoever runs one again knows what that can still do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from app.jobs.context import Resources


class EffectState(StrEnum):
    """Whether it has happened; of what is `unknown` the provider may have to be asked."""

    DONE = "done"
    OPEN = "open"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that a job does to the world, as in "send" an "email"."""

    verb: str
    what: str
    state: EffectState


@dataclass(frozen=True, slots=True)
class PastJob:
    """A job that is to be run again: the first of its line, and its arguments by name."""

    root_id: str
    kwargs: Mapping[str, Any]


class EffectRecord(Protocol):
    """Tells what jobs of a task have done. The task's declaration names it: `@task(..., effects=...)`.

    `can_be_repeated` where a person may have it all done a second time, on purpose.
    """

    @property
    def can_be_repeated(self) -> bool: ...

    async def of(self, resources: Resources, jobs: Sequence[PastJob]) -> list[Sequence[Effect]]:
        """For each job everything that it does, and whether that has happened."""
