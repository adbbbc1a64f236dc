"""Discarding jobs: those that wait are ended, those that failed lose their payload."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import structlog

from app.db.engine import Database
from app.history.reader import JobFilter
from app.jobs.discarding import DiscardAnswer, discard_waiting
from app.jobs.lookup import JobState
from app.jobs.outage import REDIS_DOWN
from app.jobs.pool import JobPool
from app.letters import store
from app.letters.finding import MOST_LETTERS, LetterFinder
from app.letters.letter import BulkDiscard, LeftOut, Letter, NotALetter, Tell
from app.letters.planning import why_closed
from app.outbox import reruns
from app.outbox.handover import Handover
from app.outbox.store import OutboxStore

log = structlog.stdlib.get_logger(__name__)

WAITING = frozenset({JobState.QUEUED, JobState.SCHEDULED, JobState.RETRYING})
NOT_WAITING = frozenset({LeftOut.ENDED, LeftOut.NO_SUCH_JOB})
# Long enough that no worker takes up a job on its way to its end.
OUT_OF_REACH = timedelta(minutes=1)

_REASONS: Mapping[DiscardAnswer, LeftOut | None] = {
    DiscardAnswer.DISCARDED: None,
    DiscardAnswer.RUNNING: LeftOut.RUNNING,
    DiscardAnswer.ENDED_BEFORE: LeftOut.ENDED,
    DiscardAnswer.NO_SUCH_JOB: LeftOut.NO_SUCH_JOB,
}


class Discards:
    """Discards one job or many. Raises DatabaseUnavailable, and what Redis raises where the job is known there only."""

    def __init__(self, database: Database, pool: JobPool, finder: LetterFinder, clock: Callable[[], float]) -> None:
        self._database = database
        self._pool = pool
        self._finder = finder
        self._clock = clock
        self._rows = OutboxStore(database)
        self._handover = Handover(pool)

    async def discard(self, job_id: str, *, by: str) -> None:
        """Ends the job where it waits; where it failed, its payload goes and its record says who did it.

        Twice changes nothing. Raises NotALetter, as while the job runs.
        """
        try:
            answer = await self._end_waiting(job_id)
        except REDIS_DOWN:
            # A letter that is on record needs no Redis; for any other this is raised again below.
            answer = DiscardAnswer.NO_SUCH_JOB
        if answer is DiscardAnswer.RUNNING:
            raise NotALetter(job_id, LeftOut.RUNNING)
        if answer is DiscardAnswer.DISCARDED:
            log.info("job.discarded", job_id=job_id, by=by)
            return
        letter = await self._finder.find(job_id)
        if letter.state is JobState.CANCELLED:
            return
        [reason] = await self._close([letter], by)
        if reason not in (None, LeftOut.DISCARDED):
            raise NotALetter(job_id, reason)

    async def discard_many(self, wanted: JobFilter, *, by: str, dry_run: bool, tell: Tell) -> BulkDiscard:
        """Discards what failed of the jobs that meet the filter, or what waits if the filter's status says so.

        Page by page, the oldest first; of the outbox, those that were handed to Redis. A dry run changes nothing and
        tells the same.
        """
        await self._finder.catch_up()
        until = await self._finder.time()
        wanted = replace(wanted, status=wanted.status or JobState.FAILED)
        bulk = BulkDiscard()
        async for letters in self._finder.pages(wanted, until):
            if wanted.status in WAITING:
                reasons = [_REASONS[await self._end_waiting(letter.id, dry_run=dry_run)] for letter in letters]
            elif wanted.status is not JobState.FAILED:
                is_running = wanted.status is JobState.RUNNING
                reasons = [LeftOut.RUNNING if is_running else LeftOut.ENDED] * len(letters)
            else:
                reasons = list(map(why_closed, letters)) if dry_run else await self._close(letters, by)
            for reason in reasons:
                bulk.add(reason)
            tell(bulk.discarded, bulk.matched)
        if not dry_run:
            log.info("jobs.discarded", discarded=bulk.discarded, matched=bulk.matched, by=by)
        return bulk

    async def discard_these(self, ids: Sequence[str], *, by: str, dry_run: bool, tell: Tell) -> BulkDiscard:
        """Discards what waits or failed of these jobs, each once. Those that nobody knows are left out, too."""
        await self._finder.catch_up()
        bulk = BulkDiscard()
        ids = list(dict.fromkeys(ids))
        for start in range(0, len(ids), MOST_LETTERS):
            for reason in await self._discard_batch(ids[start : start + MOST_LETTERS], by, dry_run=dry_run):
                bulk.add(reason)
            tell(bulk.discarded, bulk.matched)
        if not dry_run:
            log.info("jobs.discarded", discarded=bulk.discarded, matched=bulk.matched, by=by)
        return bulk

    async def _discard_batch(self, ids: Sequence[str], by: str, *, dry_run: bool) -> list[LeftOut | None]:
        """Why each is not discarded; None for those that are."""
        answers = [await self._end_waiting(job_id, dry_run=dry_run) for job_id in ids]
        reasons = {job_id: _REASONS[answer] for job_id, answer in zip(ids, answers, strict=True)}
        # What neither waits nor runs may be a letter.
        async with self._database.session() as session:
            known = await store.by_ids(session, [job_id for job_id in ids if reasons[job_id] in NOT_WAITING])
        failed = [letter for letter in known.values() if letter.state is JobState.FAILED]
        reasons |= {job_id: LeftOut.ENDED for job_id, letter in known.items() if letter.state is not JobState.FAILED}
        if failed:
            closed = list(map(why_closed, failed)) if dry_run else await self._close(failed, by)
            reasons |= {letter.id: reason for letter, reason in zip(failed, closed, strict=True)}
        return [reasons[job_id] for job_id in ids]

    async def _close(self, letters: Sequence[Letter], by: str) -> list[LeftOut | None]:
        """Why each is not discarded; None for those that are."""
        async with self._database.session() as session:
            current = await store.lock_open(session, letters)
            now = [current.get(letter.id, letter) for letter in letters]
            reasons = [
                # Of that id history may have another job by now.
                why_closed(now) if now.enqueued_at == letter.enqueued_at else LeftOut.NO_SUCH_JOB
                for now, letter in zip(now, letters, strict=True)
            ]
            ours = [letter for letter, reason in zip(now, reasons, strict=True) if reason is None]
            if ours:
                await store.close(session, ours, "discarded", by, {})
        for letter in ours:
            log.info("letter.discarded", job_id=letter.id, task=letter.task, by=by)
        # Those of before, too: Redis may have been away.
        await self._finder.drop_from_redis([letter for letter in now if why_closed(letter) is not LeftOut.NOT_FAILED])
        return reasons

    async def _end_waiting(self, job_id: str, *, dry_run: bool = False) -> DiscardAnswer:
        rows = reruns.row_ids([job_id])
        if not rows:
            return await self._end_in_redis(job_id, dry_run=dry_run)
        # With the row locked no relay hands it over meanwhile.
        async with self._database.session() as session:
            found = await self._rows.unfinished_row(session, rows[0])
            answer = await self._end_in_redis(job_id, dry_run=dry_run)
            if found is None:
                return answer
            row, is_relayed = found
            if answer is DiscardAnswer.NO_SUCH_JOB:
                if is_relayed:
                    # Redis lost it, and a worker may have it. It is enqueued again in a moment.
                    return DiscardAnswer.RUNNING
                if dry_run:
                    return DiscardAnswer.DISCARDED
                # So that its end is told with what it was.
                await self._handover.enqueue([row], delay=OUT_OF_REACH)
                answer = await self._end_in_redis(job_id)
            if answer is DiscardAnswer.DISCARDED and not dry_run:
                await reruns.close(session, [job_id])
        return answer

    async def _end_in_redis(self, job_id: str, *, dry_run: bool = False) -> DiscardAnswer:
        return await discard_waiting(self._pool, job_id, now_ms=int(self._clock() * 1000), dry_run=dry_run)
