"""taskiq on Redis, JSON by orjson; its command line runs on uvloop where that is installed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from taskiq.serializers import ORJSONSerializer
from taskiq_redis import ListQueueBroker, RedisStreamBroker

from bench.measured.awaiting import JOBS
from bench.measured.sender import Sender
from bench.measured.work import ASSIGNMENT

# The list is the fastest; what was taken from it is gone with its worker, so the stream is the one against that.
# Source: taskiq-redis, README, "Broker configuration".
kind = RedisStreamBroker if ASSIGNMENT.survives_kill else ListQueueBroker
broker = kind(ASSIGNMENT.redis_url).with_serializer(ORJSONSerializer())
tasks = {name: broker.task(task_name=name)(job) for name, job in JOBS.items()}


class _Client:
    async def send(self, task: str, number: int) -> None:
        await tasks[task].kiq(number)


@asynccontextmanager
async def sender() -> AsyncIterator[Sender]:
    await broker.startup()
    yield _Client()
    await broker.shutdown()
