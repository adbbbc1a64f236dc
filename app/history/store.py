"""Writing history: a batch of changes in a few statements, whatever its size."""

from collections.abc import Collection, Iterable, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.history.fold import EarlierJob, JobChange, JobRow
from app.history.position import Gap, Position
from app.jobs.serializer import ErrorRecord

# What stands between terms in the one text that they travel in: an array of arrays would have to be rectangular.
_UNIT = "\x1f"

_EARLIER = text("""
    SELECT job.id, task, queue, status, kwargs::text AS kwargs, terms, enqueued_at, root_id, last_event, run_at,
           started_at, finished_at, tries, max_tries, result::text AS result, error_type, error_message,
           error_traceback, worker, retry_of, payload.payload
    FROM tasks.jobs AS job
    LEFT JOIN tasks.payloads AS payload ON payload.job_id = job.id AND job.id = ANY(CAST(:retried AS text[]))
    WHERE job.id = ANY(CAST(:ids AS text[]))
""")
_COLUMNS = (
    ("id", "text"), ("task", "text"), ("queue", "text"), ("status", "text"), ("kwargs", "text"), ("terms", "text"),
    ("enqueued_at", "timestamptz"), ("run_at", "timestamptz"), ("started_at", "timestamptz"),
    ("finished_at", "timestamptz"), ("tries", "integer"), ("max_tries", "integer"), ("result", "text"),
    ("error_type", "text"), ("error_message", "text"), ("error_traceback", "text"), ("worker", "text"),
    ("root_id", "text"), ("retry_of", "text"), ("last_event", "text"),
)  # fmt: skip
_NAMES = ", ".join(name for name, _ in _COLUMNS)
_AS_STORED = {
    "kwargs": "CAST(kwargs AS jsonb)",
    "result": "CAST(result AS jsonb)",
    "terms": f"coalesce(string_to_array(nullif(terms, ''), '{_UNIT}'), '{{}}')",
}
_WRITE_JOBS = text(f"""
    INSERT INTO tasks.jobs ({_NAMES})
    SELECT {", ".join(_AS_STORED.get(name, name) for name, _ in _COLUMNS)}
    FROM unnest({", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in _COLUMNS)}) AS told ({_NAMES})
    ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name, _ in _COLUMNS[1:])}
""")  # noqa: S608 -- constants
_FORGET_ATTEMPTS = text("DELETE FROM tasks.attempts WHERE job_id = ANY(CAST(:ids AS text[]))")
_WRITE_ATTEMPTS = text("""
    INSERT INTO tasks.attempts (job_id, number, job_try, started_at, finished_at, outcome, error_type, error_message,
                                error_traceback, worker)
    SELECT job_id, number, job_try, to_timestamp(started_ms / 1000.0), to_timestamp(finished_ms / 1000.0), outcome,
           error_type, error_message, error_traceback, worker
    FROM unnest(CAST(:ids AS text[]), CAST(:numbers AS integer[]), CAST(:tries AS integer[]),
                CAST(:started AS bigint[]), CAST(:finished AS bigint[]), CAST(:outcomes AS text[]),
                CAST(:types AS text[]), CAST(:messages AS text[]), CAST(:tracebacks AS text[]),
                CAST(:workers AS text[]))
         AS told (job_id, number, job_try, started_ms, finished_ms, outcome, error_type, error_message,
                  error_traceback, worker)
    ON CONFLICT (job_id, number) DO UPDATE
    SET job_try = excluded.job_try, started_at = excluded.started_at, finished_at = excluded.finished_at,
        outcome = excluded.outcome, error_type = excluded.error_type, error_message = excluded.error_message,
        error_traceback = excluded.error_traceback, worker = excluded.worker
""")
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
    values = {name: fields[name] for name, _ in _COLUMNS if not name.startswith("error_")}
    error = None
    if fields["error_type"] is not None:
        error = ErrorRecord(fields["error_type"], fields["error_message"], fields["error_traceback"])
    return EarlierJob(JobRow(**values, error=error), fields["payload"])


async def write_changes(session: AsyncSession, changes: Sequence[JobChange]) -> None:
    """Writes rows, attempts and payloads of the jobs."""
    if not changes:
        return
    # In one order for all, as for everybody who locks several rows.
    ordered = sorted(changes, key=lambda change: change.row.id)
    await session.execute(_WRITE_JOBS, _job_columns([change.row for change in ordered]))
    if new := [change.row.id for change in ordered if change.is_new]:
        await session.execute(_FORGET_ATTEMPTS, {"ids": new})
    if any(change.attempts for change in ordered):
        await session.execute(_WRITE_ATTEMPTS, _attempt_columns(ordered))
    if gone := [change.row.id for change in ordered if change.is_new or not change.keeps_payload]:
        await session.execute(_DROP_PAYLOADS, {"ids": gone})
    kept = [change for change in ordered if change.payload is not None]
    if kept:
        payloads = {"ids": [change.row.id for change in kept], "payloads": [change.payload for change in kept]}
        await session.execute(_WRITE_PAYLOADS, payloads)


def _job_columns(rows: Sequence[JobRow]) -> dict[str, list[Any]]:
    """Each column's values, row by row."""
    errors = [row.error for row in rows]
    plain = [name for name, _ in _COLUMNS if name != "terms" and not name.startswith("error_")]
    return {
        **{name: list(map(attrgetter(name), rows)) for name in plain},
        "terms": [_UNIT.join(row.terms) for row in rows],
        "error_type": [error and error.type for error in errors],
        "error_message": [error and error.message for error in errors],
        "error_traceback": [error and error.traceback for error in errors],
    }


def _attempt_columns(changes: Iterable[JobChange]) -> dict[str, list[Any]]:
    told = [
        (change.row.id, number, attempt)
        for change in changes
        for number, attempt in enumerate(change.attempts, start=1)
    ]
    errors = [attempt.error for _, _, attempt in told]
    return {
        "ids": [job_id for job_id, _, _ in told],
        "numbers": [number for _, number, _ in told],
        "tries": [attempt.job_try for _, _, attempt in told],
        "started": [attempt.started_ms for _, _, attempt in told],
        "finished": [attempt.finished_ms for _, _, attempt in told],
        "outcomes": [attempt.outcome.value for _, _, attempt in told],
        "types": [error and error.type for error in errors],
        "messages": [error and error.message for error in errors],
        "tracebacks": [error and error.traceback for error in errors],
        "workers": [attempt.worker for _, _, attempt in told],
    }
