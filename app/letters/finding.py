"""Finding dead letters, once all that Redis can tell of failures is on record."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import structlog

from app.db.engine import Database
from app.history.reader import JobFilter
from app.history.recovery import FailureRecovery
from app.jobs.events import EventStream, FailedJob
from app.jobs.lookup import JobState
from app.jobs.outage import REDIS_DOWN
from app.jobs.task import TaskRegistry
from app.letters import store
from app.letters.letter import LeftOut, Letter, NotALetter
from app.outbox import reruns

log = structlog.stdlib.get_logger(__name__)

# What one transaction closes: it holds the rows of all of them.
MOST_LETTERS = 200


class LetterFinder:
    """Reads letters from history, and what Redis still has of them.

    Raises DatabaseUnavailable, and what Redis raises where only Redis has what is needed.
    """

    def __init__(self, database: Database, tasks: TaskRegistry, stream: EventStream) -> None:
        self._database = database
        self._stream = stream
        self._recovery = FailureRecovery(database, tasks, stream, reruns.end_failed)

    async def find(self, job_id: str) -> Letter:
        """The job as history has it, once all that Redis can tell is on record. Raises NotALetter."""
        letter = await self._on_record(job_id)
        if letter is None or letter.state is not JobState.FAILED:
            await self.catch_up([job_id])
            letter = await self._on_record(job_id)
        if letter is None:
            raise NotALetter(job_id, LeftOut.NO_SUCH_JOB)
        return letter

    async def time(self) -> datetime:
        """The database's clock, by which jobs of the outbox are dated."""
        async with self._database.session() as session:
            return await store.time(session)

    async def pages(self, wanted: JobFilter, until: datetime) -> AsyncIterator[Sequence[Letter]]:
        """The jobs of the filter that were enqueued by then, the oldest first."""
        last: Letter | None = None
        while True:
            async with self._database.session() as session:
                letters = await store.page(session, wanted, until, last, MOST_LETTERS)
            if not letters:
                return
            yield letters
            last = letters[-1]

    async def catch_up(self, ids: Sequence[str] | None = None) -> None:
        """Puts on record all that Redis can tell, or what it can tell of these jobs."""
        await self._recovery.recover(ids)

    async def in_redis(self, letters: Sequence[Letter]) -> list[FailedJob]:
        """What Redis keeps of them, and not of other jobs of the same ids."""
        enqueued = {letter.id: letter.enqueued_ms for letter in letters}
        failed = await self._stream.failed(list(enqueued))
        return [job for job in failed if job.enqueued_ms in (None, enqueued[job.id])]

    async def drop_from_redis(self, letters: Sequence[Letter]) -> None:
        """Drops what Redis keeps of letters that are closed; housekeeping does it later where Redis is away."""
        try:
            failed = await self.in_redis(letters)
            await self._stream.drop_failed([(job.id, job.at_ms) for job in failed])
        except REDIS_DOWN as error:
            log.warning("letter.left_in_redis", letters=len(letters), error=type(error).__name__)

    async def _on_record(self, job_id: str) -> Letter | None:
        async with self._database.session() as session:
            return (await store.by_ids(session, [job_id])).get(job_id)
