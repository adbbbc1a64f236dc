"""Celery: prefork, JSON, no results."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from celery import Celery

from bench.measured.sender import BlockingSender
from bench.measured.work import ASSIGNMENT
from bench.peers.blocking import JOBS

app = Celery("bench", broker=ASSIGNMENT.redis_url)
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)
if ASSIGNMENT.survives_kill:
    # Source: Celery, Tasks, "acks_late"; Using Redis, "Visibility timeout".
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        broker_transport_options={"visibility_timeout": 30},
    )
tasks = {name: app.task(name=name)(job) for name, job in JOBS.items()}


class _Client:
    def send_blocking(self, task: str, number: int) -> None:
        tasks[task].apply_async((number,))


@asynccontextmanager
async def sender() -> AsyncIterator[BlockingSender]:
    yield _Client()
    app.close()
