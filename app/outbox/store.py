"""The rows of the outbox, as the relay takes them up and sets them aside."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.engine import Database

MOST_ROWS = 500
# As PostgreSQL stores them, which may be compressed: a batch of the largest rows has to fit into memory.
MOST_BYTES = 16 * 1024 * 1024

_COLUMNS = """
    o.id, o.task, o.kwargs::text AS kwargs, o.queue, o.root, o.retry_of,
    floor(extract(epoch FROM o.created_at) * 1000)::bigint AS created_ms,
    CASE WHEN o.not_before > now() THEN ceil(extract(epoch FROM o.not_before) * 1000)::bigint END AS due_ms
"""
# A minute ahead, so that no clock and no poll makes a job late; what is due later waits here, where it is safe.
# SKIP LOCKED: relays divide the rows among themselves.
_NEXT = text(
    f"""
    WITH next AS MATERIALIZED (
        SELECT id, coalesce(not_before, created_at) AS due, pg_column_size(kwargs) AS size FROM tasks.outbox
        WHERE relayed_at IS NULL AND ended_at IS NULL
            AND coalesce(not_before, created_at) <= now() + interval '1 minute'
        ORDER BY due, id LIMIT :most_rows FOR UPDATE SKIP LOCKED
    ), summed AS (
        SELECT id, due, sum(size) OVER (ORDER BY due, id) - size AS before FROM next
    )
    SELECT {_COLUMNS} FROM summed JOIN tasks.outbox o USING (id)
    WHERE summed.before < :most_bytes ORDER BY summed.due, o.id
    """  # noqa: S608 -- our own columns
)
_RELAYED = text(
    "UPDATE tasks.outbox SET relayed_at = now(), relayed_epoch = :epoch WHERE id = ANY(CAST(:ids AS bigint[]))"
)
_FORGET_ARGUMENTS = text("UPDATE tasks.outbox SET kwargs = '{}' WHERE id = ANY(CAST(:ids AS bigint[]))")
_UNFINISHED = text(
    """
    SELECT id, relayed_epoch IS DISTINCT FROM :epoch FROM tasks.outbox
    WHERE relayed_at IS NOT NULL AND ended_at IS NULL AND id > :after
        AND (relayed_epoch IS DISTINCT FROM :epoch OR relayed_at < now() - interval '1 minute')
    ORDER BY id LIMIT :most_rows
    """
)
_LOCKED = text(
    f"""
    SELECT {_COLUMNS} FROM tasks.outbox o
    WHERE o.id = ANY(CAST(:ids AS bigint[])) AND o.ended_at IS NULL
    ORDER BY o.id FOR UPDATE SKIP LOCKED
    """  # noqa: S608 -- our own columns
)
_UNFINISHED_ROW = text(
    f"""
    SELECT {_COLUMNS}, o.relayed_at IS NOT NULL AS is_relayed FROM tasks.outbox o
    WHERE o.id = :id AND o.ended_at IS NULL FOR UPDATE
    """  # noqa: S608 -- our own columns
)
_PEEK = text(f"SELECT {_COLUMNS} FROM tasks.outbox o WHERE o.id = :id AND o.ended_at IS NULL")  # noqa: S608 -- our own
# In the order of their ids, so that two who end the same rows wait for each other instead of dying of it. What they
# were to do holds customers' data and is of no more use.
_ENDED = text(
    """
    UPDATE tasks.outbox SET ended_at = now(), kwargs = '{}' WHERE id IN (
        SELECT id FROM tasks.outbox WHERE id = ANY(CAST(:ids AS bigint[])) AND ended_at IS NULL
        ORDER BY id FOR UPDATE
    )
    """
)


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A job to hand over. `kwargs` is JSON; `due_ms` (epoch milliseconds) is None where it is due by now."""

    id: int
    task: str
    kwargs: str
    queue: str | None
    root: str | None
    retry_of: str | None
    created_ms: int
    due_ms: int | None


class OutboxStore:
    """Reads and marks rows; those that take a session hold their rows until its transaction ends."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_rows(self, session: AsyncSession) -> list[OutboxRow]:
        """Rows that were never relayed and are due within a minute, the longest due first; locked."""
        rows = await session.execute(_NEXT, {"most_rows": MOST_ROWS, "most_bytes": MOST_BYTES})
        return [OutboxRow(*row) for row in rows]

    async def unfinished(self, epoch: str, after: int) -> list[tuple[int, bool]]:
        """A page of rows behind the id `after` that Redis may have lost, and whether it certainly did.

        They were relayed in another epoch, or a minute ago and more.
        """
        async with self._database.autocommit() as connection:
            rows = await connection.execute(_UNFINISHED, {"epoch": epoch, "after": after, "most_rows": MOST_ROWS})
            return [(row_id, is_lost) for row_id, is_lost in rows]

    async def locked(self, session: AsyncSession, ids: Sequence[int]) -> list[OutboxRow]:
        """Those of the rows that have not ended and that nobody else is at; locked."""
        return [OutboxRow(*row) for row in await session.execute(_LOCKED, {"ids": ids})]

    async def unfinished_row(self, session: AsyncSession, row_id: int) -> tuple[OutboxRow, bool] | None:
        """The row, and whether it was relayed; locked, once nobody else is at it. None where it has ended."""
        row = (await session.execute(_UNFINISHED_ROW, {"id": row_id})).first()
        return None if row is None else (OutboxRow(*row[:-1]), row.is_relayed)

    async def peek(self, session: AsyncSession, row_id: int) -> OutboxRow | None:
        """The row as it is, relayed or not, whoever is at it. None where it has ended."""
        row = (await session.execute(_PEEK, {"id": row_id})).first()
        return None if row is None else OutboxRow(*row)

    async def set_relayed(self, session: AsyncSession, rows: Sequence[OutboxRow], epoch: str) -> None:
        await session.execute(_RELAYED, {"ids": [row.id for row in rows], "epoch": epoch})

    async def forget_arguments(self, session: AsyncSession, rows: Sequence[OutboxRow]) -> None:
        """Empties what should not have been written there."""
        await session.execute(_FORGET_ARGUMENTS, {"ids": [row.id for row in rows]})

    async def end(self, ids: Sequence[int]) -> None:
        """Records that these jobs have ended, and not in failure. Ending one twice changes nothing."""
        async with self._database.autocommit() as connection:
            await connection.execute(_ENDED, {"ids": ids})
