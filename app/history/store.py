"""Writing history: a batch of changes in a few statements, whatever its size."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Row, TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.history.fold import EarlierJob, JobChange, JobRow, time_of
from app.history.position import Gap, Position
from app.jobs.serializer import ErrorRecord

_EARLIER = text("""
    SELECT job.id, task, queue, status, kwargs::text AS kwargs, terms, enqueued_at, root_id, last_event, run_at,
           started_at, finished_at, tries, max_tries, result::text AS result, error_type, error_message,
           error_traceback, worker, retry_of, payload.payload
    FROM tasks.jobs AS job
    LEFT JOIN tasks.payloads AS payload ON payload.job_id = job.id AND job.id = ANY(CAST(:retried AS text[]))
    WHERE job.id = ANY(CAST(:ids AS text[]))
""")
_COLUMNS = {
    "id": "text", "task": "text", "queue": "text", "status": "text", "kwargs": "jsonb", "terms": "text[]",
    "enqueued_at": "timestamptz", "run_at": "timestamptz", "started_at": "timestamptz", "finished_at": "timestamptz",
    "tries": "integer", "max_tries": "integer", "result": "jsonb", "error_type": "text", "error_message": "text",
    "error_traceback": "text", "worker": "text", "root_id": "text", "retry_of": "text", "last_event": "text",
}  # fmt: skip
_ATTEMPT_COLUMNS = {
    "job_id": "text", "number": "integer", "job_try": "integer", "started_at": "timestamptz",
    "finished_at": "timestamptz", "outcome": "text", "error_type": "text", "error_message": "text",
    "error_traceback": "text", "worker": "text",
}  # fmt: skip


def _upsert(table: str, key: str, columns: Mapping[str, str]) -> TextClause:
    """Writes rows that come as one JSON text: an array of a thousand values costs the worker several times as much."""
    names = ", ".join(columns)
    record = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    changed = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in key.split(", "))
    return text(f"""
        INSERT INTO {table} ({names})
        SELECT {names} FROM json_to_recordset(CAST(CAST(:rows AS text) AS json)) AS told ({record})
        ON CONFLICT ({key}) DO UPDATE SET {changed}
    """)  # noqa: S608 -- constants


_WRITE_JOBS = _upsert("tasks.jobs", "id", _COLUMNS)
_WRITE_ATTEMPTS = _upsert("tasks.attempts", "job_id, number", _ATTEMPT_COLUMNS)
_FORGET_ATTEMPTS = text("DELETE FROM tasks.attempts WHERE job_id = ANY(CAST(:ids AS text[]))")
_DROP_PAYLOADS = text("DELETE FROM tasks.payloads WHERE job_id = ANY(CAST(:ids AS text[]))")
_WRITE_PAYLOADS = text("""
    INSERT INTO tasks.payloads (job_id, payload)
    SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:payloads AS bytea[]))
    ON CONFLICT (job_id) DO NOTHING
""")
_POSITION = text("SELECT generation, last_event, entries FROM tasks.projection WHERE name = :name")
_BEGIN = text("""
    INSERT INTO tasks.projection (name, generation, last_event, entries)
    VALUES (:name, :generation, :last_event, :entries)
    ON CONFLICT (name) DO NOTHING
""")
# Whoever comes second, having read from the same place, changes nothing.
_ADVANCE = text("""
    UPDATE tasks.projection SET generation = :generation, last_event = :last_event, entries = :entries
    WHERE name = :name AND generation = :was_generation AND last_event = :was_event AND entries = :was_entries
""")
_GAP = text("""
    INSERT INTO tasks.history_gaps (after_event, entries, reason) VALUES (:after_event, :entries, :reason)
""")


async def position(session: AsyncSession, name: str) -> Position | None:
    """How far that reader of the stream has come; None where it never read."""
    row = (await session.execute(_POSITION, {"name": name})).first()
    return None if row is None else Position(row.generation, row.last_event, row.entries)


async def advance(session: AsyncSession, name: str, was: Position | None, now: Position) -> bool:
    """Moves that reader on; False where it is not any more where it was, so that nothing may be written."""
    parameters = {
        "name": name, "generation": now.generation, "last_event": now.last_event, "entries": now.entries
    }  # fmt: skip
    if was is None:
        return bool((await session.execute(_BEGIN, parameters)).rowcount)  # type: ignore[attr-defined]  # of a CursorResult
    before = {"was_generation": was.generation, "was_event": was.last_event, "was_entries": was.entries}
    return bool((await session.execute(_ADVANCE, parameters | before)).rowcount)  # type: ignore[attr-defined]


async def write_gap(session: AsyncSession, gap: Gap) -> None:
    parameters = {"after_event": gap.after_event, "entries": gap.entries, "reason": gap.reason.value}
    await session.execute(_GAP, parameters)


async def earlier_jobs(
    session: AsyncSession, ids: Collection[str], with_payload: Collection[str]
) -> dict[str, EarlierJob]:
    """What is on record of these jobs, with the payloads of some."""
    if not ids:
        return {}
    rows = await session.execute(_EARLIER, {"ids": list(ids), "retried": list(with_payload)})
    return {row.id: _earlier(row) for row in rows}


def _earlier(row: Row[Any]) -> EarlierJob:
    fields = row._mapping  # noqa: SLF001 -- public, for all its underscore
    values = {name: fields[name] for name in _COLUMNS if not name.startswith("error_")}
    error = None
    if fields["error_type"] is not None:
        error = ErrorRecord(fields["error_type"], fields["error_message"], fields["error_traceback"])
    return EarlierJob(JobRow(**values, error=error), fields["payload"])


async def write_changes(session: AsyncSession, changes: Sequence[JobChange]) -> None:
    """Writes rows, attempts and payloads of the jobs."""
    if not changes:
        return
    await session.execute(_WRITE_JOBS, {"rows": _as_json([_job_fields(change.row) for change in changes])})
    if new := [change.row.id for change in changes if change.is_new]:
        await session.execute(_FORGET_ATTEMPTS, {"ids": new})
    if attempts := list(_attempt_fields(changes)):
        await session.execute(_WRITE_ATTEMPTS, {"rows": _as_json(attempts)})
    if gone := [change.row.id for change in changes if change.is_new or not change.keeps_payload]:
        await session.execute(_DROP_PAYLOADS, {"ids": gone})
    kept = [change for change in changes if change.payload is not None]
    if kept:
        payloads = {"ids": [change.row.id for change in kept], "payloads": [change.payload for change in kept]}
        await session.execute(_WRITE_PAYLOADS, payloads)


def _as_json(rows: list[dict[str, Any]]) -> str:
    return orjson.dumps(rows).decode()


def _job_fields(row: JobRow) -> dict[str, Any]:
    error = row.error
    return {
        "id": row.id,
        "task": row.task,
        "queue": row.queue,
        "status": row.status,
        "kwargs": orjson.Fragment(row.kwargs),
        "terms": row.terms,
        "enqueued_at": row.enqueued_at,
        "run_at": row.run_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "tries": row.tries,
        "max_tries": row.max_tries,
        "result": None if row.result is None else orjson.Fragment(row.result),
        "error_type": error and error.type,
        "error_message": error and error.message,
        "error_traceback": error and error.traceback,
        "worker": row.worker,
        "root_id": row.root_id,
        "retry_of": row.retry_of,
        "last_event": row.last_event,
    }


def _attempt_fields(changes: Iterable[JobChange]) -> Iterator[dict[str, Any]]:
    for change in changes:
        for number, attempt in enumerate(change.attempts, start=1):
            error = attempt.error
            yield {
                "job_id": change.row.id,
                "number": number,
                "job_try": attempt.job_try,
                "started_at": None if attempt.started_ms is None else time_of(attempt.started_ms),
                "finished_at": None if attempt.finished_ms is None else time_of(attempt.finished_ms),
                "outcome": attempt.outcome.value,
                "error_type": error and error.type,
                "error_message": error and error.message,
                "error_traceback": error and error.traceback,
                "worker": attempt.worker,
            }
