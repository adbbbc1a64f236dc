"""The outbox's side in Redis: handing jobs over, and hearing which of them have ended or are not known."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import timedelta

from app.jobs.epoch import current_epoch
from app.jobs.failures import UnknownQueue, UnknownTask
from app.jobs.payload import Payload
from app.jobs.pool import JobPool, NewJob
from app.jobs.queues import ENDED, PAYLOAD, RECORDED_ELSEWHERE, RESULT, Queue, queue_by_key
from app.jobs.store import MOST_JOBS_A_SCRIPT
from app.outbox.store import MOST_ROWS, OutboxRow

# Who of all workers does what one is enough for.
TURNS = "indostar:outbox:"


class Handover:
    """Rows of the outbox as jobs; their ids are made of the rows', so that handing one over twice does no harm."""

    def __init__(self, pool: JobPool) -> None:
        self._pool = pool

    async def epoch(self) -> str:
        """The word that lasts as long as what Redis holds."""
        return await current_epoch(self._pool)

    async def enqueue(self, rows: Sequence[OutboxRow], delay: timedelta = timedelta(0)) -> None:
        """Puts them on their queues, to start after `delay` at the earliest; what is there already stays as it is."""
        jobs = [self._job(row, int(delay.total_seconds() * 1000)) for row in rows]
        chunks = (jobs[at : at + MOST_JOBS_A_SCRIPT] for at in range(0, len(jobs), MOST_JOBS_A_SCRIPT))
        await asyncio.gather(*map(self._pool.send, chunks))

    async def unknown(self, ids: Sequence[int]) -> list[int]:
        """Those that Redis knows neither as a job nor as a result. Whether they ended is not asked."""
        async with self._pool.pipeline(transaction=False) as pipe:
            for row_id in ids:
                pipe.exists(f"{PAYLOAD}{_job_id(row_id)}", f"{RESULT}{_job_id(row_id)}")
            known = await pipe.execute()
        return [row_id for row_id, keys in zip(ids, known, strict=True) if not keys]

    async def ended(self) -> list[int]:
        """Some of the jobs that have ended, and not in failure, and are still to be recorded."""
        return [int(raw.removeprefix(RECORDED_ELSEWHERE.encode())) for raw in await self._some_ended()]

    async def _some_ended(self) -> list[bytes]:
        ids: list[bytes] = await self._pool.srandmember(ENDED, MOST_ROWS)  # type: ignore[misc]  # redis-py's stub
        # Anybody may call a job so; only ours have a row.
        strange = [raw for raw in ids if not raw.removeprefix(RECORDED_ELSEWHERE.encode()).isdigit()]
        if strange:
            await self._pool.srem(ENDED, *strange)  # type: ignore[misc]  # redis-py's stub
        return [raw for raw in ids if raw not in strange]

    async def forget_ended(self, ids: Iterable[int]) -> None:
        await self._pool.srem(ENDED, *map(_job_id, ids))  # type: ignore[misc]  # redis-py's stub

    async def takes_turn(self, what: str, every: timedelta) -> bool:
        """Whether this worker is the one to do it now, of all that ask within the time."""
        return bool(await self._pool.set(TURNS + what, b"", nx=True, px=every))

    def is_secret(self, row: OutboxRow) -> bool:
        """Whether its arguments should never have been written; its job fails and says so."""
        try:
            return bool(self._pool.tasks[row.task].secret)
        except UnknownTask:
            return False

    def _job(self, row: OutboxRow, delay_ms: int) -> NewJob:
        own = self._own_queue(row.task)
        try:
            queue = own if row.queue is None else queue_by_key(row.queue)
        except UnknownQueue:
            queue = own
        payload = Payload.of_json(
            row.task,
            "{}" if self.is_secret(row) else row.kwargs,
            row.created_ms,
            queue=None if queue is own else queue.key,
            root=row.root,
            retry_of=row.retry_of,
        )
        due = f"+{delay_ms}" if row.due_ms is None else str(row.due_ms)
        return NewJob(_job_id(row.id), queue, payload, due)

    def _own_queue(self, task: str) -> Queue:
        try:
            return self._pool.tasks[task].queue
        except UnknownTask:
            # Where a worker finds out, too, unless it knows the task already.
            return Queue.DEFAULT


def _job_id(row_id: int) -> str:
    return f"{RECORDED_ELSEWHERE}{row_id}"
