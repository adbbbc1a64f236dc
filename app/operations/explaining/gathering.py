"""Gathering what has to be known of a job, from Redis and PostgreSQL, as far as they can be asked."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.engine import Database, DatabaseUnavailable
from app.db.outbox import OutboxJob
from app.db.schedules import ScheduleRun
from app.history.reader import HistoryReader
from app.jobs.failures import UnknownTask, UnreadablePayload
from app.jobs.limit_store import WAITED_FOR
from app.jobs.lookup import JobRecord, JobState, find_job
from app.jobs.memory import Memory
from app.jobs.outage import REDIS_DOWN
from app.jobs.payload import Payload
from app.jobs.pool import JobPool
from app.jobs.queue_states import QueueState, queue_states
from app.jobs.queues import ABORTS, MEMORY, PAYLOAD, Queue
from app.jobs.registry import WorkerEntry, workers
from app.jobs.task import Task
from app.jobs.wire import Wire
from app.letters import store as letters
from app.letters.control import DeadLetters
from app.letters.letter import Letter, NotALetter, Rerun
from app.operations.actor import Role
from app.operations.explaining.facts import JobFacts, ReplacedBy, RowOfJob, SlotStart
from app.operations.explaining.sentences import explain
from app.operations.explaining.view import ExplainedJob, ExplainedJobView
from app.operations.failures import NoSuchJob
from app.operations.finding import JobFinder
from app.outbox.reruns import row_ids

STARTS = ("job.enqueue", "schedule.run")
ENDS = ("job.abort", "job.discard")
# Around the times that are known of it: clocks differ a little, and a trail of years is long.
_ACTIONS = text("""
    SELECT actor, action FROM tasks.audit
    WHERE result = 'done' AND (
        at BETWEEN CAST(:enqueued_at AS timestamptz) - interval '1 minute'
            AND CAST(:enqueued_at AS timestamptz) + interval '1 minute'
        AND action = ANY(CAST(:starts AS text[])) AND details ->> 'job_id' = :id
        OR at BETWEEN CAST(:ended_at AS timestamptz) - interval '1 minute'
            AND CAST(:ended_at AS timestamptz) + interval '1 minute'
        AND action = ANY(CAST(:ends AS text[])) AND object_id = :id
    )
    ORDER BY at DESC
""")


@dataclass(slots=True)
class _InRedis:
    job: JobRecord | None = None
    queues: Mapping[Queue, QueueState] = field(default_factory=dict)
    workers: Sequence[WorkerEntry] = ()
    limit: str | None = None
    put_off_since: datetime | None = None
    expires_at: datetime | None = None
    abort_asked_at: datetime | None = None


@dataclass(slots=True)
class _InPostgres:
    record: JobRecord | None = None
    unrelayed: JobRecord | None = None
    row: OutboxJob | None = None
    slot: SlotStart | None = None
    actions: Sequence[Row[Any]] = ()
    letter: Letter | None = None
    replaced: Letter | None = None
    successor: Letter | None = None


class Explainer:
    """Explains jobs by what Redis and PostgreSQL know, or by what one of them knows while the other is away."""

    def __init__(
        self, database: Database, pool: JobPool, history: HistoryReader, dead_letters: DeadLetters, finder: JobFinder
    ) -> None:
        self._database = database
        self._pool = pool
        self._history = history
        self._letters = dead_letters
        self._finder = finder
        self._wire = Wire(pool.connection_pool)

    async def aclose(self) -> None:
        await self._wire.aclose()

    async def explained(self, job_id: str, *, now: datetime | None = None) -> ExplainedJob:
        """The job, also while it is only in the outbox.

        Raises NoSuchJob where nobody knows it, and DatabaseUnavailable where Redis is away, too.
        """
        facts = await self._facts(job_id, now or datetime.now(UTC))
        return ExplainedJob(facts.job, explain(facts))

    async def view(self, job_id: str, role: Role) -> ExplainedJobView:
        """The same as it is shown to that role. What errors say is hidden from viewers, here as elsewhere."""
        return ExplainedJobView.explained(await self.explained(job_id), self._pool.tasks, role)

    async def _facts(self, job_id: str, now: datetime) -> JobFacts:
        away: list[str] = []
        in_redis, in_postgres = _InRedis(), _InPostgres()
        try:
            in_redis = await self._ask_redis(job_id)
        except REDIS_DOWN:
            away.append("Redis")
        try:
            in_postgres = await self._ask_postgres(job_id, in_redis.job)
        except (DatabaseUnavailable, SQLAlchemyError):
            if away:
                raise
            away.append("PostgreSQL")
        is_lost = False
        if in_redis.job is None and not away and _lives(in_postgres.record):
            # It may have been enqueued between the two questions.
            in_redis = await self._ask_redis(job_id)
            is_lost = in_redis.job is None
        job = in_redis.job or in_postgres.record or in_postgres.unrelayed
        if job is None:
            raise NoSuchJob(job_id)
        record, row, letter = in_postgres.record, in_postgres.row, in_postgres.letter
        serving = [worker for worker in in_redis.workers if job.queue in worker.queues]
        is_same = record is not None and record.enqueued_at == job.enqueued_at
        closed = letter.closed if letter is not None and letter.enqueued_at == job.enqueued_at else None
        return JobFacts(
            job=job,
            now=now,
            task=self._task(job.task),
            slot=in_postgres.slot,
            enqueued_by=_who(in_postgres.actions, STARTS),
            ended_by=_who(in_postgres.actions, ENDS),
            row=None if row is None else RowOfJob(row.key, row.not_before, row.relayed_at is not None),
            replaced=in_postgres.replaced.closed if in_postgres.replaced is not None else None,
            queue=in_redis.queues.get(job.queue),
            workers=serving,
            runner=next((worker for worker in serving if job_id in worker.running), None),
            limit=in_redis.limit,
            started_at=job.started_at or (record.started_at if record is not None and is_same else None),
            put_off_since=in_redis.put_off_since,
            expires_at=in_redis.expires_at,
            abort_asked_at=in_redis.abort_asked_at,
            closed=closed,
            successor=_successor(closed.retried_as, in_postgres.successor) if closed and closed.retried_as else None,
            rerun=await self._rerun(job) if "PostgreSQL" not in away else None,
            is_lost=is_lost,
            away=away,
        )

    async def _ask_redis(self, job_id: str) -> _InRedis:
        found = _InRedis(
            job=await find_job(self._pool, job_id),
            queues={state.queue: state for state in await queue_states(self._wire)},
            workers=await workers(self._pool),
        )
        if found.job is None:
            return found
        async with self._pool.pipeline() as pipe:
            pipe.mget(PAYLOAD + job_id, MEMORY + job_id)
            pipe.zscore(ABORTS, job_id)
            pipe.smembers(WAITED_FOR)
            (payload, memory), asked_ms, limits = await pipe.execute()
        found.put_off_since = _time(Memory.from_bytes(memory).put_off_since_ms)
        found.abort_asked_at = _time(asked_ms)
        found.expires_at = _time(_expires_ms(payload))
        names = [name.decode(errors="replace") for name in limits]
        async with self._pool.pipeline() as pipe:
            for name in names:
                pipe.zscore(f"indostar:limit:{name}:waiting:{found.job.queue.key}", job_id)
            places = await pipe.execute()
        found.limit = next((name for name, place in zip(names, places, strict=True) if place is not None), None)
        return found

    async def _ask_postgres(self, job_id: str, in_redis: JobRecord | None) -> _InPostgres:
        record = await self._history.find(job_id)
        unrelayed = None if in_redis or record else await self._finder.in_outbox(job_id)
        known_job = in_redis or record or unrelayed
        retry_of = known_job.retry_of if known_job is not None else None
        async with self._database.session() as session:
            row = await _row(session, job_id)
            known = await letters.by_ids(session, [job_id, *filter(None, [retry_of])])
            letter = known.get(job_id)
            closed = letter.closed if letter is not None else None
            successor = closed.retried_as if closed is not None else None
            return _InPostgres(
                record=record,
                actions=await _actions(session, known_job),
                unrelayed=unrelayed,
                row=row,
                slot=None if row is None else await _slot(session, job_id),
                letter=letter,
                replaced=known.get(retry_of) if retry_of is not None else None,
                successor=(await letters.by_ids(session, [successor])).get(successor) if successor else None,
            )

    async def _rerun(self, job: JobRecord) -> Rerun | None:
        """What running it again would come to; None where that can't be told."""
        if job.state is not JobState.FAILED:
            return None
        try:
            return await self._letters.look(job.id)
        except (*REDIS_DOWN, DatabaseUnavailable, SQLAlchemyError, NotALetter):
            return None

    def _task(self, name: str) -> Task[Any, Any] | None:
        try:
            return self._pool.tasks[name]
        except UnknownTask:
            return None


async def _actions(session: AsyncSession, job: JobRecord | None) -> Sequence[Row[Any]]:
    """What operators did to it by hand, the last of it first."""
    if job is None:
        return ()
    parameters = {
        "id": job.id,
        "enqueued_at": job.enqueued_at,
        "ended_at": job.finished_at,
        "starts": list(STARTS),
        "ends": list(ENDS),
    }
    return (await session.execute(_ACTIONS, parameters)).all()


def _who(actions: Sequence[Row[Any]], kinds: Collection[str]) -> str | None:
    return next((action.actor for action in actions if action.action in kinds), None)


def _lives(record: JobRecord | None) -> bool:
    return record is not None and record.finished_at is None


async def _row(session: AsyncSession, job_id: str) -> OutboxJob | None:
    rows = row_ids([job_id])
    return await session.get(OutboxJob, rows[0]) if rows else None


async def _slot(session: AsyncSession, job_id: str) -> SlotStart | None:
    """The slot that started it. What became of slots is a short table."""
    run = await session.scalar(select(ScheduleRun).filter_by(job_id=job_id))
    return None if run is None else SlotStart(run.schedule, run.slot, is_by_hand=run.outcome == "by_hand")


def _successor(job_id: str, letter: Letter | None) -> ReplacedBy:
    return ReplacedBy(job_id, None if letter is None else letter.state)


def _expires_ms(payload: bytes | None) -> int | None:
    try:
        return None if payload is None else Payload.from_bytes(payload).expires_ms
    except UnreadablePayload:
        return None


def _time(ms: float | None) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)
