"""Living through a Redis that can't be reached: try again, say so once, and remember for how long it was."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

# ReadOnlyError: the server was a primary until a fail-over a moment ago. OutOfMemoryError: it takes no writes now.
REDIS_DOWN = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, ReadOnlyError, OutOfMemoryError, OSError)
# The same in words for which redis-py has no class. Source: Redis, server.c (shared objects). The last is a key that
# somebody else uses for something else: only a person can put that right, and a worker that ended would not help.
REFUSED_FOR_NOW = ("MISCONF", "BUSY", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "WRONGTYPE")
FIRST_WAIT = 0.05
LONGEST_WAIT = 1.0


def is_outage(error: Exception) -> bool:
    """Whether Redis may well take the same command later."""
    return isinstance(error, REDIS_DOWN) or str(error).startswith(REFUSED_FOR_NOW)


class RedisLine:
    """Makes calls to Redis that outlive its outages, and logs one line when it goes and one when it is back.

    Times are the event loop's. `lost_at` and `back_at` frame the last outage; `back_at` is None while it lasts.
    """

    def __init__(self) -> None:
        self.answered_at: float | None = None
        self.lost_at: float | None = None
        self.back_at: float | None = None
        # When the calls that are under way were asked for, the oldest first.
        self._asked_at: dict[object, float] = {}
        # Calls that Redis would not take at their last try: a server that only answers what is read is not back.
        self._refused: set[object] = set()

    @property
    def unanswered_since(self) -> float | None:
        """Since when the oldest call that is under way waits for its answer."""
        return next(iter(self._asked_at.values()), None)

    @property
    def is_up(self) -> bool:
        return self.lost_at is None or self.back_at is not None

    async def call(self, command: Callable[[], Awaitable[T]]) -> T:
        """What `command` returns, called again until Redis answers."""
        loop = asyncio.get_running_loop()
        wait = FIRST_WAIT
        this = object()
        try:
            while True:
                try:
                    answer = await self._ask(command, loop.time())
                except (*REDIS_DOWN, ResponseError) as error:
                    if not is_outage(error):
                        raise
                    self._refused.add(this)
                    self._note_failure(error, loop.time())
                    await asyncio.sleep(wait)
                    wait = min(wait * 2, LONGEST_WAIT)
                else:
                    self._refused.discard(this)
                    self._note_answer(loop.time())
                    return answer
        finally:
            self._refused.discard(this)

    async def _ask(self, command: Callable[[], Awaitable[T]], now: float) -> T:
        call = object()
        self._asked_at[call] = now
        try:
            return await command()
        finally:
            del self._asked_at[call]

    def _note_failure(self, error: Exception, now: float) -> None:
        if self.is_up:
            # The outage began at some time after the last answer.
            self.lost_at = now if self.answered_at is None else self.answered_at
            self.back_at = None
            log.warning("redis.lost", error=type(error).__name__, reason=str(error))

    def _note_answer(self, now: float) -> None:
        if self._refused:
            return
        if not self.is_up and self.lost_at is not None:
            self.back_at = now
            log.info("redis.back", seconds=round(now - self.lost_at, 1))
        self.answered_at = now
