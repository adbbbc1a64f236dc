"""What is kept as long as history goes with it, and what somebody may still need stays."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app.db.engine import Database
from app.db.retention import MOST_ROWS_A_STATEMENT, delete_old
from app.deliveries.retention import OLD_REMINDERS, OLD_SUBSCRIPTION_RUNS
from app.jobs.queues import Queue
from app.letters.retention import OLD_ENDS
from app.notify.outages import OLD_OUTAGES
from app.notify.retention import OLD_MESSAGES
from app.outbox.retention import OLD_ROWS
from app.schedules.retention import OLD_RUNS
from app.steering.retention import OLD_AUDIT
from app.tasks.serving import open_worker, worker_options
from tests.resting import Rests
from tests.settings import make_settings
from tests.waiting import until

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BEFORE = NOW - timedelta(days=90)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, application_name="indostar test", pool_size=2)
    yield database
    await database.close()


async def sql(database: Database, statement: str, **values: Any) -> list[Any]:
    async with database.session() as session:
        result = await session.execute(text(statement), values)
        return list(result.scalars()) if result.returns_rows else []  # type: ignore[attr-defined]  # of a CursorResult


async def add_row(database: Database, key: str, *, created: datetime, ended: datetime | None) -> None:
    statement = "INSERT INTO tasks.outbox (task, key, created_at, ended_at) VALUES ('t', :key, :created, :ended)"
    await sql(database, statement, key=key, created=created, ended=ended)


async def test_rows_of_the_outbox_go_when_history_has_forgotten_their_jobs(database: Database) -> None:
    day = timedelta(days=1)
    await add_row(database, "long ended", created=BEFORE - 2 * day, ended=BEFORE - day)
    await add_row(database, "in history", created=BEFORE - 2 * day, ended=BEFORE - day)
    await add_row(database, "just ended", created=BEFORE - 2 * day, ended=BEFORE + day)
    await add_row(database, "waits for its day", created=BEFORE - 300 * day, ended=None)
    await add_row(database, "new", created=NOW, ended=NOW)
    await sql(
        database,
        """
        INSERT INTO tasks.jobs (id, task, queue, status, kwargs, terms, enqueued_at, tries, root_id, last_event)
        SELECT 'outbox:' || id, task, 'default', 'failed', '{}', '{}', created_at, 4, 'outbox:' || id, '0-0'
        FROM tasks.outbox WHERE key = 'in history'
        """,
    )

    assert await delete_old(database, OLD_ROWS, BEFORE) == 1
    assert await delete_old(database, OLD_ROWS, BEFORE) == 0

    kept = ["in history", "just ended", "waits for its day", "new"]
    assert await sql(database, "SELECT key FROM tasks.outbox ORDER BY id") == kept


async def test_many_rows_go_page_by_page_with_rests_between(database: Database) -> None:
    count = 2 * MOST_ROWS_A_STATEMENT + 1
    await sql(
        database,
        "INSERT INTO tasks.outbox (task, created_at, ended_at) SELECT 't', :at, :at FROM generate_series(1, :count)",
        at=BEFORE - timedelta(days=1),
        count=count,
    )
    rests = Rests()

    deleted = await delete_old(database, OLD_ROWS, BEFORE, rest=rests)

    assert deleted == count
    # The last of four looks finds nothing.
    assert len(rests) == 3


async def test_old_slots_go_but_for_the_last_run_of_each_schedule(database: Database) -> None:
    await sql(database, "INSERT INTO tasks.schedules (name) VALUES ('daily'), ('rare')")
    old, older = BEFORE - timedelta(days=1), BEFORE - timedelta(days=2)
    for name, slot, outcome in [
        ("daily", older, "fired"),
        ("daily", old, "missed"),
        ("daily", NOW, "fired"),
        ("rare", older, "fired"),
        ("rare", old, "fired"),
    ]:
        statement = (
            "INSERT INTO tasks.schedule_runs (schedule, slot, outcome, fired_at) VALUES (:name, :slot, :outcome, :at)"
        )
        at = slot if outcome == "fired" else None
        await sql(database, statement, name=name, slot=slot, outcome=outcome, at=at)

    assert await delete_old(database, OLD_RUNS, BEFORE) == 3

    assert await sql(database, "SELECT slot FROM tasks.schedule_runs ORDER BY schedule") == [NOW, old]


async def test_who_discarded_a_letter_is_known_as_long_as_the_letter(database: Database) -> None:
    at = BEFORE - timedelta(days=1)
    await sql(
        database,
        """
        INSERT INTO tasks.closed_letters (job_id, enqueued_at, action, closed_by, closed_at)
        VALUES ('gone', :at, 'discarded', 'asha', :at), ('kept', :at, 'discarded', 'asha', :at)
        """,
        at=at,
    )
    await sql(
        database,
        """
        INSERT INTO tasks.jobs (id, task, queue, status, kwargs, terms, enqueued_at, tries, root_id, last_event)
        VALUES ('kept', 't', 'default', 'failed', '{}', '{}', :at, 1, 'kept', '0-0')
        """,
        at=at,
    )

    assert await delete_old(database, OLD_ENDS, BEFORE) == 1

    assert await sql(database, "SELECT job_id FROM tasks.closed_letters") == ["kept"]


async def test_messages_are_kept_while_a_job_of_their_line_is(database: Database) -> None:
    old = BEFORE - timedelta(days=1)
    for root, updated in (("gone", old), ("kept", old), ("run again", old), ("just sent", NOW)):
        await sql(
            database,
            """
            INSERT INTO tasks.messages
                (root_job_id, channel, job_id, attempt, recipient, status, tries, created_at, updated_at)
            VALUES (:root, 'email', :root, 'a', 'masked', 'sent', 1, :old, :updated)
            """,
            root=root,
            old=old,
            updated=updated,
        )
    for job_id, root, retry_of in (("kept", "kept", None), ("later", "run again", "before"), ("other", "gone", None)):
        await sql(
            database,
            """
            INSERT INTO tasks.jobs
                (id, task, queue, status, kwargs, terms, enqueued_at, tries, root_id, retry_of, last_event)
            VALUES (:id, 't', 'default', 'failed', '{}', '{}', :old, 1, :root, :retry_of, '0-0')
            """,
            id=job_id,
            old=old,
            root=root,
            retry_of=retry_of,
        )

    assert await delete_old(database, OLD_MESSAGES, BEFORE) == 1

    left = await sql(database, "SELECT root_job_id FROM tasks.messages ORDER BY 1")
    assert left == ["just sent", "kept", "run again"]


async def test_old_midnight_runs_go_but_for_those_that_wait_for_a_person(database: Database) -> None:
    day = timedelta(days=1)
    old = BEFORE - 2 * day
    for number, (finished, paused, resumed) in enumerate(
        [(old, None, None), (old, None, old), (old, old, None), (old, old, old), (None, None, None), (NOW, None, None)]
    ):
        # Finished, paused, resumed: the fourth was paused a second time.
        await sql(
            database,
            """
            INSERT INTO tasks.subscription_runs
                (delivery_date, started_by, finished_at, paused_at, paused_because, resumed_at)
            VALUES (:date, 'j', :finished, :paused, :because, :resumed)
            """,
            date=old.date() - number * day,
            finished=finished,
            paused=paused,
            because=paused and "too many",
            resumed=resumed,
        )

    assert await delete_old(database, OLD_SUBSCRIPTION_RUNS, BEFORE) == 2

    assert len(await sql(database, "SELECT delivery_date FROM tasks.subscription_runs")) == 4


async def test_outages_are_kept_while_they_last_and_then_as_long_as_history(database: Database) -> None:
    await sql(
        database,
        """
        INSERT INTO tasks.provider_outages (provider, opened_at, reason, closed_at) VALUES
            ('sendgrid', :old, 'over', :old), ('sendgrid', :before, 'ended later', :now), ('ses', :old, 'lasts', NULL)
        """,
        old=BEFORE - timedelta(days=2),
        before=BEFORE - timedelta(days=1),
        now=NOW,
    )

    assert await delete_old(database, OLD_OUTAGES, BEFORE) == 1
    assert await delete_old(database, OLD_OUTAGES, BEFORE) == 0

    assert await sql(database, "SELECT reason FROM tasks.provider_outages ORDER BY 1") == ["ended later", "lasts"]


async def test_the_outage_of_a_provider_that_is_out_of_the_setting_ends(
    database: Database, database_url: str, redis_url: str
) -> None:
    await sql(
        database,
        "INSERT INTO tasks.provider_outages (provider, opened_at, reason)"
        " SELECT unnest(ARRAY['sendgrid', 'ses', 'twilio', 'razorpay']), :old, 'lasts'",
        old=BEFORE,
    )
    settings = make_settings(database_url=database_url, redis_url=redis_url, razorpay_key_id=None)

    async def have_ended() -> list[Any]:
        return await sql(database, "SELECT provider FROM tasks.provider_outages WHERE closed_at IS NOT NULL")

    async with open_worker(settings, worker_options(settings, [Queue.DEFAULT])) as worker:
        running = asyncio.create_task(worker.run())
        await until(have_ended)
        worker.stop()
        await running

    assert await have_ended() == ["ses"]


async def test_old_reminders_go_but_for_those_of_days_to_come(database: Database) -> None:
    day = timedelta(days=1)
    old = BEFORE - 2 * day
    for date, reminded in ((old, old), (old + day, old), (old, NOW), (NOW + day, old)):
        await sql(
            database,
            "INSERT INTO tasks.reminders SELECT :date, count(*), :reminded FROM tasks.reminders",
            date=date.date(),
            reminded=reminded,
        )

    assert await delete_old(database, OLD_REMINDERS, BEFORE) == 2
    assert await delete_old(database, OLD_REMINDERS, BEFORE) == 0

    assert await sql(database, "SELECT subscription_id FROM tasks.reminders ORDER BY 1") == [2, 3]


async def test_what_operators_did_goes_with_its_time(database: Database) -> None:
    for action, at in (("old", BEFORE - timedelta(days=1)), ("new", BEFORE + timedelta(days=1))):
        await sql(
            database,
            """
            INSERT INTO tasks.audit (id, at, actor, role, source, action, object_type, details, result)
            VALUES (gen_random_uuid(), :at, 'asha', 'operator', 'api', :action, 'queue', '{}', 'done')
            """,
            at=at,
            action=action,
        )

    assert await delete_old(database, OLD_AUDIT, BEFORE) == 1

    assert await sql(database, "SELECT action FROM tasks.audit") == ["new"]
