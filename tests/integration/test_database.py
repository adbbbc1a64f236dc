"""Transactions on the shop's database, and what they become when the server goes away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, literal, select, text
from sqlalchemy.exc import DBAPIError

from app.db.engine import Database, DatabaseUnavailable, asyncpg_url
from app.db.shop import Category
from app.errors import Unavailable
from tests.waiting import until


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, application_name="indostar test", pool_size=2)
    yield database
    await database.close()


async def names(database: Database) -> list[str]:
    async with database.session() as session:
        return list(await session.scalars(select(Category.name).order_by(Category.id)))


async def end_connection(database: Database, pid: int | None) -> None:
    """Return once the server has ended that connection as an administrator would."""
    async with database.session() as session:
        assert await session.scalar(select(func.pg_terminate_backend(pid, 5000)))


@asynccontextmanager
async def server(sqlstate: str | None) -> AsyncIterator[str]:
    """A server that turns every client away with that error, or never answers where there is none."""
    clients = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.add(writer)
        if sqlstate is None:
            return
        await reader.readexactly(8)  # SSLRequest
        writer.write(b"N")
        length = int.from_bytes(await reader.readexactly(4), "big")
        await reader.readexactly(length - 4)
        fields = f"SFATAL\0C{sqlstate}\0Mgo away\0\0".encode()
        writer.write(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
        await writer.drain()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    yield f"postgresql://someone:verysecret@{host}:{port}/shop"
    for client in clients:
        client.close()
    listener.close()
    await listener.wait_closed()


async def test_connections_work_in_utc_whatever_the_server_says(database_url: str) -> None:
    administrator = Database(database_url, application_name="indostar test", pool_size=1)
    async with administrator.session() as session:
        name = await session.scalar(select(func.current_database()))
        await session.execute(text(f"ALTER DATABASE {name} SET timezone = 'Asia/Kolkata'"))
    await administrator.close()

    database = Database(database_url, application_name="indostar test", pool_size=1)
    async with database.session() as session:
        category = Category(name="Milk", slug="milk")
        session.add(category)
        await session.flush()
        await session.refresh(category)
    await database.close()

    assert abs(category.created_at - datetime.now(UTC).replace(tzinfo=None)) < timedelta(minutes=1)


async def test_a_connection_says_whose_it_is(database: Database) -> None:
    async with database.session() as session:
        assert await session.scalar(select(func.current_setting("application_name"))) == "indostar test"


async def test_a_session_is_one_transaction(database: Database) -> None:
    async with database.session() as session:
        await session.execute(insert(Category).values(name="Milk", slug="milk"))
        assert await names(database) == []

    assert await names(database) == ["Milk"]


async def test_an_error_undoes_the_whole_session(database: Database) -> None:
    async def add_and_fail() -> None:
        async with database.session() as session:
            await session.execute(insert(Category).values(name="Milk", slug="milk"))
            raise LookupError

    with pytest.raises(LookupError):
        await add_and_fail()

    assert await names(database) == []


async def test_what_was_loaded_can_be_read_after_the_session(database: Database) -> None:
    async with database.session() as session:
        category = Category(name="Milk", slug="milk")
        session.add(category)

    assert category.name == "Milk"


async def test_nothing_stays_prepared_on_the_server_that_pgbouncer_could_mix_up(database: Database) -> None:
    async with database.session() as session:
        for word in ("milk", "curd", "ghee"):
            await session.execute(select(Category).where(Category.slug == word))
            await session.execute(select(literal(word)))
        prepared = await session.scalar(text("SELECT count(*) FROM pg_prepared_statements"))

    assert prepared == 0


async def test_a_statement_that_could_not_be_sent_is_not_left_half_way(database_url: str, database: Database) -> None:
    onlooker = Database(database_url, application_name="indostar onlooker", pool_size=1)

    async def all_are_idle() -> bool:
        async with onlooker.session() as session:
            half_way: int | None = await session.scalar(
                text(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND pid <> pg_backend_pid() AND state = 'active'"
                )
            )
        return half_way == 0

    with pytest.raises(DBAPIError, match="invalid input"):
        async with database.autocommit() as connection:
            await connection.execute(text("SELECT CAST(:number AS integer)"), {"number": 2**31})

    await until(all_are_idle)
    await onlooker.close()


async def test_a_database_that_answers_is_pinged(database: Database) -> None:
    await database.ping()


@pytest.mark.parametrize("sqlstate", ["57P01", "57P02", "57P03", "53300", "08P01"])
async def test_a_server_that_takes_nobody_now_is_unavailable(sqlstate: str) -> None:
    async with server(sqlstate) as url:
        database = Database(url, application_name="indostar test")

        with pytest.raises(DatabaseUnavailable, match="go away") as caught:
            await database.ping()

    assert isinstance(caught.value, Unavailable)
    assert "verysecret" not in str(caught.value)


@pytest.mark.parametrize("sqlstate", ["28P01", "3D000", "42501"])
async def test_a_server_that_refuses_us_is_not_unavailable(sqlstate: str) -> None:
    async with server(sqlstate) as url:
        database = Database(url, application_name="indostar test")

        with pytest.raises(DBAPIError, match="go away"):
            await database.ping()


async def test_a_server_that_never_answers_is_unavailable() -> None:
    async with server(None) as url:
        database = Database(url, application_name="indostar test", connect_timeout=timedelta(milliseconds=50))

        with pytest.raises(DatabaseUnavailable, match="no answer in time"):
            await database.ping()


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with server(None) as url:
        pass
    database = Database(url, application_name="indostar test")

    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1:\d+/shop is not available: .*Connect call failed"):
        await database.ping()


async def test_a_pool_without_a_free_connection_is_unavailable(database_url: str) -> None:
    database = Database(
        database_url, application_name="indostar test", pool_size=1, connect_timeout=timedelta(milliseconds=200)
    )
    async with database.session() as session:
        await session.execute(select(1))

        with pytest.raises(DatabaseUnavailable, match="no connection of the pool"):
            await database.ping()
    await database.close()


async def test_a_connection_lost_in_a_statement_is_unavailable_once(database: Database) -> None:
    async def add_and_lose_the_connection() -> None:
        async with database.session() as session:
            await session.execute(insert(Category).values(name="Milk", slug="milk"))
            await end_connection(database, await session.scalar(select(func.pg_backend_pid())))
            await session.execute(select(1))

    with pytest.raises(DatabaseUnavailable):
        await add_and_lose_the_connection()

    assert await names(database) == []


async def test_a_connection_lost_in_commit_is_not_called_undone(database: Database) -> None:
    with pytest.raises(DBAPIError):
        async with database.session() as session:
            await end_connection(database, await session.scalar(select(func.pg_backend_pid())))

    await database.ping()


async def test_a_statement_can_be_cancelled(database: Database) -> None:
    async def sleep() -> None:
        async with database.session() as session:
            await session.execute(select(1))
            # Works only where the statement lets the cancellation through.
            async with asyncio.timeout(0.05):
                await session.execute(select(func.pg_sleep(60)))

    with pytest.raises(TimeoutError):
        await sleep()

    assert database.engine.pool.status().endswith("Current Checked out connections: 0")


async def test_a_wrong_statement_passes_through(database: Database) -> None:
    with pytest.raises(DBAPIError, match="no_such_table"):
        async with database.session() as session:
            await session.execute(text("SELECT * FROM no_such_table"))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_every_scheme_of_the_setting_is_understood(scheme: str) -> None:
    url = asyncpg_url(f"{scheme}://shop:p%40ss@db.internal/shop?sslmode=require")

    assert url.drivername == "postgresql+asyncpg"
    assert url.password == "p@ss"
    assert url.query == {"ssl": "require"}
