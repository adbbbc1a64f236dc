"""The outbox's part in failed jobs: how their rows end, and rows for the jobs that run in their place."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.jobs.queues import RECORDED_ELSEWHERE

# Rows are locked in the order of their ids, as everywhere.
_END_FAILED = text("""
    UPDATE tasks.outbox SET ended_at = now() WHERE id IN (
        SELECT id FROM tasks.outbox WHERE id = ANY(CAST(:ids AS bigint[])) AND ended_at IS NULL
        ORDER BY id FOR UPDATE
    )
""")
_CLOSE = text("""
    UPDATE tasks.outbox SET ended_at = coalesce(ended_at, now()), kwargs = '{}' WHERE id IN (
        SELECT id FROM tasks.outbox WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR UPDATE
    )
""")
_ARGUMENTS = text("SELECT id, kwargs::text AS kwargs, queue FROM tasks.outbox WHERE id = ANY(CAST(:ids AS bigint[]))")
_ADD = text("""
    INSERT INTO tasks.outbox (task, kwargs, queue, root, retry_of)
    SELECT task, CAST(kwargs AS jsonb), queue, root, retry_of
    FROM unnest(CAST(:tasks AS text[]), CAST(:kwargs AS text[]), CAST(:queues AS text[]), CAST(:roots AS text[]),
                CAST(:retry_of AS text[])) AS again (task, kwargs, queue, root, retry_of)
    RETURNING id, retry_of
""")


@dataclass(frozen=True, slots=True)
class RowOfRerun:
    """A row for a job that runs in the place of `retry_of`. `kwargs` is JSON; without a root it begins a new line."""

    task: str
    kwargs: str
    queue: str | None
    root: str | None
    retry_of: str


@dataclass(frozen=True, slots=True)
class RowArguments:
    """What a row's job was to do: `kwargs` is JSON, `queue` the one that was named for it."""

    kwargs: str
    queue: str | None


async def end_failed(session: AsyncSession, job_ids: Collection[str]) -> None:
    """Records that those of the jobs that have rows failed; what they were to do stays there.

    In the transaction that puts the failure on record: were a row ended before, a FLUSHALL in between would lose the
    failure and its payload.
    """
    if rows := row_ids(job_ids):
        await session.execute(_END_FAILED, {"ids": rows})


async def close(session: AsyncSession, job_ids: Collection[str]) -> None:
    """Records that these jobs are done with: nothing of them is left but their rows' keys."""
    if rows := row_ids(job_ids):
        await session.execute(_CLOSE, {"ids": rows})


async def arguments(session: AsyncSession, job_ids: Collection[str]) -> Mapping[str, RowArguments]:
    """What those of the jobs that have rows were to do, by job id."""
    rows = row_ids(job_ids)
    found = await session.execute(_ARGUMENTS, {"ids": rows}) if rows else ()
    return {f"{RECORDED_ELSEWHERE}{row.id}": RowArguments(row.kwargs, row.queue) for row in found}


async def add(session: AsyncSession, reruns: Sequence[RowOfRerun]) -> Mapping[str, str]:
    """The ids of jobs that there are once the session's transaction commits, by the ids of those they replace."""
    parameters = {
        "tasks": [rerun.task for rerun in reruns],
        "kwargs": [rerun.kwargs for rerun in reruns],
        "queues": [rerun.queue for rerun in reruns],
        "roots": [rerun.root for rerun in reruns],
        "retry_of": [rerun.retry_of for rerun in reruns],
    }
    return {row.retry_of: f"{RECORDED_ELSEWHERE}{row.id}" for row in await session.execute(_ADD, parameters)}


def row_ids(job_ids: Collection[str]) -> list[int]:
    """The rows of those jobs that come from the outbox."""
    rest = (job_id.removeprefix(RECORDED_ELSEWHERE) for job_id in job_ids if job_id.startswith(RECORDED_ELSEWHERE))
    # Anybody may call a job so; a bigint has up to nineteen digits.
    return [int(row) for row in rest if row.isascii() and row.isdigit() and len(row) < 19]
