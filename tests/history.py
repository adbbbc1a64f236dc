"""History under test: a database, the stream, and a projector that is told when to look."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from app.db.engine import Database
from app.db.leases import Lease
from app.history.projector import FailedHook, Projector
from app.history.reader import HistoryReader
from app.jobs.events import EventStream
from app.jobs.lookup import JobRecord
from app.jobs.pool import JobPool


@dataclass
class History:
    """What the tests of history work with."""

    pool: JobPool
    database: Database
    stream: EventStream
    reader: HistoryReader

    def projector(
        self, holder: str = "test", on_failed: FailedHook | None = None, *, most_events: int = 100
    ) -> Projector:
        lease = Lease(self.database, Projector.name, holder)
        return Projector(self.database, self.stream, self.pool.tasks, lease, on_failed, most_events=most_events)

    async def job(self, job_id: str) -> JobRecord:
        record = await self.reader.find(job_id)
        assert record is not None, f"history knows no job {job_id}"
        return record

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        async with self.database.session() as session:
            return [tuple(row) for row in await session.execute(text(query))]

    async def execute(self, statement: str) -> None:
        async with self.database.session() as session:
            await session.execute(text(statement))


@asynccontextmanager
async def open_history(pool: JobPool, database_url: str) -> AsyncIterator[History]:
    database = Database(database_url, application_name="indostar test", pool_size=4)
    stream = EventStream(pool.connection_pool)
    try:
        yield History(pool, database, stream, HistoryReader(database))
    finally:
        await stream.aclose()
        await database.close()
