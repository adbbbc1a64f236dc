"""streaQ with JSON, on uvloop."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from streaq import Worker

from bench.measured.awaiting import JOBS
from bench.measured.sender import Sender
from bench.measured.work import ASSIGNMENT

worker = Worker(
    redis_url=ASSIGNMENT.redis_url,
    concurrency=ASSIGNMENT.slots,
    serializer=json.dumps,
    deserializer=json.loads,
    anyio_kwargs={"use_uvloop": True},
)
tasks = {name: worker.task(name=name)(job) for name, job in JOBS.items()}


class _Client:
    async def send(self, task: str, number: int) -> None:
        await tasks[task].enqueue(number)

    async def send_many(self, task: str, numbers: Sequence[int]) -> None:
        await worker.enqueue_many([tasks[task].enqueue(number) for number in numbers])


@asynccontextmanager
async def sender() -> AsyncIterator[Sender]:
    async with worker:
        yield _Client()
