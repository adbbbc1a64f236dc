"""Breakers in Redis, where all workers share them."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from redis.asyncio import ConnectionPool

from app.jobs.breaker_state import BreakerState
from app.jobs.wire import Script, Wire

# Hash: the state of each by its name.
BREAKERS = "indostar:breakers"

BREAKER = Script("breaker")


class Swap(NamedTuple):
    """The time (epoch ms), whether the new state is there now, and the state that is."""

    now_ms: int
    is_done: bool
    there: bytes


class BreakerStore:
    """`clock` (epoch ms) replaces the server's in tests."""

    def __init__(self, connections: ConnectionPool, clock: Callable[[], int] | None = None) -> None:
        self._wire = Wire(connections)
        self._clock = clock

    async def aclose(self) -> None:
        await self._wire.aclose()

    async def swap(self, name: str, made_from: bytes, state: bytes) -> Swap:
        """Puts `state` where still the one is that it was made from; b"" is no state there, and only asks here."""
        now = "" if self._clock is None else self._clock()
        now_ms, is_done, there = await self._wire.run(BREAKER, (BREAKERS,), now, name, made_from, state)
        return Swap(int(now_ms), bool(is_done), there)


async def breakers(wire: Wire) -> Mapping[str, BreakerState]:
    """Every breaker that has been used, by name."""
    words = await wire.call("HGETALL", BREAKERS)
    return {
        name.decode(errors="replace"): BreakerState.from_bytes(state)
        for name, state in zip(words[::2], words[1::2], strict=True)
    }
