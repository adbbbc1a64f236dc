"""What operators decide goes on record, whichever server is away, and survives an emptied Redis."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from app.db.engine import Database
from app.jobs.pool import JobPool
from app.jobs.queues import PAUSED, Queue
from app.steering.audit import AuditRecord, AuditTrail
from app.steering.keeping import SteeringKeeper
from app.steering.pauses import UNRECORDED, QueuePauses
from app.tasks import TASKS
from tests.running import open_pool


@pytest.fixture
async def pool(redis_url: str) -> AsyncIterator[JobPool]:
    async with open_pool(redis_url, TASKS) as pool:
        yield pool


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, application_name="indostar test", pool_size=5)
    yield database
    await database.close()


@pytest.fixture
async def nobody_there() -> AsyncIterator[Database]:
    """A database that can't be reached."""
    database = Database("postgresql://me@127.0.0.1:9/x", application_name="indostar test")
    yield database
    await database.close()


def keeper(pool: JobPool, database: Database) -> SteeringKeeper:
    return SteeringKeeper(pool, QueuePauses(pool, database), AuditTrail(database, pool))


async def sql(database: Database, statement: str) -> list[tuple[Any, ...]]:
    async with database.session() as session:
        result = await session.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []  # type: ignore[attr-defined]  # of a CursorResult


async def paused_for_workers(pool: JobPool) -> set[bytes]:
    paused: set[bytes] = await pool.smembers(PAUSED)  # type: ignore[misc]  # redis-py's stub
    return paused


async def paused_on_record(database: Database) -> list[tuple[Any, ...]]:
    return await sql(database, "SELECT queue, paused_by FROM tasks.queue_pauses ORDER BY queue")


def record(action: str = "queue.pause", **others: Any) -> AuditRecord:
    values: dict[str, Any] = {
        "actor": "asha",
        "role": "operator",
        "source": "api 203.0.113.7",
        "address": "203.0.113.7",
        "action": action,
        "object_type": "queue",
        "object_id": "default",
        "details": {"why": "stocktaking"},
        "result": "done",
    }
    return AuditRecord(**(values | others))


async def audited(database: Database) -> Sequence[tuple[Any, ...]]:
    return await sql(database, "SELECT actor, action, object_id, details, result, source FROM tasks.audit ORDER BY at")


async def test_a_paused_queue_is_on_record_until_it_is_resumed(pool: JobPool, database: Database) -> None:
    pauses = QueuePauses(pool, database)

    await pauses.pause(Queue.DEFAULT, by="asha")
    await pauses.pause(Queue.DEFAULT, by="ravi")
    await pauses.pause(Queue.NOTIFICATIONS, by="ravi")
    assert await paused_on_record(database) == [("default", "asha"), ("notifications", "ravi")]
    assert await paused_for_workers(pool) == {b"default", b"notifications"}
    await pauses.resume(Queue.DEFAULT)

    assert await paused_on_record(database) == [("notifications", "ravi")]
    assert await paused_for_workers(pool) == {b"notifications"}


async def test_an_emptied_redis_is_told_again_what_is_paused(pool: JobPool, database: Database) -> None:
    workers = keeper(pool, database)
    await QueuePauses(pool, database).pause(Queue.DEFAULT, by="asha")
    await workers.look()

    await pool.flushall()
    await workers.look()

    assert await paused_for_workers(pool) == {b"default"}


async def test_queues_are_paused_without_postgresql_and_that_goes_on_record_later(
    pool: JobPool, database: Database, nobody_there: Database
) -> None:
    await QueuePauses(pool, database).pause(Queue.NOTIFICATIONS, by="ravi")
    pauses = QueuePauses(pool, nobody_there)

    await pauses.pause(Queue.DEFAULT, by="asha")
    await pauses.resume(Queue.NOTIFICATIONS)
    assert await paused_for_workers(pool) == {b"default"}
    await keeper(pool, database).look()

    assert await paused_on_record(database) == [("default", "asha")]
    assert await paused_for_workers(pool) == {b"default"}
    assert not await pool.exists(UNRECORDED)


async def test_whatever_operators_decide_at_once_both_servers_agree(pool: JobPool, database: Database) -> None:
    pauses = QueuePauses(pool, database)
    workers = keeper(pool, database)
    decisions = [
        pauses.resume(queue) if number % 3 else pauses.pause(queue, by=str(number))
        for number in range(12)
        for queue in (Queue.DEFAULT, Queue.NOTIFICATIONS)
    ]

    await asyncio.gather(*decisions, workers.look(), workers.look())

    on_record = {queue.encode() for queue, _ in await paused_on_record(database)}
    assert await paused_for_workers(pool) == on_record
    assert not await pool.exists(UNRECORDED)


async def test_what_is_on_record_is_not_changed(pool: JobPool, database: Database) -> None:
    await AuditTrail(database, pool).record(record())

    with pytest.raises(DBAPIError, match="only added to"):
        await sql(database, "UPDATE tasks.audit SET actor = 'somebody else'")

    assert await audited(database) == [
        ("asha", "queue.pause", "default", {"why": "stocktaking"}, "done", "api 203.0.113.7")
    ]


async def test_what_is_done_in_an_outage_is_on_record_once_it_is_over(
    pool: JobPool, database: Database, nobody_there: Database
) -> None:
    trail = AuditTrail(nobody_there, pool)
    with capture_logs() as logs:
        await trail.record(record())
        await trail.record(record("queue.resume"))
    assert [line["action"] for line in logs if line["event"] == "operator.acted"] == ["queue.pause", "queue.resume"]

    await asyncio.gather(*(keeper(pool, database).look() for _ in range(3)))
    await keeper(pool, database).look()

    assert [action for _, action, *_ in await audited(database)] == ["queue.pause", "queue.resume"]


async def test_a_record_that_postgresql_refuses_keeps_no_other_from_it(
    pool: JobPool, database: Database, nobody_there: Database
) -> None:
    trail = AuditTrail(nobody_there, pool)
    # No operator's doing writes one like that.
    for result in ("done", "unheard of", "refused"):
        await trail.record(record(result=result))

    with capture_logs() as logs:
        await keeper(pool, database).look()

    assert [result for *_, result, _ in await audited(database)] == ["done", "refused"]
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["audit.refused"]


async def test_whole_numbers_of_any_size_are_on_record(pool: JobPool, database: Database) -> None:
    await AuditTrail(database, pool).record(record(details={"kwargs": {"days_old": 10**30}}))

    assert [details for *_, details, _, _ in await audited(database)] == [{"kwargs": {"days_old": 10**30}}]


async def test_without_any_server_the_log_has_it(nobody_there: Database) -> None:
    async with open_pool("redis://127.0.0.1:9/0", TASKS) as pool:
        with capture_logs() as logs:
            await AuditTrail(nobody_there, pool).record(record())

    assert [line["event"] for line in logs] == ["operator.acted", "audit.not_on_record", "audit.only_in_log"]
    # The first line may be below the level of the log.
    for line in (logs[0], logs[-1]):
        assert (line["actor"], line["action"], line["object_id"]) == ("asha", "queue.pause", "default")
        assert (line["result"], line["details"]) == ("done", {"why": "stocktaking"})
    assert logs[-1]["log_level"] == "error"


async def test_a_record_that_can_not_be_kept_is_in_the_log_as_an_error(pool: JobPool, database: Database) -> None:
    with capture_logs() as logs:
        await AuditTrail(database, pool).record(record(result="unheard of"))

    [line] = [line for line in logs if line["log_level"] == "error"]
    assert (line["event"], line["actor"], line["object_id"]) == ("audit.only_in_log", "asha", "default")


async def test_the_shops_own_log_has_it_in_the_name_of_its_user(pool: JobPool, database: Database) -> None:
    await sql(database, "INSERT INTO users (id, phone, name, role) VALUES (7, '+910', 'Owner', 'owner')")

    await AuditTrail(database, pool, 7).record(record())

    [[actor_id, action, kind, details, address, is_now]] = await sql(
        database,
        """
        SELECT actor_id, action_type, object_type, details, ip_address,
               abs(extract(epoch FROM now() AT TIME ZONE 'UTC' - created_at)) < 300
        FROM audit_logs
        """,
    )
    assert (actor_id, action, kind, address, is_now) == (7, "queue.pause", "background", "203.0.113.7", True)
    assert (details["actor"], details["object_id"], details["details"]) == ("asha", "default", {"why": "stocktaking"})


async def test_a_user_who_does_not_exist_is_told_of_and_keeps_nothing_from_the_record(
    pool: JobPool, database: Database
) -> None:
    with capture_logs() as logs:
        await AuditTrail(database, pool, 7).record(record())

    assert len(await audited(database)) == 1
    [told] = [line for line in logs if line["event"] == "audit.no_such_actor"]
    assert (told["setting"], told["user_id"]) == ("AUDIT_ACTOR_ID", 7)
