"""Putting failures on record that the stream of events did not bring, as where it was cut off: from their results."""

from collections.abc import Sequence

from app.db.engine import Database
from app.history.fold import Fold
from app.history.projector import FailedHook
from app.history.store import write_changes
from app.jobs.events import Event, FailedJob
from app.jobs.task import TaskRegistry


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
