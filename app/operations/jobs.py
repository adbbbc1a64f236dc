"""Jobs: find, enqueue, run again, discard, abort."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar

from app.history.masking import masked
from app.history.reader import HistoryReader, JobFilter
from app.jobs.control import AbortAnswer, abort
from app.jobs.lookup import JobRecord, JobState
from app.jobs.pool import JobPool
from app.jobs.queues import RECORDED_ELSEWHERE
from app.letters.control import DeadLetters
from app.letters.letter import LeftOut, NotALetter, Tell, untold
from app.operations.acting import LONGEST_NAME, Acting
from app.operations.actor import Actor, Role
from app.operations.failures import JobHasEnded, JobIdReserved, JobIdTaken, NoSuchJob
from app.operations.finding import JobFinder
from app.operations.views import BulkDiscardView, BulkRetryView, JobPageView, JobView, RetriedJobView

# Ids of one action that its record lists; it counts all of them.
MOST_TOLD = 1_000
ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
# Actions on many jobs, and the word in their details for those to which it was done.
RETRYING = ("jobs.retry", "retried")
DISCARDING = ("jobs.discard", "discarded")

B_co = TypeVar("B_co", covariant=True)


class _InBulk(Protocol[B_co]):
    async def __call__(self, *, dry_run: bool, tell: Tell) -> B_co: ...


class JobOperations:
    """What operators ask of jobs and do with them.

    Raises NoSuchJob, DatabaseUnavailable where PostgreSQL is needed, and what Redis raises.
    """

    def __init__(
        self, pool: JobPool, history: HistoryReader, letters: DeadLetters, finder: JobFinder, acting: Acting
    ) -> None:
        self._pool = pool
        self._history = history
        self._letters = letters
        self._finder = finder
        self._acting = acting

    async def find(self, job_id: str, role: Role) -> JobView:
        """The job with its attempts, as that role may see it."""
        return self._view(await self._found(job_id), role)

    async def page(self, wanted: JobFilter, role: Role, *, limit: int, cursor: str | None = None) -> JobPageView:
        """At most `limit` jobs of the filter, newest first, from where `cursor` says. Raises WrongCursor."""
        page = await self._history.page(wanted, limit=limit, cursor=cursor)
        return JobPageView(items=[self._view(job, role) for job in page.items], next_cursor=page.next_cursor)

    async def enqueue(
        self,
        actor: Actor,
        task: str,
        kwargs: Mapping[str, Any],
        *,
        run_at: datetime | None = None,
        delay: timedelta | None = None,
        job_id: str | None = None,
        queue: str | None = None,
    ) -> JobView:
        """The job, which is on its queue: the task's own, or the one named. Raises UnknownTask, UnknownQueue,
        WrongArguments, JobIdReserved and JobIdTaken."""
        async with self._acting.on(actor, "job.enqueue", "task", task[:LONGEST_NAME], **_when(run_at, delay)) as told:
            arguments = self._pool.tasks[task].arguments.payload((), kwargs)
            told["kwargs"] = dict(masked(self._pool.tasks, task, (), arguments).kwargs)
            if job_id is not None and job_id.startswith(RECORDED_ELSEWHERE):
                raise JobIdReserved(job_id)
            # Redis may have forgotten it.
            if job_id is not None and await self._history.find(job_id) is not None:
                raise JobIdTaken(job_id)
            job = await self._pool.enqueue_job(
                task, _job_id=job_id, _queue_name=queue, _defer_until=run_at, _defer_by=delay, **arguments
            )
            if job is None:
                raise JobIdTaken(job_id or "")
            told["job_id"] = job.job_id
        return await self.find(job.job_id, actor.role)

    async def retry(self, actor: Actor, job_id: str, *, resend: bool = False) -> RetriedJobView:
        """The job that runs in a failed one's place, the same however often it is asked for; `resend` begins anew.

        Raises NotALetter where the job can't be run again, as while it waits or runs.
        """
        async with self._acting.on(actor, "job.retry", "job", job_id, resend=resend) as told:
            try:
                rerun = await self._letters.rerun(job_id, by=actor.name, resend=resend)
            except NotALetter as error:
                raise await self._why_not(error) from None
            told["retried_as"] = rerun.new_id
        # It has just been written; were it over already, history would have it.
        new = await self._found(rerun.new_id or "")
        return RetriedJobView.from_job(self._view(new, actor.role), rerun)

    async def retry_many(
        self, actor: Actor, wanted: JobFilter, *, dry_run: bool = False, tell: Tell = untold
    ) -> BulkRetryView:
        """Runs again what failed of the jobs that meet the filter, the oldest first. A dry run changes nothing."""
        act = partial(self._letters.rerun_many, wanted, by=actor.name)
        bulk = await self._in_bulk(act, actor, RETRYING, {"filter": _told(wanted)}, dry_run=dry_run, tell=tell)
        return BulkRetryView.of(bulk, dry_run=dry_run)

    async def retry_these(
        self, actor: Actor, ids: Sequence[str], *, dry_run: bool = False, tell: Tell = untold
    ) -> BulkRetryView:
        """The same with these jobs; those that nobody knows are left out, too."""
        act = partial(self._letters.rerun_these, ids, by=actor.name)
        bulk = await self._in_bulk(act, actor, RETRYING, {"ids": list(ids[:MOST_TOLD])}, dry_run=dry_run, tell=tell)
        return BulkRetryView.of(bulk, dry_run=dry_run)

    async def discard(self, actor: Actor, job_id: str) -> None:
        """Ends a job that waits, or drops what a failed one was to do. Raises NotALetter, as while it runs."""
        async with self._acting.on(actor, "job.discard", "job", job_id):
            try:
                await self._letters.discard(job_id, by=actor.name)
            except NotALetter as error:
                raise await self._why_not(error) from None

    async def discard_many(
        self, actor: Actor, wanted: JobFilter, *, dry_run: bool = False, tell: Tell = untold
    ) -> BulkDiscardView:
        """Discards what failed of the jobs that meet the filter, or what waits if its status says so."""
        act = partial(self._letters.discard_many, wanted, by=actor.name)
        bulk = await self._in_bulk(act, actor, DISCARDING, {"filter": _told(wanted)}, dry_run=dry_run, tell=tell)
        return BulkDiscardView.of(bulk, dry_run=dry_run)

    async def discard_these(
        self, actor: Actor, ids: Sequence[str], *, dry_run: bool = False, tell: Tell = untold
    ) -> BulkDiscardView:
        """Discards what waits or failed of these jobs; those that nobody knows are left out, too."""
        act = partial(self._letters.discard_these, ids, by=actor.name)
        bulk = await self._in_bulk(act, actor, DISCARDING, {"ids": list(ids[:MOST_TOLD])}, dry_run=dry_run, tell=tell)
        return BulkDiscardView.of(bulk, dry_run=dry_run)

    async def abort(self, actor: Actor, job_id: str) -> JobView:
        """Has the job ended, running or waiting, within a second where a worker lives. Needs no PostgreSQL where Redis
        knows the job. Raises JobHasEnded."""
        async with self._acting.on(actor, "job.abort", "job", job_id):
            answer = await abort(self._pool, job_id)
            if answer is AbortAnswer.ENDED_BEFORE:
                raise JobHasEnded(job_id, None)
            if answer is AbortAnswer.NO_SUCH_JOB:
                await self._abort_unknown(actor, job_id)
        return await self.find(job_id, actor.role)

    async def _in_bulk(
        self,
        act: _InBulk[B_co],
        actor: Actor,
        action: tuple[str, str],
        which: Mapping[str, Any],
        *,
        dry_run: bool,
        tell: Tell,
    ) -> B_co:
        """What it came to. On record is how far it came, page by page: it may be cut off."""
        if dry_run:
            return await act(dry_run=True, tell=tell)
        name, done = action
        details: dict[str, Any] = {**which, "matched": 0, done: 0}
        async with self._acting.on(actor, name, "jobs", **details) as told:

            def put_on_record(count: int, matched: int) -> None:
                told.update({"matched": matched, done: count})
                tell(count, matched)

            return await act(dry_run=False, tell=put_on_record)

    async def _abort_unknown(self, actor: Actor, job_id: str) -> None:
        """One that Redis does not know (any more, or yet)."""
        if await self._finder.in_outbox(job_id) is not None:
            await self._letters.discard(job_id, by=actor.name)
            return
        found = await self._history.find(job_id)
        if found is None:
            raise NoSuchJob(job_id)
        raise JobHasEnded(job_id, found.state if found.state in ENDED else None)

    async def _why_not(self, error: NotALetter) -> Exception:
        """History may not know yet what Redis does."""
        if error.reason is not LeftOut.NO_SUCH_JOB:
            return error
        if await self._finder.find(error.job_id) is None:
            return NoSuchJob(error.job_id)
        return NotALetter(error.job_id, LeftOut.NOT_FAILED)

    async def _found(self, job_id: str) -> JobRecord:
        job = await self._finder.find(job_id)
        if job is None:
            raise NoSuchJob(job_id)
        return job

    def _view(self, job: JobRecord, role: Role) -> JobView:
        return JobView.of(job, self._pool.tasks, role)


def _when(run_at: datetime | None, delay: timedelta | None) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if run_at is not None:
        told["run_at"] = run_at.isoformat()
    if delay is not None:
        told["delay_seconds"] = delay.total_seconds()
    return told


def _told(wanted: JobFilter) -> dict[str, Any]:
    told = {name: value for name, value in asdict(wanted).items() if value is not None}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in told.items()}
