"""A bare LPUSH for each job: what the client library and the server allow at all."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import orjson
from redis.asyncio import Redis

from bench.measured.sender import Sender
from bench.measured.work import ASSIGNMENT

KEY = "bench:list"
# Commands in a pipeline.
CHUNK = 100


class _Client:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def send(self, task: str, number: int) -> None:
        pushed = self._redis.lpush(KEY, orjson.dumps({"f": task, "a": [number]}))
        await pushed  # type: ignore[misc]  # its stub serves the blocking client too

    async def send_many(self, task: str, numbers: Sequence[int]) -> None:
        for start in range(0, len(numbers), CHUNK):
            async with self._redis.pipeline(transaction=False) as pipe:
                for number in numbers[start : start + CHUNK]:
                    pipe.lpush(KEY, orjson.dumps({"f": task, "a": [number]}))
                await pipe.execute()


@asynccontextmanager
async def sender() -> AsyncIterator[Sender]:
    async with Redis.from_url(ASSIGNMENT.redis_url) as redis:
        yield _Client(redis)
