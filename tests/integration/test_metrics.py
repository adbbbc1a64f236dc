"""The admin API's metrics: what Redis and PostgreSQL know, and an answer whatever is away."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import generate_latest
from sqlalchemy import text

from app.db.engine import Database
from app.jobs.breaker import Breaker
from app.jobs.breaker_state import Verdict
from app.jobs.breaker_store import BreakerStore
from app.jobs.control import pause
from app.jobs.events import EventStream
from app.jobs.limit_store import WAITED_FOR
from app.jobs.pool import JobPool
from app.jobs.queue_states import queue_states
from app.jobs.queues import EVENTS, Queue
from app.jobs.store import JobStore
from app.jobs.wire import Wire
from app.metrics.scrape import Scrape
from app.metrics.worker import WorkerMetrics
from app.schedules.control import ScheduleControl
from app.settings import PROJECT_ROOT
from app.steering.audit import UNRECORDED
from app.tasks import TASKS
from tests.history import open_history
from tests.integration.delivery_shop import DeliveryShop
from tests.metrics import Samples, samples_in, value
from tests.running import open_pool, running_worker

PROVIDERS = ("sendgrid", "ses", "twilio")
UTC_CLOCKS = ZoneInfo("UTC")
MAIL: dict[str, Any] = {"to_email": "asha@example.com", "subject": "Hello", "body": "Milk"}


@pytest.fixture
async def pool(redis_url: str) -> AsyncIterator[JobPool]:
    async with open_pool(redis_url, TASKS) as pool:
        yield pool


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, application_name="indostar test")
    yield database
    await database.close()


class Clock:
    """Steady seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def open_scrape(pool: JobPool, database: Database, clock: Clock | None = None) -> AsyncIterator[Scrape]:
    stream = EventStream(pool.connection_pool)
    scrape = Scrape(
        pool, database, stream, ScheduleControl(database, TASKS, UTC_CLOCKS), PROVIDERS, clock=clock or Clock()
    )
    try:
        yield scrape
    finally:
        await scrape.aclose()
        await stream.aclose()


async def scraped(pool: JobPool, database: Database) -> Samples:
    async with open_scrape(pool, database) as scrape:
        return samples_in((await scrape.text()).decode())


def jobs(samples: Samples, queue: str) -> list[float | None]:
    return [value(samples, "indostar_queue_jobs", queue=queue, state=of) for of in ("waiting", "scheduled", "running")]


async def test_queues_are_counted_by_what_their_jobs_wait_for(pool: JobPool, database: Database) -> None:
    store = JobStore(pool.connection_pool, lease_ms=600_000)
    for number in range(3):
        await pool.enqueue_job("send_email_task", **MAIL, _job_id=f"running {number}")
    await store.claim(Queue.NOTIFICATIONS, "worker", 2)
    await pool.enqueue_job("send_email_task", **MAIL, _defer_by=timedelta(hours=2))
    await pause(pool, Queue.NOTIFICATIONS)

    samples = await scraped(pool, database)
    await store.aclose()

    assert jobs(samples, "notifications") == [1, 1, 2]
    assert jobs(samples, "default") == [0, 0, 0]
    assert value(samples, "indostar_queue_paused", queue="notifications") == 1
    assert value(samples, "indostar_queue_paused", queue="default") == 0


async def test_what_operators_did_and_nobody_put_on_record_is_counted(pool: JobPool, database: Database) -> None:
    await pool.rpush(UNRECORDED, "{}", "{}")  # type: ignore[misc]  # redis-py's stub

    assert value(await scraped(pool, database), "indostar_audit_unrecorded") == 2


async def test_a_lease_that_ran_out_is_waiting_again(pool: JobPool) -> None:
    now_ms = 1_700_000_000_000
    store, wire = JobStore(pool.connection_pool, lease_ms=1_000, now_ms=now_ms), Wire(pool.connection_pool)
    await pool.enqueue_job("send_email_task", **MAIL, _defer_until=datetime.fromtimestamp(now_ms / 1000 - 60, UTC))
    await store.claim(Queue.NOTIFICATIONS, "worker", 1)

    [_, held, _] = await queue_states(wire, now_ms)
    [_, lost, _] = await queue_states(wire, now_ms + 5_000)
    await store.aclose()
    await wire.aclose()

    assert (held.waiting, held.running, held.oldest_wait_ms) == (0, 1, None)
    assert (lost.waiting, lost.running) == (1, 0)


async def test_what_waits_for_a_limit_waits_since_it_was_enqueued(pool: JobPool) -> None:
    now_ms = 1_700_000_000_000
    wire = Wire(pool.connection_pool)
    await pool.zadd(Queue.NOTIFICATIONS.key, {"in line": now_ms + 3_600_000.25, "due": now_ms - 5_000})
    await pool.zadd(f"indostar:limit:SendGrid:waiting:{Queue.NOTIFICATIONS.key}", {"in line": now_ms - 9_000})
    async with pool.pipeline() as pipe:
        pipe.sadd(WAITED_FOR, "SendGrid")
        await pipe.execute()

    [_, state, _] = await queue_states(wire, now_ms)
    await wire.aclose()

    assert (state.waiting, state.scheduled, state.oldest_wait_ms) == (2, 0, 9_000)


async def test_a_provider_that_is_left_alone_is_told(pool: JobPool, database: Database) -> None:
    store = BreakerStore(pool.connection_pool)
    for provider, verdict in (("sendgrid", Verdict.UNUSABLE), ("ses", Verdict.WELL), ("smtp", Verdict.UNUSABLE)):
        breaker = Breaker(provider, store)
        async with breaker.passage() as passage:
            passage.note(verdict)
        await breaker.aclose()
    await store.aclose()

    samples = await scraped(pool, database)

    told = {name: value(samples, "indostar_provider_left_alone", provider=name) for name in (*PROVIDERS, "smtp")}
    assert told == {"sendgrid": 1, "ses": 0, "twilio": 0, "smtp": None}


async def test_workers_that_serve_are_counted(pool: JobPool, database: Database) -> None:
    ready = asyncio.Event()
    async with running_worker(pool, slots={Queue.NOTIFICATIONS: 7}, on_ready=ready.set):
        await ready.wait()
        samples = await scraped(pool, database)

    assert value(samples, "indostar_workers", queue="notifications") == 1
    assert value(samples, "indostar_worker_slots", queue="notifications") == 7
    assert value(samples, "indostar_workers", queue="default") == 0


async def test_rows_of_the_outbox_that_are_due_wait(pool: JobPool, database: Database) -> None:
    async with database.session() as session:
        await session.execute(
            text(
                "INSERT INTO tasks.outbox (task, created_at, not_before) VALUES "
                "('cleanup_expired_tokens', now() - interval '90 seconds', NULL), "
                "('cleanup_expired_tokens', now(), now() + interval '1 hour')"
            )
        )

    samples = await scraped(pool, database)

    assert value(samples, "indostar_outbox_waiting") == 1
    age = value(samples, "indostar_outbox_oldest_seconds")
    assert age is not None
    assert age >= 90


async def test_charges_that_nothing_asks_about_any_more_are_counted(pool: JobPool, database: Database) -> None:
    shop = DeliveryShop(database)
    await shop.open(6)
    await shop.run()
    for state, numbers in (("pending", [1, 2, 3]), ("unknown", [4]), ("captured", [5])):
        await shop.sql(
            "UPDATE tasks.charges SET state = CAST(:state AS text), reason = 'told', razorpay_payment_id = 'pay'"
            " WHERE subscription_id = ANY(CAST(:numbers AS integer[]))",
            state=state,
            numbers=numbers,
        )
    await shop.sql("UPDATE tasks.charges SET next_look_at = now() WHERE subscription_id = 3")

    samples = await scraped(pool, database)

    told = {
        state: (
            value(samples, "indostar_charges_open", state=state),
            value(samples, "indostar_charges_asked_in_vain", state=state),
        )
        for state in ("planned", "pending", "unknown")
    }
    assert told == {"planned": (1, None), "pending": (3, 2), "unknown": (1, 1)}


async def test_a_slot_that_nobody_settles_is_late(pool: JobPool, database: Database) -> None:
    names = [task.name for task in TASKS if task.schedule is not None]
    async with database.session() as session:
        await session.execute(
            text("INSERT INTO tasks.schedules (name, settled_until) VALUES (:name, now() - interval '3 days')"),
            {"name": names[0]},
        )

    samples = await scraped(pool, database)

    late = value(samples, "indostar_schedule_late_seconds", schedule=names[0])
    assert late is not None
    assert late > timedelta(days=1).total_seconds()
    assert value(samples, "indostar_schedule_late_seconds", schedule=names[1]) == 0
    following = value(samples, "indostar_schedule_next_run_timestamp_seconds", schedule=names[0])
    assert following is not None
    assert following > datetime.now(UTC).timestamp() - 60


async def test_history_says_how_far_it_is_behind(pool: JobPool, database: Database, database_url: str) -> None:
    await pool.enqueue_job("send_email_task", **MAIL)
    assert value(await scraped(pool, database), "indostar_history_lag_events") is None

    async with open_history(pool, database_url) as history:
        await history.projector().catch_up()
        level = await scraped(pool, database)
        await pool.enqueue_job("send_email_task", **MAIL)
        await pool.enqueue_job("send_email_task", **MAIL)
        behind = await scraped(pool, database)

    assert value(level, "indostar_history_lag_events") == 0
    assert value(behind, "indostar_history_lag_events") == 2
    assert await pool.xlen(EVENTS) == 3


async def test_what_is_away_is_told_and_the_rest_is_there(pool: JobPool, database: Database) -> None:
    nowhere = Database("postgresql://me:secret@127.0.0.1:9/x", application_name="indostar test")
    async with open_pool("redis://127.0.0.1:9/0", TASKS) as no_pool:
        without_postgres = await scraped(pool, nowhere)
        without_redis = await scraped(no_pool, database)
    await nowhere.close()

    assert value(without_postgres, "indostar_up", server="postgresql") == 0
    assert jobs(without_postgres, "default") == [0, 0, 0]
    assert value(without_redis, "indostar_up", server="redis") == 0
    assert value(without_redis, "indostar_up", server="postgresql") == 1
    assert value(without_redis, "indostar_outbox_waiting") == 0


async def test_a_server_that_says_nothing_does_not_hold_up_a_scrape(database: Database) -> None:
    async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asking.wait()
        writer.close()

    asking = asyncio.Event()
    async with await asyncio.start_server(say_nothing, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        async with open_pool(f"redis://127.0.0.1:{port}/0", TASKS) as pool:
            samples = await scraped(pool, database)
        asking.set()

    assert value(samples, "indostar_up", server="redis") == 0
    assert value(samples, "indostar_up", server="postgresql") == 1


async def test_scrapes_at_about_the_same_time_share_one_look(pool: JobPool, database: Database) -> None:
    clock = Clock()
    async with open_scrape(pool, database, clock) as scrape:
        first, second = await asyncio.gather(scrape.text(), scrape.text())
        await pool.enqueue_job("send_email_task", **MAIL)
        clock.now = 0.9
        soon = await scrape.text()
        clock.now = 1.0
        later = samples_in((await scrape.text()).decode())

    assert first == second == soon
    assert jobs(later, "notifications") == [1, 0, 0]


async def test_every_metric_is_described(pool: JobPool, database: Database, database_url: str) -> None:
    async with open_history(pool, database_url) as history:
        await history.projector().catch_up()
    names = {name for name, _ in await scraped(pool, database)}
    worker = samples_in(generate_latest(WorkerMetrics(TASKS).registry).decode())
    families = {re.sub("_(bucket|count|sum|created)$", "", name) for name in names | {name for name, _ in worker}}
    page = (PROJECT_ROOT / "docs" / "metrics.md").read_text()

    assert "indostar_history_lag_seconds" in families
    assert [name for name in sorted(families) if name.startswith("indostar_") and f"`{name}`" not in page] == []
