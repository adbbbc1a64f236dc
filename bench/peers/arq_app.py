"""Stock arq with JSON, on uvloop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import arq
import orjson
import uvloop
from arq.connections import ArqRedis, RedisSettings
from arq.typing import WorkerCoroutine
from arq.worker import Function

from bench.measured.awaiting import JOBS
from bench.measured.sender import Sender
from bench.measured.work import ASSIGNMENT

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
REDIS = RedisSettings.from_dsn(ASSIGNMENT.redis_url)


def _as_function(name: str, job: Callable[[int], Awaitable[None]]) -> Function:
    async def run(_ctx: dict[Any, Any], number: int) -> None:
        await job(number)

    return arq.func(cast("WorkerCoroutine", run), name=name)


class WorkerSettings:
    """For arq's command line."""

    functions = [_as_function(name, job) for name, job in JOBS.items()]
    redis_settings = REDIS
    max_jobs = ASSIGNMENT.slots
    job_serializer = orjson.dumps
    job_deserializer = orjson.loads


class _Client:
    def __init__(self, pool: ArqRedis) -> None:
        self._pool = pool

    async def send(self, task: str, number: int) -> None:
        await self._pool.enqueue_job(task, number)


@asynccontextmanager
async def sender() -> AsyncIterator[Sender]:
    pool = await arq.create_pool(REDIS, job_serializer=orjson.dumps, job_deserializer=orjson.loads)
    yield _Client(pool)
    await pool.aclose()
