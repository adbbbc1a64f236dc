"""Whether a worker is alive: a key that only a worker whose every loop lives keeps up."""

import json
from collections.abc import Collection
from datetime import timedelta
from typing import ClassVar

from redis.asyncio import Redis

from app.jobs.queues import Queue


def health_key(*queues: Queue) -> str:
    """The key of the workers that serve exactly these queues, on any host."""
    return f"indostar:health:{'+'.join(queues)}"


class Health:
    """A worker's entry under the key that `arq --check` reads."""

    INTERVAL: ClassVar = timedelta(seconds=3)
    # Two reports may be late before it counts as dead.
    TTL: ClassVar = timedelta(seconds=10)

    def __init__(self, redis: Redis, key: str, worker: str) -> None:
        self._redis = redis
        self._key = key
        self._worker = worker

    async def report(self, running: int) -> None:
        entry = json.dumps({"worker": self._worker, "running": running})
        await self._redis.set(self._key, entry, px=self.TTL)

    async def forget(self) -> None:
        await self._redis.delete(self._key)


async def is_alive(redis_url: str, queues: Collection[Queue] = tuple(Queue)) -> bool:
    """Whether a worker of these queues reported within the last seconds."""
    async with Redis.from_url(redis_url) as redis:
        return bool(await redis.exists(health_key(*queues)))
