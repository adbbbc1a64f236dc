"""Dead letters in PostgreSQL: reading them, and closing each once."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import DateTime, Select, and_, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.history import HistoryJob, HistoryPayload
from app.db.letters import ClosedLetter, LetterAction
from app.history.reader import JobFilter, conditions
from app.jobs.lookup import JobState
from app.letters.letter import Closed, Letter
from app.outbox import reruns

Letters = Select[HistoryJob, bytes, ClosedLetter]

# History's row is the claim: whoever has it decides what becomes of the letter.
_LOCK = text("""
    SELECT id FROM tasks.jobs WHERE id = ANY(CAST(:ids AS text[])) AND status = 'failed'
    ORDER BY id FOR NO KEY UPDATE
""")
_CLOSE = text("""
    INSERT INTO tasks.closed_letters (job_id, enqueued_at, action, closed_by, retried_as)
    SELECT job_id, enqueued_at, :action, :by, retried_as
    FROM unnest(CAST(:ids AS text[]), CAST(:enqueued_at AS timestamptz[]), CAST(:retried_as AS text[]))
         AS closed (job_id, enqueued_at, retried_as)
    ON CONFLICT (job_id, enqueued_at) DO NOTHING
""")
_DROP_PAYLOADS = text("DELETE FROM tasks.payloads WHERE job_id = ANY(CAST(:ids AS text[]))")


def _letters() -> Letters:
    is_its_end = and_(ClosedLetter.job_id == HistoryJob.id, ClosedLetter.enqueued_at == HistoryJob.enqueued_at)
    return (
        select(HistoryJob, HistoryPayload.payload, ClosedLetter)
        .outerjoin(HistoryPayload, HistoryPayload.job_id == HistoryJob.id)
        .outerjoin(ClosedLetter, is_its_end)
    )


async def time(session: AsyncSession) -> datetime:
    """The database's clock, by which jobs of the outbox are dated."""
    return (await session.scalars(select(func.clock_timestamp(type_=DateTime(timezone=True))))).one()


async def by_ids(session: AsyncSession, ids: Collection[str]) -> Mapping[str, Letter]:
    """Those of the jobs that history knows, whatever their state."""
    return {letter.id: letter for letter in await _read(session, _letters().where(HistoryJob.id.in_(ids)))}


async def page(
    session: AsyncSession, wanted: JobFilter, until: datetime, after: Letter | None, most: int
) -> Sequence[Letter]:
    """The next jobs of the filter that were enqueued by then, the oldest first."""
    query = _letters().where(*conditions(wanted, until), HistoryJob.enqueued_at <= until)
    if after is not None:
        query = query.where(tuple_(HistoryJob.enqueued_at, HistoryJob.id) > tuple_(after.enqueued_at, after.id))
    return await _read(session, query.order_by(HistoryJob.enqueued_at, HistoryJob.id).limit(most))


async def count(session: AsyncSession, wanted: JobFilter, until: datetime) -> int:
    """How many jobs meet the filter and were enqueued by then."""
    query = select(func.count()).select_from(HistoryJob)
    found = await session.scalar(query.where(*conditions(wanted, until), HistoryJob.enqueued_at <= until))
    return found or 0


async def lock_open(session: AsyncSession, letters: Sequence[Letter]) -> Mapping[str, Letter]:
    """Those of the letters that are still open, for this transaction alone, and the others as they are now."""
    ids = [letter.id for letter in letters]
    await session.execute(_LOCK, {"ids": ids})
    # A statement of its own: it sees what was committed while this one waited for the locks.
    return await by_ids(session, ids)


async def close(
    session: AsyncSession, letters: Sequence[Letter], action: LetterAction, by: str, retried_as: Mapping[str, str]
) -> None:
    """Records who did what with them, and drops what PostgreSQL has of their payloads."""
    ids = [letter.id for letter in letters]
    parameters = {
        "ids": ids,
        "enqueued_at": [letter.enqueued_at for letter in letters],
        "retried_as": [retried_as.get(job_id) for job_id in ids],
        "action": action,
        "by": by,
    }
    await session.execute(_CLOSE, parameters)
    await session.execute(_DROP_PAYLOADS, {"ids": ids})
    await reruns.close(session, ids)


async def _read(session: AsyncSession, query: Letters) -> Sequence[Letter]:
    return [
        Letter(
            id=job.id,
            task=job.task,
            state=JobState(job.status),
            enqueued_at=job.enqueued_at,
            root_id=job.root_id,
            payload=payload,
            closed=_closed(closed),
        )
        for job, payload, closed in await session.execute(query)
    ]


def _closed(row: ClosedLetter | None) -> Closed | None:
    return None if row is None else Closed(row.action, row.closed_by, row.closed_at, row.retried_as)
