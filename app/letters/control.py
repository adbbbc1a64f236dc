"""What operators do with dead letters: run them again, one or many, and discard them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID, uuid5

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.engine import Database
from app.history.reader import JobFilter
from app.jobs.context import Resources
from app.jobs.events import EventStream
from app.jobs.lookup import JobState
from app.jobs.payload import Payload, why_unfit
from app.jobs.pool import JobPool, NewJob
from app.jobs.queues import queue_by_key
from app.jobs.serializer import serialize
from app.letters import store
from app.letters.discarding import Discards
from app.letters.finding import MOST_LETTERS, LetterFinder
from app.letters.letter import BulkDiscard, BulkRerun, LeftOut, Letter, NotALetter, Rerun, Tell, untold
from app.letters.planning import Plan, plan_reruns, why_closed
from app.letters.successor import Successors
from app.outbox import reruns
from app.outbox.reruns import RowOfRerun

log = structlog.stdlib.get_logger(__name__)

# Names of jobs that run again without the outbox are made from this and the job that they replace.
RERUNS = UUID("6a0c3c0e-5d3a-4c0b-9d5e-0f2f7c7e4b1d")


class DeadLetters:
    """Runs failed jobs again and discards them, each once however often it is asked for.

    A job that runs in the place of another goes through the outbox: there is one exactly when the letter is closed,
    whatever becomes of Redis. One with secret arguments, which PostgreSQL must not have, goes straight to its queue.
    Raises DatabaseUnavailable, and what Redis raises where only Redis has what is needed.
    """

    def __init__(
        self,
        database: Database,
        pool: JobPool,
        stream: EventStream,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._pool = pool
        self._tasks = pool.tasks
        self._clock = clock
        self._resources = Resources([database])
        self._finder = LetterFinder(database, pool.tasks, stream)
        self._successors = Successors(database, pool)
        self._discards = Discards(database, pool, self._finder, clock)

    async def rerun(self, job_id: str, *, by: str, resend: bool = False) -> Rerun:
        """The job that runs in its place, and what that can still do; the same one however often it is asked for.

        `resend` begins a new line: messages that were sent are sent again. Raises NotALetter.
        """
        letter = await self._finder.find(job_id)
        [rerun] = await self._rerun([letter], by, resend=resend)
        if rerun.new_id is None:
            raise NotALetter(job_id, rerun.left_out or LeftOut.NOT_FAILED)
        # Pressed twice: its answer is about the job that there is.
        return await self._successors.look(rerun) if rerun.left_out is LeftOut.RETRIED_BEFORE else rerun

    async def look(self, job_id: str) -> Rerun:
        """What running it again would come to, without doing it. Raises NotALetter for a job that nobody knows."""
        letter = await self._finder.find(job_id)
        [rerun] = await self._rerun([letter], by="", dry_run=True)
        return rerun

    async def rerun_many(self, wanted: JobFilter, *, by: str, dry_run: bool = False, tell: Tell = untold) -> BulkRerun:
        """Runs again what failed of the jobs that meet the filter, page by page, the oldest first.

        Without a status in the filter those that failed are meant. A dry run changes nothing and tells the same.
        """
        await self._finder.catch_up()
        # Those that are enqueued here may fail before it is through.
        until = await self._finder.time()
        bulk = BulkRerun()
        if wanted.status not in (None, JobState.FAILED):
            async with self._database.session() as session:
                bulk.matched = await store.count(session, wanted, until)
            bulk.left_out[LeftOut.NOT_FAILED] = bulk.matched
            tell(bulk.retried, bulk.matched)
            return bulk
        wanted = replace(wanted, status=JobState.FAILED)
        async for letters in self._finder.pages(wanted, until):
            bulk.add(await self._rerun(letters, by, dry_run=dry_run))
            tell(bulk.retried, bulk.matched)
        return bulk

    async def rerun_these(
        self, ids: Sequence[str], *, by: str, dry_run: bool = False, tell: Tell = untold
    ) -> BulkRerun:
        """Runs again what failed of these jobs. Those that nobody knows are left out, too."""
        await self._finder.catch_up()
        bulk = BulkRerun()
        for start in range(0, len(ids), MOST_LETTERS):
            # Each once, in their order.
            batch = list(dict.fromkeys(ids[start : start + MOST_LETTERS]))
            async with self._database.session() as session:
                known = await store.by_ids(session, batch)
            bulk.add([Rerun(job_id, None, left_out=LeftOut.NO_SUCH_JOB) for job_id in batch if job_id not in known])
            bulk.add(await self._rerun([known[job_id] for job_id in batch if job_id in known], by, dry_run=dry_run))
            tell(bulk.retried, bulk.matched)
        return bulk

    async def discard(self, job_id: str, *, by: str) -> None:
        """Drops a failed job's payload for good, or ends one that waits. Twice changes nothing. Raises NotALetter."""
        await self._discards.discard(job_id, by=by)

    async def discard_many(
        self, wanted: JobFilter, *, by: str, dry_run: bool = False, tell: Tell = untold
    ) -> BulkDiscard:
        """Discards what failed of the jobs that meet the filter, or what waits if its status says so."""
        return await self._discards.discard_many(wanted, by=by, dry_run=dry_run, tell=tell)

    async def discard_these(
        self, ids: Sequence[str], *, by: str, dry_run: bool = False, tell: Tell = untold
    ) -> BulkDiscard:
        """Discards what waits or failed of these jobs. Those that nobody knows are left out, too."""
        return await self._discards.discard_these(ids, by=by, dry_run=dry_run, tell=tell)

    async def _rerun(
        self, letters: Sequence[Letter], by: str, *, resend: bool = False, dry_run: bool = False
    ) -> list[Rerun]:
        payloads = await self._payloads(letters)
        plans = await plan_reruns(self._tasks, self._resources, letters, payloads, resend=resend)
        new_ids: dict[str, str] = {}
        if not dry_run:
            safe: list[Plan] = []
            secret: list[Plan] = []
            for plan in plans:
                if plan.left_out is None:
                    (safe if self._may_enter_postgres(plan) else secret).append(plan)
            new_ids |= await self._rerun_by_outbox(safe, by, resend=resend)
            new_ids |= await self._rerun_directly(secret, by, resend=resend)
            await self._finder.drop_from_redis([plan.letter for plan in safe + secret])
        for plan in plans:
            if plan.letter.closed is not None and plan.letter.closed.retried_as is not None:
                new_ids[plan.letter.id] = plan.letter.closed.retried_as
        return [plan.outcome(new_ids.get(plan.letter.id)) for plan in plans]

    async def _payloads(self, letters: Sequence[Letter]) -> dict[str, bytes]:
        """What there is to run again of those that are open: in history, in Redis, or in the outbox."""
        wanted = [letter for letter in letters if why_closed(letter) is None]
        payloads = {letter.id: letter.payload for letter in wanted if letter.payload is not None}
        if missing := [letter for letter in wanted if letter.id not in payloads]:
            failed = await self._finder.in_redis(missing)
            payloads |= {job.id: job.payload for job in failed if job.payload is not None}
        if missing := [letter for letter in wanted if letter.id not in payloads]:
            async with self._database.session() as session:
                rows = await reruns.arguments(session, [letter.id for letter in missing])
            for letter in missing:
                if (row := rows.get(letter.id)) is not None:
                    payloads[letter.id] = Payload.of_json(letter.task, row.kwargs, letter.enqueued_ms, queue=row.queue)
        return payloads

    def _may_enter_postgres(self, plan: Plan) -> bool:
        return not self._tasks[plan.letter.task].secret and why_unfit(serialize(plan.kwargs)) is None

    async def _rerun_by_outbox(self, plans: Sequence[Plan], by: str, *, resend: bool) -> Mapping[str, str]:
        """The new jobs' ids. Those that somebody else closed meanwhile are left out from now on."""
        if not plans:
            return {}
        async with self._database.session() as session:
            ours = await self._lock_open(session, plans)
            if not ours:
                return {}
            rows = [
                RowOfRerun(
                    task=plan.letter.task,
                    kwargs=serialize(plan.kwargs).decode(),
                    queue=plan.queue,
                    root=None if resend else plan.letter.root_id,
                    retry_of=plan.letter.id,
                )
                for plan in ours
            ]
            new_ids = await reruns.add(session, rows)
            await store.close(session, [plan.letter for plan in ours], "retried", by, new_ids)
        for plan in ours:
            self._tell(plan, by, new_ids)
        return new_ids

    async def _rerun_directly(self, plans: Sequence[Plan], by: str, *, resend: bool) -> Mapping[str, str]:
        """The same where PostgreSQL must not have the arguments.

        The id is made of the old job's: a crash before that one is closed enqueues nothing twice.
        """
        if not plans:
            return {}
        new_ids = {plan.letter.id: uuid5(RERUNS, f"{plan.letter.id} {plan.letter.enqueued_ms}").hex for plan in plans}
        now_ms = int(self._clock() * 1000)
        jobs = []
        for plan in plans:
            letter, new_id = plan.letter, new_ids[plan.letter.id]
            root = new_id if resend else letter.root_id
            payload = Payload(
                letter.task, now_ms, kwargs=plan.kwargs, queue=plan.queue, root=root, retry_of=letter.id
            ).to_bytes()
            queue = self._tasks[letter.task].queue if plan.queue is None else queue_by_key(plan.queue)
            jobs.append(NewJob(new_id, queue, payload, ""))
        await self._pool.send(jobs)
        async with self._database.session() as session:
            ours = await self._lock_open(session, plans)
            await store.close(session, [plan.letter for plan in ours], "retried", by, new_ids)
        for plan in ours:
            self._tell(plan, by, new_ids)
        return {plan.letter.id: new_ids[plan.letter.id] for plan in ours}

    async def _lock_open(self, session: AsyncSession, plans: Sequence[Plan]) -> list[Plan]:
        current = await store.lock_open(session, [plan.letter for plan in plans])
        ours = []
        for plan in plans:
            letter = current.get(plan.letter.id)
            if letter is None or letter.enqueued_at != plan.letter.enqueued_at:
                # Of that id history has another job by now.
                plan.left_out = LeftOut.NO_SUCH_JOB
                continue
            plan.letter, plan.left_out = letter, why_closed(letter)
            if plan.left_out is None:
                ours.append(plan)
        return ours

    def _tell(self, plan: Plan, by: str, new_ids: Mapping[str, str]) -> None:
        letter = plan.letter
        log.info("letter.retried", job_id=letter.id, task=letter.task, retried_as=new_ids[letter.id], by=by)
