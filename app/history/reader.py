"""Reading history: a job by its id, and jobs newest first, page by page."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Row, and_, or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database
from app.db.history import HistoryAttempt, HistoryJob, HistoryPayload
from app.errors import Refused
from app.history.masking import storable
from app.jobs.lookup import JobRecord, JobState
from app.jobs.memory import Attempt, AttemptOutcome
from app.jobs.queues import Queue
from app.jobs.serializer import ErrorRecord, deserialize_value

MOST_JOBS_A_PAGE = 200
# A hundred times what a page takes.
ANSWER_WITHIN = timedelta(seconds=5)
SEAL_BYTES = 9


class WrongCursor(Refused):
    """The cursor is none that a page of the same filter gave."""

    def __str__(self) -> str:
        return "this cursor is none that a page with the same filters gave"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """What all jobs of a page have in common.

    `error` is the type of its error. `since` and `until` (exclusive) are about when a job was enqueued. `q` is an id,
    the id that re-runs go back to, or all that a visible argument says, whatever the case.
    """

    status: JobState | None = None
    queue: Queue | None = None
    task: str | None = None
    error: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    q: str | None = None


@dataclass(frozen=True, slots=True)
class JobPage:
    """Jobs, newest first; `next_cursor` is None on the last page."""

    items: list[JobRecord]
    next_cursor: str | None


class HistoryReader:
    """Reads what is on record. Arguments that are not declared visible read "hidden". Raises DatabaseUnavailable.

    A page that takes longer than `within` is given up: others want to read, too.
    """

    def __init__(self, database: Database, within: timedelta = ANSWER_WITHIN) -> None:
        self._database = database
        self._within = within

    async def find(self, job_id: str, *, now: datetime | None = None) -> JobRecord | None:
        """The job with its attempts; None where history knows none."""
        query = select(HistoryJob.__table__).where(HistoryJob.id == storable(job_id))
        async with self._database.autocommit() as connection:
            jobs = (await connection.execute(query)).all()
            records = await _records(connection, jobs, now or datetime.now(UTC))
        return records[0] if records else None

    async def payload(self, job_id: str) -> bytes | None:
        """The payload as it was enqueued, while the job can run or be run again; never one with secret arguments."""
        query = select(HistoryPayload.payload).where(HistoryPayload.job_id == storable(job_id))
        async with self._database.autocommit() as connection:
            payload: bytes | None = await connection.scalar(query)
        return payload

    async def page(
        self, wanted: JobFilter, *, limit: int, cursor: str | None = None, now: datetime | None = None
    ) -> JobPage:
        """At most `limit` of the jobs, from the newest or from where the page before ended. Raises WrongCursor."""
        now = now or datetime.now(UTC)
        limit = max(1, min(limit, MOST_JOBS_A_PAGE))
        source: FromClause = HistoryJob.__table__
        query = select(source).where(*conditions(wanted, now))
        if cursor is not None:
            query = query.where(tuple_(HistoryJob.enqueued_at, HistoryJob.id) < tuple_(*_read_cursor(cursor, wanted)))
        if wanted.q is not None:
            # PostgreSQL takes a rare word for one in two hundred and would look at all jobs, newest first. By itself
            # the condition is looked up in its indexes.
            source = query.cte("found").prefix_with("MATERIALIZED")
            query = select(source)
        query = query.order_by(source.c.enqueued_at.desc(), source.c.id.desc()).limit(limit + 1)
        async with self._database.reading(self._within) as connection:
            jobs = (await connection.execute(query)).all()
            items = await _records(connection, jobs[:limit], now)
        return JobPage(items, _cursor(jobs[limit - 1], wanted) if len(jobs) > limit else None)


def conditions(wanted: JobFilter, now: datetime) -> list[ColumnElement[bool]]:
    """What rows of HistoryJob have to meet."""
    told: list[ColumnElement[bool]] = []
    if wanted.status is JobState.SCHEDULED:
        told += [HistoryJob.status == "queued", HistoryJob.run_at > now]
    elif wanted.status is JobState.QUEUED:
        is_due = or_(HistoryJob.run_at.is_(None), HistoryJob.run_at <= now)
        told += [HistoryJob.status == "queued", is_due]
    elif wanted.status is not None:
        told.append(HistoryJob.status == wanted.status.value)
    if wanted.queue is not None:
        told.append(HistoryJob.queue == wanted.queue.value)
    if wanted.task is not None:
        told.append(HistoryJob.task == wanted.task)
    if wanted.error is not None:
        told.append(HistoryJob.error_type == wanted.error)
    if wanted.since is not None:
        told.append(HistoryJob.enqueued_at >= wanted.since)
    if wanted.until is not None:
        told.append(HistoryJob.enqueued_at < wanted.until)
    if wanted.q is not None:
        is_retry = and_(HistoryJob.root_id == wanted.q, HistoryJob.retry_of.is_not(None))
        # The index leaves out jobs without terms, and wants to be told that none of those is meant.
        is_said = and_(text("tasks.jobs.terms <> '{}'"), HistoryJob.terms.contains([wanted.q.lower()]))
        told.append(or_(HistoryJob.id == wanted.q, is_retry, is_said))
    return told


def _cursor(job: Row[Any], wanted: JobFilter) -> str:
    place = json.dumps([job.enqueued_at.isoformat(), job.id]).encode()
    return base64.urlsafe_b64encode(_seal(place, wanted) + place).decode()


def _read_cursor(cursor: str, wanted: JobFilter) -> tuple[datetime, str]:
    try:
        raw = base64.b64decode(cursor.encode(), altchars=b"-_", validate=True)
    except ValueError as error:
        raise WrongCursor from error
    seal, place = raw[:SEAL_BYTES], raw[SEAL_BYTES:]
    if seal != _seal(place, wanted):
        raise WrongCursor
    enqueued_at, job_id = json.loads(place)
    return datetime.fromisoformat(enqueued_at), job_id


def _seal(place: bytes, wanted: JobFilter) -> bytes:
    """What does not fit a place that was changed, or other filters. No secret: whoever has one may read there."""
    words = [place.decode(errors="replace"), *(str(value) for value in astuple(wanted))]
    return hashlib.blake2b(json.dumps(words).encode(), digest_size=SEAL_BYTES, person=b"jobs of history").digest()


async def _records(connection: AsyncConnection, jobs: Sequence[Row[Any]], now: datetime) -> list[JobRecord]:
    query = (
        select(HistoryAttempt.__table__)
        .where(HistoryAttempt.job_id.in_([job.id for job in jobs]))
        .order_by(HistoryAttempt.job_id, HistoryAttempt.number)
    )
    attempts: dict[str, list[Attempt]] = {job.id: [] for job in jobs}
    for row in (await connection.execute(query)) if jobs else ():
        attempts[row.job_id].append(_attempt(row))
    return [_record(job, attempts[job.id], now) for job in jobs]


def _record(job: Row[Any], attempts: list[Attempt], now: datetime) -> JobRecord:
    state = JobState(job.status)
    if state is JobState.QUEUED and job.run_at is not None and job.run_at > now:
        state = JobState.SCHEDULED
    return JobRecord(
        id=job.id,
        task=job.task,
        queue=Queue(job.queue),
        state=state,
        kwargs=_untagged(job.kwargs),
        enqueued_at=job.enqueued_at,
        run_at=job.run_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        tries=job.tries,
        max_tries=job.max_tries,
        result=_untagged(job.result),
        error=_error(job),
        attempts=attempts,
        retry_of=job.retry_of,
    )


def _untagged(value: Any) -> Any:
    """The value that the serializer wrote: a column holds it in its JSON form."""
    return deserialize_value(json.dumps(value).encode()) if isinstance(value, (dict, list)) else value


def _attempt(row: Row[Any]) -> Attempt:
    return Attempt(
        job_try=row.job_try,
        started_ms=_milliseconds(row.started_at),
        finished_ms=_milliseconds(row.finished_at),
        outcome=AttemptOutcome(row.outcome),
        worker=row.worker,
        error=_error(row),
    )


def _error(of: Any) -> ErrorRecord | None:
    """The error of a job or an attempt."""
    return None if of.error_type is None else ErrorRecord(of.error_type, of.error_message, of.error_traceback)


def _milliseconds(at: datetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1000)
