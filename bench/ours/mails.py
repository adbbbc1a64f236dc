"""Jobs of the shop's real mail task."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from app.jobs.pool import JobPool
from app.tasks import TASKS
from app.tasks.notifications import send_email_task
from bench.measured.sender import Sender
from bench.measured.work import ASSIGNMENT, SUBJECT, TEXT

ARGUMENTS = {"to_email": "asha@example.com", "subject": SUBJECT, "body": TEXT}


class _Client:
    def __init__(self, pool: JobPool) -> None:
        self._pool = pool

    async def send(self, task: str, number: int) -> None:
        await self.send_many(task, [number])

    async def send_many(self, _task: str, numbers: Sequence[int]) -> None:
        await self._pool.enqueue_many(send_email_task.name, [ARGUMENTS for _ in numbers])


@asynccontextmanager
async def sender() -> AsyncIterator[Sender]:
    pool = JobPool.from_dsn(ASSIGNMENT.redis_url, TASKS)
    yield _Client(pool)
    await pool.aclose()
