"""Jobs written in a transaction: they exist exactly when it commits, and a worker's relay brings them to the queues."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from app import outbox
from app.db.engine import Database, DatabaseUnavailable
from app.dev.postgres import EmbeddedPostgres
from app.dev.state import free_port
from app.dev.valkey import EmbeddedValkey
from app.jobs.context import Context
from app.jobs.failures import WrongArguments
from app.jobs.lookup import JobRecord, JobState, find_job
from app.jobs.pool import JobPool
from app.jobs.queues import ENDED, Queue
from app.jobs.task import TaskRegistry
from app.outbox.relay import OutboxRelay
from tests.running import open_pool, run_burst, running_worker
from tests.waiting import until

LEASE = timedelta(seconds=5)
tasks = TaskRegistry()


@tasks.task(queue=Queue.NOTIFICATIONS)
async def greet(ctx: Context, name: str, greeting: str = "Hello") -> None:
    """Note whom it greeted, as which job and root."""
    ctx[list].append((ctx.job_id, ctx.root_id, f"{greeting} {name}"))


@pytest.fixture
async def pool(redis_url: str) -> AsyncIterator[JobPool]:
    async with open_pool(redis_url, tasks) as pool:
        yield pool


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, application_name="indostar test")
    yield database
    await database.close()


@pytest.fixture
def relay(database: Database, database_url: str, pool: JobPool) -> OutboxRelay:
    return OutboxRelay(database, database_url, pool, lease=LEASE)


async def insert(url: str, statement: str, *values: Any) -> None:
    """As another program would: without our models."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()


async def rows(database: Database, columns: str) -> list[Any]:
    async with database.session() as session:
        return [tuple(row) for row in await session.execute(text(f"SELECT {columns} FROM tasks.outbox ORDER BY id"))]


async def found(pool: JobPool, job_id: str) -> JobRecord:
    job = await find_job(pool, job_id)
    assert job is not None
    return job


async def add(database: Database, name: str = "Asha", **options: Any) -> str:
    async with database.session() as session:
        job_id = await outbox.add(session, greet, name, **options)
    assert job_id is not None
    return job_id


async def test_a_job_runs_once_its_transaction_has_committed(
    database: Database, pool: JobPool, relay: OutboxRelay
) -> None:
    greeted: list[Any] = []
    async with database.session() as session:
        job_id = await outbox.add(session, greet, name="Asha")
        assert await relay.relay() == 0

    await run_burst(pool, [greeted], companions=[relay])

    assert job_id == "outbox:1"
    assert greeted == [(job_id, job_id, "Hello Asha")]
    await relay.end_some()
    assert await rows(database, "id, ended_at IS NOT NULL") == [(1, True)]
    assert not await pool.exists(ENDED)


async def test_what_is_rolled_back_is_no_job(database: Database, pool: JobPool, relay: OutboxRelay) -> None:
    async with database.session() as session:
        assert await outbox.add(session, greet, "Asha") is not None
        await session.rollback()

    assert await relay.relay() == 0
    assert await rows(database, "id") == []


async def test_a_key_happens_once(database: Database) -> None:
    await add(database, key="welcome:1")

    async with database.session() as session:
        assert await outbox.add(session, greet, "Ravi", key="welcome:1") is None

    assert await rows(database, "kwargs") == [({"name": "Asha"},)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [({"nam": "Asha"}, "nam"), ({"name": "a\0b"}, "NUL"), ({"name": "a\ud800b"}, "surrogate")],
    ids=["unknown", "NUL", "surrogate"],
)
async def test_wrong_arguments_are_told_before_anything_is_written(
    database: Database, arguments: dict[str, Any], told: str
) -> None:
    async with database.session() as session:
        with pytest.raises(WrongArguments, match=told):
            await outbox.add(session, greet, key=None, **arguments)

    assert await rows(database, "id") == []


async def test_many_jobs_are_written_together_or_not_at_all(database: Database) -> None:
    async with database.session() as session:
        await outbox.add_all(session, greet, [{"name": "Asha"}, {"name": "Ravi", "greeting": "Namaste"}])
        await outbox.add_all(session, greet, [])
        with pytest.raises(WrongArguments, match="nam"):
            await outbox.add_all(session, greet, [{"name": "Meera"}, {"nam": "Kiran"}])

    assert await rows(database, "task, kwargs, key") == [
        ("greet", {"name": "Asha"}, None),
        ("greet", {"name": "Ravi", "greeting": "Namaste"}, None),
    ]


async def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    async with database.session() as session:
        with pytest.raises(ValueError, match="time zone"):
            await outbox.add(session, greet, "Asha", not_before=datetime(2026, 3, 1))  # noqa: DTZ001


def test_a_task_may_not_have_an_argument_that_the_outbox_takes() -> None:
    async def unlock(ctx: Context, key: str) -> None:
        """Unlock."""

    with pytest.raises(TypeError, match="argument key"):
        TaskRegistry().task(queue=Queue.DEFAULT)(unlock)


async def test_plain_sql_writes_a_job(database: Database, database_url: str, pool: JobPool, relay: OutboxRelay) -> None:
    greeted: list[Any] = []
    once = "INSERT INTO tasks.outbox (task, kwargs, key) VALUES ('greet', $1, 'k') ON CONFLICT (key) DO NOTHING"
    await insert(database_url, once, '{"name": "Ravi 🥛 \\\\u", "greeting": "Namaste"}')
    await insert(database_url, once, '{"name": "nobody"}')

    await run_burst(pool, [greeted], companions=[relay])

    assert [what for _, _, what in greeted] == ["Namaste Ravi 🥛 \\u"]


async def test_arguments_that_are_no_object_are_refused_at_the_writer(database_url: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await insert(database_url, "INSERT INTO tasks.outbox (task, kwargs) VALUES ('greet', '[]')")


async def test_rows_that_cannot_run_become_dead_letters_and_the_others_go_on(
    database: Database, database_url: str, pool: JobPool, relay: OutboxRelay
) -> None:
    greeted: list[Any] = []
    await insert(
        database_url,
        """
        INSERT INTO tasks.outbox (task, kwargs, queue, root) VALUES
            ('no_such_task', '{}', NULL, NULL), ('greet', '{"nme": "Asha"}', NULL, NULL),
            ('greet', '{"name": {"$": "decimal", "v": "x"}}', NULL, NULL), ('', '{}', 'nowhere', NULL),
            ('greet', '{"name": "Asha"}', 'default', 'outbox:first')
        """,
    )

    await run_burst(pool, [greeted], companions=[relay])

    assert greeted == [("outbox:5", "outbox:first", "Hello Asha")]
    letters = [await found(pool, f"outbox:{number}") for number in range(1, 5)]
    assert [letter.state for letter in letters] == [JobState.FAILED] * 4
    reasons = [letter.error.type for letter in letters if letter.error is not None]
    assert reasons == ["UnknownTask", "WrongArguments", "UnreadablePayload", "UnknownTask"]
    # The ends of the others wait until they are on record with what they were to do.
    assert await relay.end_some() == 1


async def test_what_is_due_much_later_waits_in_postgres(database: Database, pool: JobPool, relay: OutboxRelay) -> None:
    now = datetime.now(UTC)
    await add(database, "tomorrow", not_before=now + timedelta(days=1))
    soon = await add(database, "soon", not_before=now + timedelta(seconds=30))
    await add(database, "long ago", not_before=datetime(1, 1, 2, tzinfo=UTC))

    assert await relay.relay() == 2

    record = await found(pool, soon)
    assert record.state is JobState.SCHEDULED
    assert record.run_at is not None
    assert abs(record.run_at - now - timedelta(seconds=30)) < timedelta(seconds=1)
    assert await rows(database, "id") == [(1,), (2,), (3,)]
    assert (await found(pool, "outbox:3")).state is JobState.QUEUED


async def test_two_relays_divide_the_rows(
    database: Database, database_url: str, pool: JobPool, relay: OutboxRelay
) -> None:
    await insert(
        database_url,
        "INSERT INTO tasks.outbox (task, kwargs) SELECT 'greet', '{\"name\": \"Asha\"}' FROM generate_series(1, 1200)",
    )
    other = OutboxRelay(database, database_url, pool, lease=LEASE)

    counts = await asyncio.gather(*(each.relay() for each in (relay, other, relay, other)))

    assert sum(counts) == 1200
    assert await pool.zcard(Queue.NOTIFICATIONS.key) == 1200


async def test_large_rows_come_in_smaller_batches(database: Database, database_url: str, relay: OutboxRelay) -> None:
    # Compressed they take a hundredth.
    await insert(database_url, "ALTER TABLE tasks.outbox ALTER COLUMN kwargs SET STORAGE EXTERNAL")
    large = "INSERT INTO tasks.outbox (task, kwargs) SELECT 'greet', jsonb_build_object('name', repeat('x', 6000000))"
    await insert(database_url, f"{large} FROM generate_series(1, 4)")

    assert [await relay.relay() for _ in range(3)] == [3, 1, 0]


async def test_what_a_flushed_redis_forgot_is_enqueued_again_a_lease_later(
    database: Database, pool: JobPool, relay: OutboxRelay
) -> None:
    job_id = await add(database)
    await relay.relay()
    assert await relay.sweep() == 0
    await pool.flushall()

    assert [await relay.sweep(), await relay.sweep()] == [1, 0]

    record = await found(pool, job_id)
    assert record.run_at is not None
    assert timedelta(0) < record.run_at - datetime.now(UTC) <= LEASE


async def test_what_redis_lost_without_a_new_epoch_is_found_after_a_minute(
    database: Database, database_url: str, pool: JobPool, relay: OutboxRelay
) -> None:
    job_id = await add(database)
    await relay.relay()
    await pool.delete(f"arq:job:{job_id}", Queue.NOTIFICATIONS.key)
    assert await relay.sweep() == 0

    await insert(database_url, "UPDATE tasks.outbox SET relayed_at = relayed_at - interval '61 seconds'")

    assert await relay.sweep() == 1
    assert (await found(pool, job_id)).state is JobState.SCHEDULED


async def test_a_job_whose_result_expired_while_postgres_was_away_does_not_run_again(
    database: Database, database_url: str, pool: JobPool, relay: OutboxRelay
) -> None:
    greeted: list[Any] = []
    job_id = await add(database)
    await run_burst(pool, [greeted], companions=[relay])
    await pool.delete(f"arq:result:{job_id}")
    await insert(database_url, "UPDATE tasks.outbox SET relayed_at = relayed_at - interval '1 day'")

    await relay.sweep()

    assert not await pool.exists(f"arq:job:{job_id}")
    assert await relay.end_some() == 1
    assert await relay.sweep() == 0


async def test_strange_ids_do_not_keep_others_from_being_ended(
    database: Database, pool: JobPool, relay: OutboxRelay
) -> None:
    await add(database)
    await pool.sadd(ENDED, "outbox:x", "outbox:1")  # type: ignore[misc]  # redis-py's stub

    assert await relay.end_some() == 1

    assert await rows(database, "ended_at IS NOT NULL") == [(True,)]


async def test_a_worker_hears_of_a_row_at_once(database: Database, pool: JobPool, relay: OutboxRelay) -> None:
    greeted: list[Any] = []
    async with running_worker(pool, [greeted], companions=[relay]):
        await until(lambda: relay._listener.is_listening)

        await add(database)

        # Much less than the time after which it would look for itself.
        await until(lambda: greeted)


async def test_rows_are_relayed_where_nobody_can_listen(database: Database, database_url: str, pool: JobPool) -> None:
    greeted: list[Any] = []
    deaf = OutboxRelay(database, f"postgresql://nobody@127.0.0.1:{free_port()}/none", pool, lease=LEASE)
    async with running_worker(pool, [greeted], companions=[deaf]):
        await add(database)

        await until(lambda: greeted)
        assert not deaf._listener.is_listening


async def test_a_worker_relays_again_when_postgres_is_back(
    postgres_server: EmbeddedPostgres, database: Database, pool: JobPool, relay: OutboxRelay
) -> None:
    greeted: list[Any] = []

    async def answers() -> bool:
        try:
            await database.ping()
        except DatabaseUnavailable:
            return False
        return True

    async with running_worker(pool, [greeted], companions=[relay]):
        await add(database, "before")
        await until(lambda: len(greeted) == 1)

        await postgres_server.stop()
        try:
            await greet.enqueue(pool, "without PostgreSQL")
            await until(lambda: len(greeted) == 2)
        finally:
            await postgres_server.start()

        await until(answers)
        await add(database, "after")
        await until(lambda: len(greeted) == 3)


async def test_a_worker_relays_again_when_redis_is_back(tmp_path: Path, database: Database, database_url: str) -> None:
    greeted: list[Any] = []
    async with EmbeddedValkey(tmp_path, durable=False) as server, open_pool(server.url, tasks) as pool:
        relay = OutboxRelay(database, database_url, pool, lease=timedelta(seconds=1))
        async with running_worker(pool, [greeted], companions=[relay]):
            await add(database, "before")
            await until(lambda: len(greeted) == 1)

            await server.stop()
            await add(database, "meanwhile")
            assert await rows(database, "relayed_at IS NOT NULL") == [(True,), (False,)]
            await server.start()

            await until(lambda: len(greeted) == 2)


@pytest.mark.parametrize("name", ["C:\\udata", "🥛"])
async def test_texts_that_only_look_strange_in_json_are_written_and_enqueued(
    database: Database, pool: JobPool, relay: OutboxRelay, name: str
) -> None:
    greeted: list[Any] = []
    await add(database, name)
    await greet.enqueue(pool, name)

    await run_burst(pool, [greeted], companions=[relay])

    assert [what for _, _, what in greeted] == [f"Hello {name}"] * 2
