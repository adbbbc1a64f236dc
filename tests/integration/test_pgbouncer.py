"""What we do behind a real PgBouncer, which hands each transaction to any of a few connections to the server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from app import outbox
from app.db.engine import Database, DatabaseUnavailable
from app.db.frozen import end_frozen
from app.db.migrate import migrate
from app.db.outbox import CHANNEL
from app.dev.postgres import EmbeddedPostgres
from app.jobs.context import Context
from app.jobs.queues import Queue
from app.jobs.task import TaskRegistry
from app.outbox.relay import OutboxRelay
from tests.folders import open_folder
from tests.integration.charging_shop import charging_shop
from tests.pgbouncer import PgBouncer
from tests.running import open_pool, running_worker
from tests.waiting import until

SERVER_CONNECTIONS = 3
NAME = "indostar test"
tasks = TaskRegistry()


@tasks.task(queue=Queue.NOTIFICATIONS)
async def greet(ctx: Context, name: str) -> None:
    """Note whom it greeted."""
    ctx[list].append(name)


@pytest.fixture
async def bouncer(postgres_server: EmbeddedPostgres) -> AsyncIterator[PgBouncer]:
    """One for each test: 1.18.0 may end where a worker is stopped in the midst of a statement (its change #846)."""
    with open_folder() as folder:
        options = {"default_pool_size": SERVER_CONNECTIONS, "query_wait_timeout": 1}
        async with PgBouncer(folder, postgres_server, **options) as bouncer:
            yield bouncer


@pytest.fixture
def url(bouncer: PgBouncer, database_url: str) -> str:
    return bouncer.url_of(database_url.rpartition("/")[2])


@asynccontextmanager
async def open_database(url: str, application_name: str = NAME) -> AsyncIterator[Database]:
    database = Database(url, application_name=application_name, pool_size=2 * SERVER_CONNECTIONS)
    try:
        yield database
    finally:
        await database.close()


async def everywhere(database: Database, query: str) -> list[tuple[Any, ...]]:
    """The query's rows from each connection to the server: it is asked in so many transactions at once."""
    at_once = asyncio.Barrier(SERVER_CONNECTIONS)

    async def ask() -> list[tuple[Any, ...]]:
        async with database.session() as session:
            rows = [tuple(row) for row in await session.execute(text(query))]
            await at_once.wait()
            return rows

    answers = await asyncio.gather(*(ask() for _ in range(SERVER_CONNECTIONS)))
    return [row for answer in answers for row in answer]


async def test_migrations_run_once_however_many_start_them(bouncer: PgBouncer, empty_database_url: str) -> None:
    url = bouncer.url_of(empty_database_url.rpartition("/")[2])

    applied = await asyncio.gather(*(migrate(url) for _ in range(SERVER_CONNECTIONS)))

    assert len([revisions for revisions in applied if revisions]) == 1


async def test_each_statement_gets_its_own_answer(url: str) -> None:
    async with open_database(url) as database:

        async def ask(number: int) -> None:
            kind, expected = ("integer", number) if number % 2 else ("text", str(number))
            async with database.autocommit() as connection:
                asked = text(f"SELECT CAST(:value AS {kind}), :other || '{number}'")
                got = (await connection.execute(asked, {"value": expected, "other": "n"})).one()
            assert tuple(got) == (expected, f"n{number}")

        # Each of them twice, so that whatever is kept for the next time is used.
        await asyncio.gather(*(ask(number % 100) for number in range(200)))


async def test_settings_and_locks_end_with_their_transaction(url: str) -> None:
    look = "SELECT current_setting('statement_timeout'), pg_try_advisory_xact_lock(1)"
    async with open_database(url) as database:
        async with database.reading(timedelta(minutes=1)) as connection, database.session() as other:
            held = await connection.execute(text(look))
            meanwhile = await other.execute(text(look))

            assert tuple(held.one()) == ("1min", True)
            assert tuple(meanwhile.one()) == ("0", False)

        assert {timeout for timeout, _ in await everywhere(database, look)} == {"0"}
        async with database.session() as session:
            assert await session.scalar(text("SELECT pg_try_advisory_xact_lock(1)"))


async def test_each_client_keeps_its_name_and_works_in_utc(url: str) -> None:
    look = "SELECT current_setting('application_name'), current_setting('timezone')"
    abroad = await asyncpg.connect(url, ssl=False, server_settings={"timezone": "Asia/Kolkata"})
    assert await abroad.fetchval("SELECT current_setting('timezone')") == "Asia/Kolkata"

    async with open_database(url) as database, open_database(url, "indostar other") as other:
        for each, name in ((database, NAME), (other, "indostar other"), (database, NAME)):
            assert set(await everywhere(each, look)) == {(name, "UTC")}
    await abroad.close()


async def test_jobs_of_the_outbox_arrive_where_nobody_is_told_of_them(url: str, redis_url: str) -> None:
    greeted: list[str] = []
    async with open_database(url) as database, open_pool(redis_url, tasks) as pool:
        relay = OutboxRelay(database, url, pool, lease=timedelta(seconds=5))
        async with running_worker(pool, [greeted], companions=[relay]):
            await until(lambda: relay._listener._is_failing)
            async with database.session() as session:
                await outbox.add(session, greet, "Asha")

            await until(lambda: greeted == ["Asha"])
            # Whoever has such a connection next would be told in the listener's stead.
            listening = await everywhere(database, "SELECT pg_listening_channels()")
            assert CHANNEL not in {channel for (channel,) in listening}


async def test_deliveries_are_charged_and_settled(url: str) -> None:
    async with charging_shop(url) as shop:
        await shop.open(9)
        await shop.plan()

        charged = await asyncio.gather(*(shop.charge(number) for number in range(1, 10)))

        assert {(charge.state, charge.reason) for charge in charged} == {("captured", None)}
        assert await shop.faults() == []


async def test_a_connection_that_stands_still_is_ended_and_no_other(url: str) -> None:
    async with open_database(url) as database:
        connections = []
        for name in ("psql", NAME):
            connection = await asyncpg.connect(url, ssl=False, server_settings={"application_name": name})
            await connection.execute("BEGIN")
            await connection.prepare("SELECT 1")
            connections.append(connection)

        assert await until(lambda: end_frozen(database, timedelta(0))) == 1

        psql, frozen = connections
        assert await psql.fetchval("SELECT 1") == 1
        await until(frozen.is_closed)
        await psql.close()


async def test_a_pooler_without_a_free_connection_is_unavailable(url: str) -> None:
    async with open_database(url) as database:
        async with AsyncExitStack() as others:
            for _ in range(SERVER_CONNECTIONS):
                session = await others.enter_async_context(database.session())
                await session.execute(text("SELECT 1"))

            with pytest.raises(DatabaseUnavailable, match="query_wait_timeout"):
                await database.ping()

        await database.ping()


async def test_a_pooler_that_is_started_anew_costs_a_transaction_at_most(bouncer: PgBouncer, url: str) -> None:
    async def in_the_middle(database: Database) -> None:
        async with database.session() as session:
            await session.execute(text("SELECT 1"))
            await bouncer.stop()
            await bouncer.start()
            await session.execute(text("SELECT 1"))

    async with open_database(url) as database:
        with pytest.raises(DatabaseUnavailable):
            await in_the_middle(database)

        await database.ping()
