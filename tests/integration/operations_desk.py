"""Operations under test, and workers that have nothing to work with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
from sqlalchemy import text

from app.operations import Actor, Operations, Role, open_operations
from app.outbox.relay import OutboxRelay
from app.outbox.reruns import end_failed
from tests.history import open_history
from tests.running import run_burst
from tests.settings import make_settings

ASHA = Actor("asha", Role.OPERATOR, "test")
MAIL: dict[str, Any] = {"to_email": "asha@example.com", "subject": "Hello", "body": "Milk"}
LAST_TRY = 4


@dataclass
class Desk:
    """Operations, and workers that have nothing to work with, so that jobs fail."""

    operations: Operations
    database_url: str
    client: httpx.AsyncClient | None = None

    async def fail(self, *ids: str) -> None:
        """Jobs of `cleanup_expired_carts` that failed and are on record."""
        for job_id in ids:
            await self.operations.pool.enqueue_job(
                "cleanup_expired_carts", days_old=7, _job_id=job_id, _job_try=LAST_TRY
            )
        await self.work()

    async def work(self) -> None:
        """Runs everything that is due, and puts it on record."""
        pool = self.operations.pool
        relay = OutboxRelay(self.operations.database, self.database_url, pool, lease=timedelta(seconds=5))
        await run_burst(pool, companions=[relay])
        await self.record()

    async def record(self) -> None:
        async with open_history(self.operations.pool, self.database_url) as history:
            await history.projector(on_failed=end_failed).catch_up()

    async def audit(self) -> list[tuple[Any, ...]]:
        statement = "SELECT action, object_id, result, details FROM tasks.audit ORDER BY at"
        async with self.operations.database.session() as session:
            return [tuple(row) for row in await session.execute(text(statement))]

    async def actors(self) -> list[tuple[Any, ...]]:
        statement = "SELECT actor, role, source, action FROM tasks.audit ORDER BY at"
        async with self.operations.database.session() as session:
            return [tuple(row) for row in await session.execute(text(statement))]


@asynccontextmanager
async def open_desk(database_url: str, redis_url: str) -> AsyncIterator[Desk]:
    settings = make_settings(database_url=database_url, redis_url=redis_url)
    async with open_operations(settings, application_name="indostar test") as operations:
        yield Desk(operations, database_url)
