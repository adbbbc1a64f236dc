"""Connections that stand still between the two steps of a statement."""

from datetime import timedelta

import asyncpg

from app.db.engine import Database
from app.db.frozen import end_frozen
from tests.waiting import until

HOLD = "SELECT pg_advisory_xact_lock(1)"
IS_FREE = "SELECT pg_try_advisory_lock(1)"


async def connect(url: str, application_name: str) -> asyncpg.Connection:
    return await asyncpg.connect(url, ssl=False, server_settings={"application_name": application_name})


async def test_the_locks_of_a_worker_that_stands_still_are_given_back(database_url: str) -> None:
    database = Database(database_url, application_name="indostar test", pool_size=1)
    frozen = await connect(database_url, "indostar test")
    await frozen.execute("BEGIN")
    await frozen.execute(HOLD)
    await frozen.prepare("SELECT 1")

    assert await end_frozen(database) == 0
    assert await until(lambda: end_frozen(database, timedelta(0))) == 1

    other = await connect(database_url, "somebody")
    await until(lambda: other.fetchval(IS_FREE))
    await other.close()
    frozen.terminate()
    await database.close()


async def test_other_peoples_connections_are_none_of_its_business(database_url: str) -> None:
    database = Database(database_url, application_name="indostar test", pool_size=1)
    other = await connect(database_url, "psql")
    await other.execute("BEGIN")
    await other.prepare("SELECT 1")

    assert await end_frozen(database, timedelta(0)) == 0
    await other.close()
    await database.close()
