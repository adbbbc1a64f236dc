"""Ending connections of workers that stand still within a transaction, and so keep its locks from everybody."""

from datetime import timedelta

import structlog
from sqlalchemy import TextClause, text
from sqlalchemy.exc import DBAPIError

from app.db.engine import Database

log = structlog.stdlib.get_logger(__name__)

_LOCK_NOT_AVAILABLE = "55P03"
# idle_in_transaction_session_timeout reaches those that stand still between two statements. A statement goes in two
# steps, though, and between these PostgreSQL counts the connection as active, while it waits for its client.
_END = text("""
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
        AND application_name = current_setting('application_name')
        AND state = 'active' AND wait_event_type = 'Client' AND wait_event = 'ClientRead'
        AND state_change < clock_timestamp() - CAST(:after AS interval)
""")


def patience(*, idle: timedelta, lock: timedelta) -> TextClause:
    """A transaction's first statement: how long it may stand still, and how long it waits for a lock.

    Both end with the transaction, as PgBouncer needs it.
    """
    return text(
        f"SELECT set_config('idle_in_transaction_session_timeout', '{idle.total_seconds() * 1000:.0f}', true),"
        f" set_config('lock_timeout', '{lock.total_seconds() * 1000:.0f}', true)"
    )


async def unblock(database: Database, error: DBAPIError) -> bool:
    """Whether that error says that a lock was waited for in vain; takes it from who stands still, for the next time."""
    if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
        return False
    if ended := await end_frozen(database):
        log.warning("database.frozen_ended", connections=ended)
    return True


async def end_frozen(database: Database, after: timedelta = timedelta(seconds=10)) -> int:
    """Ends our own connections whose process has not gone on for that long; how many there were.

    Should it wake up, it finds its connection lost, and its transaction undone.
    """
    async with database.autocommit() as connection:
        ended: int = (await connection.execute(_END, {"after": after})).scalar_one()
        return ended
