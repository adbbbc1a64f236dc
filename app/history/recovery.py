"""Putting failures on record that the stream of events did not bring, as where it was cut off: from their results."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.db.engine import Database, is_passing
from app.db.leases import Lease
from app.history.fold import Fold
from app.history.projector import FailedHook, Projector
from app.history.store import write_changes
from app.jobs.events import Event, EventStream, FailedJob
from app.jobs.store import batches
from app.jobs.task import TaskRegistry

log = structlog.stdlib.get_logger(__name__)

# Redis dates failures by its clock and workers by theirs. An id that is used again fails an hour later at the earliest.
CLOCKS_DIFFER = timedelta(minutes=10)
MOST_JOBS_A_LOOK = 1_000

_FAILED_ON_RECORD = text("""
    SELECT id, enqueued_at, finished_at FROM tasks.jobs
    WHERE id = ANY(CAST(:ids AS text[])) AND status = 'failed'
""")


class FailureRecovery:
    """Finds failures that Redis knows and history does not. `on_failed` is as a projector's.

    Raises DatabaseUnavailable, and what Redis raises.
    """

    def __init__(self, database: Database, tasks: TaskRegistry, stream: EventStream, on_failed: FailedHook) -> None:
        self._database = database
        self._tasks = tasks
        self._stream = stream
        self._on_failed = on_failed
        # It is never elected: it only catches up.
        self._projector = Projector(database, stream, tasks, Lease(database, Projector.name, "recovery"), on_failed)

    async def recover(self, ids: Sequence[str] | None = None) -> int:
        """Puts on record what the stream tells, and then the failures that it did not tell, of these jobs or of all.

        Returns how many of the latter there were.
        """
        # Asked before: of what fails from now on the stream may still have to tell.
        if ids is None:
            failed = await self._all_failed()
        else:
            failed = [(job.id, job.at_ms) for job in await self._stream.failed(ids)]
        await self._projector.catch_up()
        recovered = 0
        for batch in batches(failed):
            untold = await self._untold(dict(batch))
            recovered += await self._record(untold)
        return recovered

    async def _all_failed(self) -> list[tuple[str, int]]:
        failed: list[tuple[str, int]] = []
        while page := await self._stream.failed_jobs(2**53, skip=len(failed), most=MOST_JOBS_A_LOOK):
            failed += page
        return failed

    async def _untold(self, failed_ms: Mapping[str, int]) -> list[FailedJob]:
        async with self._database.autocommit() as connection:
            rows = (await connection.execute(_FAILED_ON_RECORD, {"ids": list(failed_ms)})).all()
        # Hardly any payload is read: most failures are on record.
        told = {row.id for row in rows if _is_at(row.finished_at, failed_ms[row.id])}
        enqueued = {row.id: round(row.enqueued_at.timestamp() * 1000) for row in rows}
        doubtful = await self._stream.failed([job_id for job_id in failed_ms if job_id not in told])
        return [job for job in doubtful if job.id not in enqueued or job.enqueued_ms not in (None, enqueued[job.id])]

    async def _record(self, failed: Sequence[FailedJob]) -> int:
        if not failed:
            return 0
        try:
            await record_failures(self._database, self._tasks, failed, self._on_failed)
        except DBAPIError as error:
            if is_passing(error):
                raise
            if len(failed) > 1:
                return sum([await self._record([job]) for job in failed])
            # Without a traceback, which may repeat arguments. Redis keeps the job.
            reason = type(error.orig).__name__
            log.error("history.failure_refused", job_id=failed[0].id, error=reason)  # noqa: TRY400
            return 0
        return len(failed)


def _is_at(finished_at: datetime | None, failed_ms: int) -> bool:
    return finished_at is not None and abs(finished_at.timestamp() - failed_ms / 1000) < CLOCKS_DIFFER.total_seconds()


async def record_failures(
    database: Database, tasks: TaskRegistry, failed: Sequence[FailedJob], on_failed: FailedHook
) -> None:
    """Writes what Redis tells of failed jobs. For those that the stream will not tell of any more.

    `on_failed` is as a projector's. Raises DatabaseUnavailable.
    """
    fold = Fold(tasks)
    for job in failed:
        told = [(job.id.encode(), b"fail " + job.result)]
        fold.add(Event(f"{job.at_ms}-0", "ended", job.at_ms, by="", queue="", jobs=told))
    changes = sorted(fold.changes({}), key=lambda change: change.row.id)
    async with database.session() as session:
        await write_changes(session, changes)
        await on_failed(session, [change.row.id for change in changes])
