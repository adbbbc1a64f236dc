"""Pausing queues: workers hear of it in Redis, PostgreSQL keeps it."""

from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from redis.asyncio.client import Pipeline
from redis.exceptions import WatchError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.engine import Database, DatabaseUnavailable, is_passing
from app.jobs.pool import JobPool
from app.jobs.queues import PAUSED, Queue

log = structlog.stdlib.get_logger(__name__)

# A hash by queue: what was decided last and is not on record yet, as JSON; `by` is None where it was resumed.
UNRECORDED = "indostar:paused:unrecorded"

# One at a time, so that what was decided first never overwrites what was decided last.
_LOCK = text("LOCK TABLE tasks.queue_pauses IN SHARE ROW EXCLUSIVE MODE")
_PAUSE = text("""
    INSERT INTO tasks.queue_pauses (queue, paused_at, paused_by)
    VALUES (:queue, CAST(:at AS timestamptz), :by) ON CONFLICT (queue) DO NOTHING
""")
_RESUME = text("DELETE FROM tasks.queue_pauses WHERE queue = :queue")
_PAUSED = text("SELECT queue FROM tasks.queue_pauses")


class QueuePauses:
    """Pauses and resumes queues, whether PostgreSQL is there or not.

    What is decided holds at once, and waits in Redis until it is on record. Raises what Redis raises; then nothing was
    decided.
    """

    def __init__(self, pool: JobPool, database: Database) -> None:
        self._pool = pool
        self._database = database

    async def pause(self, queue: Queue, *, by: str) -> None:
        """No worker claims from the queue any more; what runs goes on. Pausing twice changes nothing."""
        async with self._pool.pipeline(transaction=True) as pipe:
            pipe.sadd(PAUSED, queue.value)
            await self._decide(pipe, queue, by)

    async def resume(self, queue: Queue) -> None:
        """Workers claim from the queue again, at once."""
        async with self._pool.pipeline(transaction=True) as pipe:
            pipe.srem(PAUSED, queue.value)
            await self._decide(pipe, queue, None)

    async def _decide(self, pipe: Pipeline, queue: Queue, by: str | None) -> None:
        pipe.hset(UNRECORDED, queue.value, orjson.dumps({"at": datetime.now(UTC), "by": by}).decode())
        await pipe.execute()
        try:
            await self.settle()
        except (DatabaseUnavailable, DBAPIError) as error:
            if isinstance(error, DBAPIError) and not is_passing(error):
                raise
            # Every worker looks whether something waits here.
            log.warning("queue.pause_not_on_record", queue=queue.value, paused=by is not None)

    async def settle(self) -> None:
        """Puts on record what was decided, and has Redis say what is on record: all of it, where it forgot.

        Raises DatabaseUnavailable, and what Redis raises.
        """
        while not await self._settle():
            pass

    async def _settle(self) -> bool:
        """False where something else was decided meanwhile."""
        async with self._pool.pipeline(transaction=True) as pipe:
            async with self._database.session() as session:
                await session.execute(_LOCK)
                await pipe.watch(UNRECORDED)
                decided: dict[bytes, bytes] = await pipe.hgetall(UNRECORDED)  # type: ignore[misc]  # redis-py's stub
                for queue, decision in decided.items():
                    await _record(session, queue.decode(), orjson.loads(decision))
                paused = list(await session.scalars(_PAUSED))
            # Only now: until it is on record, nothing else keeps it.
            pipe.multi()  # type: ignore[no-untyped-call]  # redis-py's stub
            pipe.delete(UNRECORDED, PAUSED)
            if paused:
                pipe.sadd(PAUSED, *paused)
            try:
                await pipe.execute()
            except WatchError:
                return False
            return True


async def _record(session: AsyncSession, queue: str, decision: dict[str, Any]) -> None:
    if decision["by"] is None:
        await session.execute(_RESUME, {"queue": queue})
    else:
        at = datetime.fromisoformat(decision["at"])
        await session.execute(_PAUSE, {"queue": queue, "at": at, "by": decision["by"]})
