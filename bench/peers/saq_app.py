"""SAQ with JSON by orjson, on uvloop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
import uvloop
from saq import Queue

from bench.measured.awaiting import JOBS
from bench.measured.sender import Sender
from bench.measured.work import ASSIGNMENT

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
queue = Queue.from_url(ASSIGNMENT.redis_url, dump=orjson.dumps, load=orjson.loads)


def _as_function(job: Callable[[int], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def run(_ctx: Mapping[str, Any], *, number: int) -> None:
        await job(number)

    return run


settings = {
    "queue": queue,
    "functions": [(name, _as_function(job)) for name, job in JOBS.items()],
    "concurrency": ASSIGNMENT.slots,
}


class _Client:
    async def send(self, task: str, number: int) -> None:
        await queue.enqueue(task, number=number)


@asynccontextmanager
async def sender() -> AsyncIterator[Sender]:
    await queue.connect()
    yield _Client()
    await queue.disconnect()
