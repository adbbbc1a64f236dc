"""Shared limits in Redis: who is within, who waits, and whose turn it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import ConnectionPool

from app.jobs.limits import Limit
from app.jobs.queues import PAUSED, Queue
from app.jobs.store import MOST_JOBS_A_SCRIPT, batches
from app.jobs.wire import Script, Wire

# Names of the limits that jobs wait for.
WAITED_FOR = "indostar:limits"

# How much of the rate may come at once after a time in which less came (ms' worth).
BURST_MS = 100
# Turns are given out so far ahead: a worker that is held up for a moment does not hold up the others.
HORIZON_MS = 500
# How long after its turn a job may come: an idle worker takes milliseconds, a busy one has to free a slot, and what the
# job does before it enters the limit may have to wait for a slow database. However long, no more than half a second's
# worth of turns lies untaken (pace.lua).
PATIENCE_MS = 15_000
# How long a job keeps its turn while it waits for another limit.
KEPT_MS = 3_600_000

ADMIT, PACE, HOLD = Script("admit"), Script("pace"), Script("hold")
QUEUE_KEYS = tuple(queue.key for queue in Queue)
QUEUE_NAMES = tuple(queue.value for queue in Queue)


@dataclass(frozen=True, slots=True)
class Entry:
    """A job at the entrance of a limit. `permit` is a word of its own for each time that a job enters.

    In an Exit, '' is a job that did not enter, and does without the turn that it may have.
    """

    limit: Limit
    job_id: str
    permit: str


@dataclass(frozen=True, slots=True)
class Exit:
    """A job that leaves; `keeps_turn` where it is to come back in without waiting again."""

    entry: Entry
    keeps_turn: bool = False


class LimitStore:
    """`hold_ms` is how long a permit holds that is not renewed. `now_ms` replaces the server's clock in tests."""

    def __init__(self, connections: ConnectionPool, hold_ms: int, now_ms: int | None = None) -> None:
        self.hold_ms = hold_ms
        self.now_ms = now_ms
        self._wire = Wire(connections)

    async def aclose(self) -> None:
        await self._wire.aclose()

    @property
    def _now(self) -> str | int:
        return "" if self.now_ms is None else self.now_ms

    async def admit(self, entries: Sequence[Entry]) -> list[bool]:
        """Whether each may enter: not where there is no room, nor past others that wait. At most 100 at once."""
        limits = list(dict.fromkeys(entry.limit for entry in entries))
        numbers = {limit: number for number, limit in enumerate(limits, start=1)}
        words: list[Any] = [len(limits)]
        for limit in limits:
            words += _words(limit)
        for entry in entries:
            words += (numbers[entry.limit], entry.job_id, entry.permit)
        reply = await self._wire.run(
            ADMIT, (PAUSED, *QUEUE_KEYS), self._now, self.hold_ms, BURST_MS, *QUEUE_NAMES, *words
        )
        return [bool(may_enter) for may_enter in reply]

    async def leave(self, exits: Sequence[Exit]) -> None:
        """Gives room back, and at once to those who wait. At most 100 at once."""
        leaving: dict[Limit, list[Exit]] = {}
        for exit_ in exits:
            leaving.setdefault(exit_.entry.limit, []).append(exit_)
        await self._pace(leaving)

    async def pace(self, limit: Limit) -> int:
        """Gives turns to those who wait, and says how many wait or have a turn that they did not take yet.

        Jobs of paused queues do not count.
        """
        while True:
            left, is_more = await self._pace({limit: ()})
            if not is_more:
                return int(left)

    async def _pace(self, leaving: Mapping[Limit, Sequence[Exit]]) -> Any:
        words: list[Any] = []
        for limit, exits in leaving.items():
            words += (*_words(limit), len(exits))
            for exit_ in exits:
                permit = exit_.entry.permit
                words += (permit, exit_.entry.job_id if exit_.keeps_turn or not permit else "")
        times = (BURST_MS, HORIZON_MS, PATIENCE_MS, KEPT_MS)
        keys = (PAUSED, WAITED_FOR, *QUEUE_KEYS)
        return await self._wire.run(PACE, keys, self._now, *times, MOST_JOBS_A_SCRIPT, *QUEUE_NAMES, *words)

    async def hold(self, entries: Sequence[Entry]) -> None:
        """Keeps their permits from lapsing for another while."""
        for batch in batches(entries):
            words = [word for entry in batch for word in (entry.limit.name, entry.permit)]
            await self._wire.run(HOLD, (), self._now, self.hold_ms, *words)

    async def waited_for(self) -> set[str]:
        """The names of the limits that jobs wait for."""
        # What only a foreign hand writes is no limit's name.
        return {name.decode(errors="replace") for name in await self._wire.call("SMEMBERS", WAITED_FOR)}


def _words(limit: Limit) -> tuple[Any, Any, Any]:
    return (
        limit.name,
        "" if limit.per_second is None else limit.per_second,
        "" if limit.in_flight is None else limit.in_flight,
    )
