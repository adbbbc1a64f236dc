"""One job, wherever it is known: in Redis, in history, or still in the outbox."""

from datetime import UTC, datetime

from app.db.engine import Database
from app.history.lookup import find_job_or_record
from app.history.reader import HistoryReader
from app.jobs.failures import UnknownQueue, UnknownTask
from app.jobs.lookup import JobRecord, JobState, max_tries
from app.jobs.pool import JobPool
from app.jobs.queues import RECORDED_ELSEWHERE, Queue, queue_by_key
from app.jobs.serializer import deserialize
from app.jobs.task import TaskRegistry
from app.outbox import reruns
from app.outbox.store import OutboxRow, OutboxStore


class JobFinder:
    """Finds jobs. Raises DatabaseUnavailable where only PostgreSQL could tell, and what Redis raises."""

    def __init__(self, pool: JobPool, database: Database, history: HistoryReader) -> None:
        self._pool = pool
        self._database = database
        self._history = history
        self._rows = OutboxStore(database)

    async def find(self, job_id: str) -> JobRecord | None:
        """The job as it stands; None where nobody knows one of that id."""
        return await find_job_or_record(self._pool, self._history, job_id) or await self.in_outbox(job_id)

    async def in_outbox(self, job_id: str) -> JobRecord | None:
        """A job that is written, and that no relay has handed over yet, as if it had been."""
        rows = reruns.row_ids([job_id])
        if not rows:
            return None
        async with self._database.session() as session:
            row = await self._rows.peek(session, rows[0])
        return None if row is None else _as_handed_over(row, self._pool.tasks)


def _as_handed_over(row: OutboxRow, tasks: TaskRegistry) -> JobRecord:
    due = None if row.due_ms is None else datetime.fromtimestamp(row.due_ms / 1000, UTC)
    return JobRecord(
        id=f"{RECORDED_ELSEWHERE}{row.id}",
        task=row.task,
        queue=_queue_of(row, tasks),
        state=JobState.QUEUED if due is None else JobState.SCHEDULED,
        kwargs=deserialize(row.kwargs.encode()),
        enqueued_at=datetime.fromtimestamp(row.created_ms / 1000, UTC),
        run_at=due,
        started_at=None,
        finished_at=None,
        tries=0,
        max_tries=max_tries(tasks, row.task),
        result=None,
        error=None,
        attempts=[],
        retry_of=row.retry_of,
    )


def _queue_of(row: OutboxRow, tasks: TaskRegistry) -> Queue:
    try:
        return tasks[row.task].queue if row.queue is None else queue_by_key(row.queue)
    except (UnknownTask, UnknownQueue):
        return Queue.DEFAULT
