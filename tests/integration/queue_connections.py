"""A queue's connections for tests that are no coroutines, as hypothesis has them."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import arq
from arq.connections import ArqRedis, RedisSettings

from app.jobs.pool import JobPool
from app.jobs.serializer import deserialize, serialize
from app.jobs.store import JobStore
from app.jobs.task import TaskRegistry
from tests.integration.queue_model import LEASE

T = TypeVar("T")


class QueueConnections:
    """A pool of ours, a store and a stock pool, and the loop that they live in. `do` runs a coroutine there."""

    def __init__(self, url: str) -> None:
        # With a factory it leaves the loop of the other tests alone.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.do(self._open(url))

    async def _open(self, url: str) -> None:
        self.pool = JobPool.from_dsn(url, TaskRegistry())
        self.store = JobStore(self.pool.connection_pool, LEASE)
        self.stock: ArqRedis = await arq.create_pool(
            RedisSettings.from_dsn(url), job_serializer=serialize, job_deserializer=deserialize
        )

    def do(self, work: Awaitable[T]) -> T:
        async def wait() -> T:
            return await work

        return self._runner.run(wait())

    def close(self) -> None:
        self.do(self.store.aclose())
        self.do(self.pool.aclose())
        self.do(self.stock.aclose())
        self._runner.close()
