"""What a task knows about the job it runs as, and what it works with."""

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from app.jobs.limits import Limit

T = TypeVar("T")


class Resources:
    """What tasks work with (a database, a messenger, settings), looked up by type."""

    def __init__(self, things: Iterable[Any] = ()) -> None:
        self._things = {type(thing): thing for thing in things}

    def __getitem__(self, kind: type[T]) -> T:
        thing = self._things.get(kind)
        if thing is None:
            raise LookupError(f"this worker was started without a {kind.__name__}")
        return thing  # type: ignore[no-any-return]  # filed under its own type


def _held() -> None:
    """A task that is called as a function has no lease to lose."""


def _unheard(_done: int, _total: int | None, _message: str | None) -> None:
    """Nobody is told how far a task is that is called as a function."""


def _unlimited(_limit: Limit) -> AbstractAsyncContextManager[None]:
    """Nobody shares a limit with a task that is called as a function."""
    return nullcontext()


def _no_turn(_limit: Limit) -> None:
    """Nor has it a turn to give away."""


@dataclass(frozen=True, slots=True)
class Context:
    """The first argument of every task.

    `root_id` is the id of the first job in a line of re-runs: what was sent or done under it is not done again.
    `job_try` counts from 1. `ensure_held()` raises when the worker was stopped for so long that the job may be
    another's by now: call it right before what must not happen twice. `is_fresh` tells that nothing has been done for
    the job before, or for one that it re-runs.
    """

    job_id: str
    root_id: str
    task: str
    job_try: int
    max_tries: int
    enqueued_at: datetime
    resources: Resources
    ensure_held: Callable[[], None] = _held
    note_progress: Callable[[int, int | None, str | None], None] = _unheard
    admit: Callable[[Limit], AbstractAsyncContextManager[None]] = _unlimited
    give_away: Callable[[Limit], None] = _no_turn
    is_fresh: bool = False

    def progress(self, done: int, total: int | None = None, message: str | None = None) -> None:
        """Says how far the task is. Costs next to nothing: what was said last is published about once a second."""
        self.note_progress(done, total, message)

    def within(self, limit: Limit) -> AbstractAsyncContextManager[None]:
        """A block that runs within a limit which all workers share: `async with context.within(limit):`.

        Raises OverLimit where there is no room. Let it pass: the job then waits in line, outside of the worker and at
        the cost of no try, and is started again when its turn has come; so nothing before the block should matter
        twice. Blocks may lie within each other, but in the same order everywhere, and never within one of their own
        limit.
        """
        return self.admit(limit)

    def forgo(self, limit: Limit) -> None:
        """Gives away the turn that the job may have waited for, because it does not enter that limit after all.

        A turn that is neither taken nor given away holds up those who wait, for 15 seconds.
        """
        self.give_away(limit)

    def __getitem__(self, kind: type[T]) -> T:
        return self.resources[kind]
