"""Connections to the shop's database and the transactions made on them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import URL, Dialect, event, make_url, select, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from app.errors import Unavailable

# Shutting down, crashed, starting up, too many connections.
# Source: PostgreSQL, appendix A (error codes); class 08 is a failed connection, as PgBouncer reports its own.
NOBODY_THERE = {"57P01", "57P02", "57P03", "53300"}

# PgBouncer in transaction mode hands each transaction to another server connection, which does not know the
# statements prepared on the last one; and the shop may change its tables while we run, which breaks statements
# prepared before. Unnamed statements have neither problem, for about 0.2 ms each.
UNNAMED_STATEMENTS: dict[str, Any] = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": str,
}


# What passes by itself, beside the above: a deadlock or conflict, a standby that was promoted, a lock that was not to
# be had in time, a full disk, an operator's intervention, a crash. Source: PostgreSQL, appendix A.
PASSING = ("25006", "40", "53", "55P03", "57", "58", "08")


def is_passing(error: DBAPIError) -> bool:
    """Whether the same statement may well succeed later."""
    sqlstate: str = getattr(error.orig, "sqlstate", None) or ""
    return error.connection_invalidated or sqlstate.startswith(PASSING)


_END_AFTER = text("SELECT set_config('statement_timeout', :milliseconds, true)")


class DatabaseUnavailable(Unavailable):
    """PostgreSQL was not there, or went away before COMMIT."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(where, reason)
        self.where = where
        self.reason = reason

    def __str__(self) -> str:
        return f"PostgreSQL at {self.where} is not available: {self.reason}"


class Database:
    """The shop's database, through at most `pool_size` connections that work in UTC.

    `connect_timeout` limits the wait for a connection, be it for the server's answer or for a turn in the pool.
    Raises DatabaseUnavailable wherever the server can't be reached or goes away. A connection lost during COMMIT is
    not among that, since the transaction may stand: its DBAPIError passes through.
    """

    def __init__(
        self,
        url: str,
        *,
        application_name: str,
        pool_size: int = 10,
        connect_timeout: timedelta = timedelta(seconds=10),
    ) -> None:
        address = asyncpg_url(url)
        self._where = f"{address.host}:{address.port or 5432}/{address.database}"
        # No pool_pre_ping: it costs a round trip for each session, and a pool that went stale is noticed and
        # dropped by the first statement that fails, at the price of one DatabaseUnavailable.
        self.engine: AsyncEngine = create_async_engine(
            address,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=connect_timeout.total_seconds(),
            connect_args={
                "timeout": connect_timeout.total_seconds(),
                "server_settings": {"timezone": "UTC", "application_name": application_name},
                **UNNAMED_STATEMENTS,
            },
        )
        event.listen(self.engine.sync_engine, "do_connect", self._connect)
        event.listen(self.engine.sync_engine, "handle_error", self._sort)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self._without_begin = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        with self._pool_timeout_sorted():
            async with self._sessions.begin() as session:
                yield session

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which each statement is a transaction of its own, without the round trips around it.

        A statement that raises DatabaseUnavailable here may have been executed all the same.
        """
        with self._pool_timeout_sorted():
            async with self._without_begin.connect() as connection:
                try:
                    yield connection
                except DBAPIError:
                    # A value that the driver can't encode leaves a statement half-way, and here no ROLLBACK ends it:
                    # in the pool this connection would keep one of PgBouncer's to itself.
                    await connection.invalidate()
                    raise

    @asynccontextmanager
    async def reading(self, within: timedelta) -> AsyncIterator[AsyncConnection]:
        """A transaction that reads; a statement that takes longer than that is ended by PostgreSQL.

        That is a DBAPIError that `is_passing`. Set in the transaction, as PgBouncer needs it.
        """
        with self._pool_timeout_sorted():
            async with self.engine.begin() as connection:
                await connection.execute(_END_AFTER, {"milliseconds": str(int(within.total_seconds() * 1000))})
                yield connection

    async def ping(self) -> None:
        """Return once PostgreSQL has answered."""
        async with self.autocommit() as connection:
            await connection.execute(select(1))

    async def close(self) -> None:
        """Close every connection of the pool."""
        await self.engine.dispose()

    @contextmanager
    def _pool_timeout_sorted(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeout as error:
            raise DatabaseUnavailable(self._where, "no connection of the pool became free in time") from error

    def _connect(
        self, dialect: Dialect, _entry: ConnectionPoolEntry, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> DBAPIConnection:
        try:
            return dialect.connect(*arguments, **options)
        except OSError as error:
            reason = "no answer in time" if isinstance(error, TimeoutError) else str(error)
            raise DatabaseUnavailable(self._where, reason) from error

    def _sort(self, context: ExceptionContext) -> BaseException | None:
        # No error of the driver: a cancellation, which SQLAlchemy counts among the disconnects.
        if context.sqlalchemy_exception is None:
            return None
        sqlstate: str = getattr(context.original_exception, "sqlstate", None) or ""
        if sqlstate in NOBODY_THERE or sqlstate.startswith("08"):
            context.is_disconnect = True
        # An error on an open connection without a statement is one of COMMIT or ROLLBACK.
        committing = context.connection is not None and context.statement is None
        if not context.is_disconnect or committing:
            return None
        return DatabaseUnavailable(self._where, str(context.original_exception))


def asyncpg_url(database_url: str) -> URL:
    """SQLAlchemy's URL for `postgres://`, `postgresql://` and `postgresql+asyncpg://`, `sslmode` included."""
    url = make_url(database_url).set(drivername="postgresql+asyncpg")
    sslmode = url.query.get("sslmode")
    if sslmode is None:
        return url
    # asyncpg takes libpq's values, but calls the argument `ssl`.
    return url.difference_update_query(["sslmode"]).update_query_dict({"ssl": sslmode})
