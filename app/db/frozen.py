"""Ending connections of workers that stand still within a transaction, and so keep its locks from everybody."""

from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.db.engine import Database

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


def waited_in_vain(error: DBAPIError) -> bool:
    """Whether somebody kept a lock for longer than was to be waited for it."""
    return getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE


async def end_frozen(database: Database, after: timedelta = timedelta(seconds=10)) -> int:
    """Ends our own connections whose process has not gone on for that long; how many there were.

    Should it wake up, it finds its connection lost, and its transaction undone.
    """
    async with database.autocommit() as connection:
        ended: int = (await connection.execute(_END, {"after": after})).scalar_one()
        return ended
