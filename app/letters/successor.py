"""What a job that runs in a dead letter's place can still do."""

from dataclasses import replace

from app.db.engine import Database
from app.errors import Refused
from app.jobs.context import Resources
from app.jobs.effects import PastJob
from app.jobs.lookup import named_arguments
from app.jobs.outage import REDIS_DOWN
from app.jobs.payload import Payload
from app.jobs.pool import JobPool
from app.jobs.queues import PAYLOAD, RESULT
from app.letters.letter import Rerun
from app.outbox import reruns
from app.outbox.store import OutboxStore


class Successors:
    """Looks at jobs that run in the place of others. Raises DatabaseUnavailable."""

    def __init__(self, database: Database, pool: JobPool) -> None:
        self._database = database
        self._pool = pool
        self._rows = OutboxStore(database)
        self._resources = Resources([database])

    async def look(self, rerun: Rerun) -> Rerun:
        """The same with what its job can still do, unless that has ended or can't be read."""
        if rerun.new_id is None or (payload := await self._unfinished(rerun.new_id)) is None:
            return rerun
        tasks = self._pool.tasks
        try:
            record = tasks[payload.task].effects
            job = PastJob(
                payload.root or rerun.new_id, named_arguments(tasks, payload.task, payload.args, payload.kwargs)
            )
        except Refused:
            return rerun
        [effects] = [()] if record is None else await record.of(self._resources, [job])
        return replace(rerun, effects=effects, is_under_way=True)

    async def _unfinished(self, job_id: str) -> Payload | None:
        """What the job is to do; None where it has ended."""
        try:
            has_ended, raw = await self._in_redis(job_id)
        except REDIS_DOWN:
            has_ended, raw = False, None
        if has_ended:
            return None
        if raw is None:
            raw = await self._in_outbox(job_id)
        try:
            return None if raw is None else Payload.from_bytes(raw)
        except Refused:
            return None

    async def _in_redis(self, job_id: str) -> tuple[bool, bytes | None]:
        async with self._pool.pipeline(transaction=True) as pipe:
            pipe.exists(RESULT + job_id)
            pipe.get(PAYLOAD + job_id)
            has_ended, raw = await pipe.execute()
        return bool(has_ended), raw

    async def _in_outbox(self, job_id: str) -> bytes | None:
        rows = reruns.row_ids([job_id])
        if not rows:
            return None
        async with self._database.session() as session:
            found = await self._rows.unfinished_row(session, rows[0])
        if found is None:
            return None
        row, _ = found
        return Payload.of_json(row.task, row.kwargs, row.created_ms, root=row.root, retry_of=row.retry_of)
