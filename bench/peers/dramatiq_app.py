"""dramatiq: threads in processes, JSON, no results."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.measured.sender import BlockingSender
from bench.measured.work import ASSIGNMENT
from bench.peers.blocking import JOBS

broker = RedisBroker(url=ASSIGNMENT.redis_url)
dramatiq.set_broker(broker)
actors = {name: dramatiq.actor(job, actor_name=name) for name, job in JOBS.items()}


class _Client:
    def send_blocking(self, task: str, number: int) -> None:
        actors[task].send(number)


@asynccontextmanager
async def sender() -> AsyncIterator[BlockingSender]:
    yield _Client()
    broker.close()
