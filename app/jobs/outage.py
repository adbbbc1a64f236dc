"""Living through a Redis that can't be reached: try again, and say so once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from redis.exceptions import BusyLoadingError, ReadOnlyError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

# ReadOnlyError: the server was a primary until a fail-over a moment ago.
REDIS_DOWN = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, ReadOnlyError, OSError)
FIRST_WAIT = 0.05
LONGEST_WAIT = 1.0


class RedisLine:
    """Makes calls to Redis that outlive its outages, and logs one line when it goes and one when it is back."""

    def __init__(self) -> None:
        self.is_up = True

    async def call(self, command: Callable[[], Awaitable[T]]) -> T:
        """What `command` returns, called again until Redis answers."""
        wait = FIRST_WAIT
        while True:
            try:
                answer = await command()
            except REDIS_DOWN as error:
                if self.is_up:
                    self.is_up = False
                    log.warning("redis.lost", error=type(error).__name__)
                await asyncio.sleep(wait)
                wait = min(wait * 2, LONGEST_WAIT)
            else:
                if not self.is_up:
                    self.is_up = True
                    log.info("redis.back")
                return answer
