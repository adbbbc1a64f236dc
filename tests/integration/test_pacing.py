"""Transactions rest for longer while others write, whoever they are, and only then."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.engine import Database
from app.db.pacing import REST, REST_FOR_OTHERS, PacedTransactions
from tests.resting import Rests, ticking

WRITE = text("INSERT INTO notes DEFAULT VALUES")
# The server's own housekeeping writes too, when it likes: of so many transactions it leaves some alone.
MANY = 20


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """One connection, for one transaction at a time."""
    database = Database(database_url, application_name="indostar test", pool_size=1)
    async with database.session() as session:
        await session.execute(text("CREATE TABLE notes (id serial PRIMARY KEY)"))
    yield database
    await database.close()


@pytest.fixture
async def others(database_url: str) -> AsyncIterator[Database]:
    others = Database(database_url, application_name="somebody else", pool_size=1)
    yield others
    await others.close()


def paced(database: Database, rests: Rests) -> PacedTransactions:
    """Each takes a second."""
    return PacedTransactions(database, clock=ticking(), rest=rests)


@asynccontextmanager
async def writing(transactions: PacedTransactions) -> AsyncIterator[AsyncSession]:
    async with transactions.begin() as session:
        await session.execute(WRITE)
        yield session


async def write(database: Database) -> None:
    async with database.session() as session:
        await session.execute(WRITE)


async def test_alone_it_hardly_rests(database: Database) -> None:
    rests = Rests()
    transactions = paced(database, rests)

    for _ in range(MANY):
        async with writing(transactions):
            pass

    assert len(rests) == MANY - 1
    assert REST in rests
    assert transactions.worked == MANY


async def test_it_rests_for_who_writes_beside_a_transaction(database: Database, others: Database) -> None:
    rests = Rests()
    transactions = paced(database, rests)

    for _ in range(3):
        async with writing(transactions):
            await write(others)

    assert rests == [REST_FOR_OTHERS] * 2


async def test_it_rests_for_who_writes_during_a_rest(database: Database, others: Database) -> None:
    rests = Rests()
    transactions = paced(database, rests)

    for _ in range(4):
        async with writing(transactions):
            pass
        await write(others)

    assert rests[1:] == [REST_FOR_OTHERS] * 2


async def test_it_rests_for_who_takes_longer_than_a_transaction(database: Database, others: Database) -> None:
    """As they do who wait for a slow disk: none begins and ends within one of ours."""
    rests = Rests()
    transactions = paced(database, rests)

    for _ in range(4):
        async with others.session() as session, writing(transactions):
            await session.execute(WRITE)

    assert rests[1:] == [REST_FOR_OTHERS] * 2


async def test_it_rests_for_who_writes_to_another_database_of_the_server(database: Database, database_url: str) -> None:
    elsewhere = make_url(database_url).set(database="postgres").render_as_string(hide_password=False)
    others = Database(elsewhere, application_name="somebody else", pool_size=1)
    rests = Rests()
    transactions = paced(database, rests)

    for _ in range(3):
        async with writing(transactions), others.session() as session:
            await session.execute(text("CREATE TEMPORARY TABLE notes ON COMMIT DROP AS SELECT 1"))
    await others.close()

    assert rests == [REST_FOR_OTHERS] * 2


async def test_it_rests_for_others_after_it_only_read(database: Database, others: Database) -> None:
    rests = Rests()
    transactions = paced(database, rests)

    for _ in range(MANY):
        async with transactions.begin():
            pass
    alone = rests.copy()
    for _ in range(3):
        async with transactions.begin():
            await write(others)

    assert REST in alone
    assert rests[-2:] == [REST_FOR_OTHERS] * 2


async def test_a_transaction_that_somebody_forgot_does_not_count(database: Database, others: Database) -> None:
    rests = Rests()
    transactions = paced(database, rests)

    async with others.session() as forgotten:
        await forgotten.execute(WRITE)
        for _ in range(MANY):
            async with writing(transactions):
                pass

    assert REST in rests


async def test_its_own_that_failed_do_not_count_as_others(database: Database) -> None:
    rests = Rests()
    transactions = paced(database, rests)

    for _ in range(MANY):
        with suppress(RuntimeError):
            async with writing(transactions):
                raise RuntimeError
        async with writing(transactions):
            pass

    # The last rests come after many of both kinds.
    assert REST in rests[MANY:]
    assert transactions.worked == 2 * MANY


async def test_one_that_failed_is_rested_for_as_those_before(database: Database, others: Database) -> None:
    rests = Rests()
    transactions = paced(database, rests)

    async with writing(transactions):
        await write(others)
    with pytest.raises(RuntimeError):
        async with writing(transactions):
            raise RuntimeError
    async with transactions.begin():
        pass

    assert rests == [REST_FOR_OTHERS] * 2


async def test_while_it_rests_its_only_connection_is_free(database: Database) -> None:
    async def rest(_seconds: float) -> None:
        await write(database)

    transactions = PacedTransactions(database, rest=rest)
    for _ in range(3):
        async with writing(transactions):
            pass

    async with database.session() as session:
        assert await session.scalar(text("SELECT count(*) FROM notes")) == 5


async def test_it_waits_for_the_disk_where_others_have_to(database: Database, others: Database) -> None:
    transactions = PacedTransactions(database)
    commits = []

    for _ in range(2):
        async with writing(transactions) as session:
            commits.append(await session.scalar(text("SHOW synchronous_commit")))
            await write(others)

    assert commits == ["off", "local"]
