"""Keeping history within its time, and Redis free of what history has."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import structlog
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.db.engine import Database, DatabaseUnavailable
from app.db.leases import Lease
from app.db.retention import MOST_ROWS_A_STATEMENT, PagedDelete, delete_old
from app.history.recovery import FailureRecovery
from app.jobs.events import EventStream

log = structlog.stdlib.get_logger(__name__)

EVERY = timedelta(minutes=10)
# As long as other results: who enqueued a job may still wait for how it ended.
READABLE_IN_REDIS = timedelta(hours=1)

# A failed job is a dead letter until somebody runs it again or discards it, however old; its payload may lie in the
# outbox or in Redis. Of one that is not over nothing can have been heard for so long either: it was lost in a gap.
OLD_JOBS = PagedDelete(
    text("""
    WITH page AS (
        SELECT job.id, job.enqueued_at,
               greatest(job.enqueued_at, job.run_at, job.started_at, job.finished_at) < :before
               AND (job.status <> 'failed' OR EXISTS (
                   SELECT FROM tasks.closed_letters AS closed
                   WHERE closed.job_id = job.id AND closed.enqueued_at = job.enqueued_at)) AS is_over
        FROM tasks.jobs AS job
        WHERE (job.enqueued_at, job.id) > (CAST(:after_time AS timestamptz), CAST(:after_id AS text))
            AND job.enqueued_at < :before
        ORDER BY job.enqueued_at, job.id
        LIMIT :most
    ),
    jobs AS (DELETE FROM tasks.jobs USING page WHERE jobs.id = page.id AND page.is_over RETURNING jobs.id),
    attempts AS (DELETE FROM tasks.attempts USING jobs WHERE attempts.job_id = jobs.id),
    payloads AS (DELETE FROM tasks.payloads USING jobs WHERE payloads.job_id = jobs.id)
    SELECT (SELECT count(*) FROM jobs) AS deleted, enqueued_at AS after_time, id AS after_id
    FROM page ORDER BY enqueued_at DESC, id DESC LIMIT 1
"""),
    {"after_time": datetime(1, 1, 2, tzinfo=UTC), "after_id": ""},
)
_ON_RECORD = text("""
    SELECT job.id FROM tasks.jobs AS job
    WHERE job.id = ANY(CAST(:ids AS text[])) AND job.status = 'failed' AND (
        EXISTS (SELECT FROM tasks.payloads AS payload WHERE payload.job_id = job.id)
        OR EXISTS (SELECT FROM tasks.closed_letters AS closed
                   WHERE closed.job_id = job.id AND closed.enqueued_at = job.enqueued_at))
""")


async def relieve_redis(database: Database, stream: EventStream, failed_before_ms: int) -> int:
    """Drops from Redis what it keeps of failed jobs that are on record with their payloads, or were run again or
    discarded; returns how many."""
    dropped = skipped = 0
    while True:
        failed = await stream.failed_jobs(failed_before_ms, skip=skipped, most=MOST_ROWS_A_STATEMENT)
        if not failed:
            return dropped
        async with database.autocommit() as connection:
            on_record = set(await connection.scalars(_ON_RECORD, {"ids": [job_id for job_id, _ in failed]}))
        gone = await stream.drop_failed([job for job in failed if job[0] in on_record])
        dropped += gone
        skipped += len(failed) - gone


class HistoryHousekeeping:
    """Deletes what is older than `keep`, of history and then of `others`, puts on record the failures that the stream
    of events lost, relieves Redis of those that are, and does the `chores`: in one worker every ten
    minutes, which is the length that `lease` is to have."""

    name = "history housekeeping"

    def __init__(
        self,
        database: Database,
        stream: EventStream,
        lease: Lease,
        keep: timedelta,
        recovery: FailureRecovery,
        others: Sequence[PagedDelete] = (),
        chores: Sequence[Callable[[], Awaitable[None]]] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._stream = stream
        self._lease = lease
        self._keep = keep
        self._recovery = recovery
        self._statements = (OLD_JOBS, *others)
        self._chores = chores
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                if await self._lease.take():
                    await self._keep_house()
            except (DatabaseUnavailable, DBAPIError, RedisError, OSError) as error:
                # The next time is early enough.
                log.warning("history.housekeeping_put_off", error=type(error).__name__)
            await asyncio.sleep(EVERY.total_seconds())

    async def _keep_house(self) -> None:
        now = datetime.fromtimestamp(self._clock(), UTC)
        deleted = 0
        for statement in self._statements:
            deleted += await delete_old(self._database, statement, now - self._keep)
        for chore in self._chores:
            await chore()
        # Before the next step: what is on record leaves Redis.
        recovered = await self._recovery.recover()
        failed_before = now - READABLE_IN_REDIS
        dropped = await relieve_redis(self._database, self._stream, int(failed_before.timestamp() * 1000))
        if deleted or dropped or recovered:
            log.info("history.tidied", deleted=deleted, dropped_from_redis=dropped, recovered=recovered)
