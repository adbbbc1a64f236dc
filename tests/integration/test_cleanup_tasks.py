"""The four cleanups as jobs: arguments, results, progress, limits and schedules."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import func, insert, select, text

from app.cleanup.keys import TokensRedis
from app.db.engine import Database
from app.db.shop import AuditLog, Cart
from app.jobs.context import Context, Resources
from app.jobs.failures import WrongArguments
from app.jobs.pool import JobPool
from app.jobs.time_limits import Interruptible, SoftTimeLimitExceeded
from app.tasks import TASKS, cleanup
from app.tasks.schedules import tasks_by
from tests.running import found, open_pool, run_burst
from tests.settings import make_settings

LONG_AGO = datetime(2020, 1, 1)  # noqa: DTZ001 -- as the shop keeps it


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, application_name="indostar test", pool_size=3)
    yield database
    await database.close()


@pytest.fixture
async def tokens(redis_url: str) -> AsyncIterator[TokensRedis]:
    tokens = TokensRedis.from_url(redis_url)
    yield tokens
    await tokens.aclose()


@pytest.fixture
async def pool(redis_url: str) -> AsyncIterator[JobPool]:
    async with open_pool(redis_url, TASKS) as pool:
        yield pool


async def fill(database: Database, kind: type[Cart | AuditLog], rows: list[dict[str, Any]]) -> None:
    async with database.session() as session:
        # Without the users that they belong to.
        await session.execute(text("SET LOCAL session_replication_role = replica"))
        await session.execute(insert(kind), rows)


async def fill_carts(database: Database, old: int) -> None:
    """So many old ones, and a young one."""
    rows: list[dict[str, Any]] = [{"user_id": number, "updated_at": LONG_AGO} for number in range(old)]
    await fill(database, Cart, [*rows, {"user_id": old, "updated_at": datetime.now(UTC).replace(tzinfo=None)}])


async def carts_left(database: Database) -> int | None:
    async with database.session() as session:
        return await session.scalar(select(func.count(Cart.id)))


def context(*resources: Any) -> Context:
    return Context("job", "job", "task", 1, 4, datetime(2026, 3, 1, tzinfo=UTC), Resources(resources))


async def test_carts_are_cleaned_up_by_a_job_that_says_how_far_it_is(database: Database, pool: JobPool) -> None:
    await fill_carts(database, 1_200)

    job = await cleanup.cleanup_expired_carts.using(job_id="carts").enqueue(pool)
    assert job is not None
    await run_burst(pool, [database])

    result = await job.result(timeout=1)
    cutoff = datetime.fromisoformat(result.pop("cutoff_date"))
    assert result == {"days_old": 30, "total_expired": 1_200, "deleted": 1_200, "empty_deleted": 1_200}
    assert timedelta(days=30) <= datetime.now(UTC) - cutoff < timedelta(days=31)
    assert await carts_left(database) == 1
    assert (await found(pool, "carts")).kwargs == {}


async def test_progress_counts_up_to_all(database: Database) -> None:
    await fill_carts(database, 1_200)
    heard: list[tuple[int, int | None, str | None]] = []

    ctx = replace(context(database), note_progress=lambda *said: heard.append(said))
    await cleanup.cleanup_expired_carts(ctx)

    assert heard[0] == (500, 1_200, "carts deleted")
    assert heard[-1] == (1_200, 1_200, "carts deleted")


async def test_a_dry_run_counts_and_deletes_nothing(database: Database) -> None:
    await fill_carts(database, 3)

    result = await cleanup.cleanup_expired_carts(context(database), days_old=10, dry_run=True)

    assert (result["total_expired"], result["deleted"], result["empty_deleted"]) == (3, 0, 0)
    assert await carts_left(database) == 4


async def test_audit_logs_are_cleaned_up(database: Database) -> None:
    log = {"actor_id": 1, "action_type": "a", "object_type": "o", "object_id": 1, "details": {}}
    now = datetime.now(UTC).replace(tzinfo=None)
    await fill(database, AuditLog, [log | {"created_at": now - timedelta(days=days)} for days in (1, 89, 91, 400)])

    result = await cleanup.cleanup_old_audit_logs(context(database))

    assert result == {"cutoff_date": result["cutoff_date"], "days_old": 90, "total_old_logs": 2, "deleted": 2}


async def test_rows_that_a_foreign_key_keeps_are_told_of(database: Database) -> None:
    await fill_carts(database, 3)
    async with database.session() as session:
        await session.execute(text("CREATE TABLE gifts (cart_id integer REFERENCES carts)"))
        await session.execute(text("INSERT INTO gifts SELECT min(id) FROM carts"))

    result = await cleanup.cleanup_expired_carts(context(database))

    assert (result["total_expired"], result["deleted"], result["refused"]) == (3, 2, 1)


async def test_at_its_soft_limit_it_ends_with_all_it_did_and_the_next_goes_on(database: Database) -> None:
    await fill_carts(database, 1_200)
    interruptible: Interruptible[Any]
    running: asyncio.Task[Any]

    def stop(_done: int, _total: int | None, _message: str | None) -> None:
        interruptible.interrupt(running, SoftTimeLimitExceeded())

    async def attempt() -> Any:
        return await interruptible

    interruptible = Interruptible(
        cleanup.cleanup_expired_carts.function(replace(context(database), note_progress=stop))
    )
    running = asyncio.create_task(attempt())
    result = await running
    rest = await cleanup.cleanup_expired_carts(context(database))

    assert (result["total_expired"], result["deleted"], result["unfinished"]) == (1_200, 500, True)
    assert (rest["total_expired"], rest["deleted"]) == (700, 700)
    assert "unfinished" not in rest


async def test_tokens_and_sessions_are_cleaned_up(tokens: TokensRedis, redis_url: str) -> None:
    async with Redis.from_url(redis_url) as redis:
        await redis.mset({"otp:1": "x", "password_reset:1": "x", "session:1": "x", "arq:otp:1": "x"})
        await redis.setex("otp:2", 600, "x")

        of_tokens = await cleanup.cleanup_expired_tokens(context(tokens))
        of_sessions = await cleanup.cleanup_abandoned_sessions(context(tokens), hours_old=2)

        assert await redis.dbsize() == 2
    assert of_tokens == {
        "password_reset_tokens": {"total": 1, "deleted": 1},
        "email_verification_tokens": {"total": 0, "deleted": 0},
        "otp_codes": {"total": 2, "deleted": 1},
    }
    assert of_sessions == {"hours_old": 2, "total_sessions": 1, "deleted": 1}


async def test_progress_counts_the_keys_that_were_looked_at(tokens: TokensRedis, redis_url: str) -> None:
    async with Redis.from_url(redis_url) as redis:
        await redis.mset({f"otp:{number}": "x" for number in range(2_500)})
    heard: list[tuple[int, int | None, str | None]] = []

    ctx = replace(context(tokens), note_progress=lambda *said: heard.append(said))
    await cleanup.cleanup_expired_tokens(ctx)

    assert heard[0] == (1_000, 2_500, "keys looked at")
    # By the end some are gone that there were in the beginning.
    assert heard[-1][:2] == (2_500, 2_500)


async def test_a_result_says_that_idle_time_is_not_known(tokens: TokensRedis, redis_url: str) -> None:
    async with Redis.from_url(redis_url) as redis:
        await redis.setex("session:1", 600, "x")
        await redis.config_set("maxmemory-policy", "volatile-lfu")
        try:
            result = await cleanup.cleanup_abandoned_sessions(context(tokens))
        finally:
            await redis.config_set("maxmemory-policy", "noeviction")

    assert result == {"hours_old": 24, "total_sessions": 1, "deleted": 0, "idle_time": "unknown under an LFU policy"}


@pytest.mark.parametrize("wrong", [0, -1, 10**9, 10**30, True, 1.5, float("nan"), "30", "many", None])
@pytest.mark.parametrize(
    ("task", "argument"),
    [
        ("cleanup_expired_carts", "days_old"),
        ("cleanup_old_audit_logs", "days_old"),
        ("cleanup_abandoned_sessions", "hours_old"),
    ],
)
async def test_an_age_that_makes_no_sense_is_refused_at_enqueue(task: str, argument: str, wrong: object) -> None:
    with pytest.raises(WrongArguments) as refusal:
        TASKS[task].arguments.payload((), {argument: wrong})

    assert [name for name, _ in refusal.value.faults] == [argument]


def test_schedules_are_those_of_the_shop_and_of_the_settings() -> None:
    def expressions(**given: str) -> dict[str, str | None]:
        return {
            task.name: None if task.schedule is None else task.schedule.crontab.expression
            for task in tasks_by(make_settings(**given))
            if task.name.startswith("cleanup")
        }

    assert expressions() == {
        "cleanup_expired_carts": "0 2 * * *",
        "cleanup_old_audit_logs": None,
        "cleanup_expired_tokens": "0 3 * * *",
        "cleanup_abandoned_sessions": None,
    }
    assert expressions(audit_log_cleanup_at="04:30", session_cleanup_at="05:00") == {
        "cleanup_expired_carts": "0 2 * * *",
        "cleanup_old_audit_logs": "30 4 * * *",
        "cleanup_expired_tokens": "0 3 * * *",
        "cleanup_abandoned_sessions": "0 5 * * *",
    }
