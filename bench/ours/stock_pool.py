"""A stock arq pool with our serializer, as the shop's older code has it, in front of our worker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import arq
from arq.connections import ArqRedis, RedisSettings

import app
from bench.measured.sender import Sender
from bench.measured.work import ASSIGNMENT


class _Client:
    def __init__(self, pool: ArqRedis) -> None:
        self._pool = pool

    async def send(self, task: str, number: int) -> None:
        await self._pool.enqueue_job(task, number)


@asynccontextmanager
async def sender() -> AsyncIterator[Sender]:
    redis = RedisSettings.from_dsn(ASSIGNMENT.redis_url)
    pool = await arq.create_pool(redis, job_serializer=app.serialize, job_deserializer=app.deserialize)
    yield _Client(pool)
    await pool.aclose()
