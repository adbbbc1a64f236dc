"""A place at work: one child that serves, followed by the next when it ends or wants to be replaced."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Self

import structlog

from app.jobs.retry import jittered
from app.supervisor.child import Child, first_of

log = structlog.stdlib.get_logger(__name__)

# What typer and `settings_or_exit` end a process with.
WRONG_CALL = 2

StartChild = Callable[[], Awaitable[Child]]


class RefusedToStart(Exception):
    """The first child of a place ended with exit code 2: its settings are at fault, which it has said itself."""


@dataclass(slots=True)
class Pauses:
    """How long a place waits before its next child: longer and longer, until one was up for `enough`.

    That holds back a crash loop, and as well a child whose own size is beyond the limit on memory.
    """

    first: timedelta = timedelta(seconds=0.5)
    cap: timedelta = timedelta(seconds=30)
    enough: timedelta = timedelta(minutes=1)
    in_a_row: int = 0

    def after(self, lived: timedelta, random: Random) -> timedelta:
        if lived >= self.enough:
            self.in_a_row = 0
        self.in_a_row += 1
        return jittered(self.first, 2, self.in_a_row, self.cap, random)


class Place:
    """`start_child` starts the next one; one that is to follow a living one must be ready within `ready_within`."""

    def __init__(self, first: Child, start_child: StartChild, ready_within: timedelta) -> None:
        self._serving = first
        self._start_child = start_child
        self._ready_within = ready_within
        self._pauses = Pauses()
        self._random = Random()  # noqa: S311 -- it spreads restarts

    @classmethod
    async def open(cls, start_child: StartChild, ready_within: timedelta) -> Self:
        """The place with its first child, which starts."""
        return cls(await start_child(), start_child, ready_within)

    async def keep(self) -> None:
        """Sees that somebody serves here, until cancelled. Raises RefusedToStart."""
        first = self._serving
        clock = asyncio.get_running_loop().time
        started_at = clock()
        while True:
            await first_of(self._serving.ended, self._serving.retiring)
            if first.exit_code == WRONG_CALL and not first.ready.is_set():
                raise RefusedToStart
            pause = self._pauses.after(timedelta(seconds=clock() - started_at), self._random)
            await asyncio.sleep(pause.total_seconds())
            started_at = clock()
            try:
                successor = await self._start_child()
            except OSError as error:  # the system has no memory or no process to spare
                log.warning("supervisor.child_not_started", error=str(error))
                continue
            # Without a limit where nobody serves: it may have to wait for Redis.
            await first_of(successor.ready, successor.ended, self._serving.ended, within=self._ready_within)
            if successor.ready.is_set() or self._serving.ended.is_set():
                self._hand_over(successor)
            else:
                log.warning("supervisor.not_replaced", child=self._serving.pid, by=successor.pid)
                successor.drain()

    async def renew(self) -> None:
        """Has the child that serves here replaced; returns when its successor serves, or has ended."""
        old = self._serving
        old.retiring.set()
        await old.replaced.wait()
        await first_of(self._serving.ready, self._serving.ended)

    def _hand_over(self, successor: Child) -> None:
        old, self._serving = self._serving, successor
        old.drain()
        old.replaced.set()
