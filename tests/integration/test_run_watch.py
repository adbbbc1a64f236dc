"""The owner is told of a run that has not finished, however it came to that, and once of each reason."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from app.db.engine import Database
from app.db.outbox import OutboxJob
from app.deliveries import runs
from app.dev.fakes import running_fakes
from app.dev.fakes.inbox import Provider
from app.jobs.context import Context, Resources
from app.jobs.queues import Queue
from app.tasks import TASKS
from app.tasks.owner_mail import send_run_unfinished_task
from app.tasks.resources import open_resources
from app.tasks.run_news import RunNews
from app.tasks.run_watch import LOOKED_AT_AFTER, WatchResult, watch_subscription_run
from tests.integration.delivery_shop import DAY, DeliveryShop
from tests.settings import make_settings

OWNER = "owner@example.com"
NEWS = RunNews([OWNER])
MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[DeliveryShop]:
    database = Database(database_url, application_name="indostar test", pool_size=2)
    yield DeliveryShop(database)
    await database.close()


async def watch(shop: DeliveryShop, day: date | None = DAY, *, timezone: str = "UTC") -> WatchResult:
    settings = make_settings(owner_email=OWNER, schedule_timezone=timezone)
    resources = Resources([shop.database, settings])
    context = Context("w1", "w1", watch_subscription_run.name, 1, 4, datetime(2026, 3, 2, 2, tzinfo=UTC), resources)
    return await watch_subscription_run(context, day)


async def begun(shop: DeliveryShop, count: int = 3, *, ago: timedelta = LOOKED_AT_AFTER) -> None:
    """A run of the shop that began so long ago and was stopped at once."""
    await shop.open(count)
    async with shop.database.session() as session:
        run = await runs.begin(session, DAY, "outbox:1")
        await NEWS.begun(session, run, run.started_at)
    await shop.sql("UPDATE tasks.subscription_runs SET started_at = now() - CAST(:ago AS interval)", ago=ago)


async def jobs_of(shop: DeliveryShop, task: Any) -> Sequence[OutboxJob]:
    return [job for job in await shop.jobs() if job.task == task.name]


async def told(shop: DeliveryShop) -> Sequence[Mapping[str, Any]]:
    return [job.kwargs for job in await jobs_of(shop, send_run_unfinished_task)]


async def add_job(shop: DeliveryShop, job_id: str, status: str, error: str | None = None, **kwargs: str) -> None:
    """A job of the run as history has it."""
    await shop.sql(
        """
        INSERT INTO tasks.jobs (id, task, queue, status, kwargs, terms, enqueued_at, tries, root_id, last_event,
            error_type, error_message)
        VALUES (:id, 'process_due_subscriptions', 'subscriptions', :status, CAST(:kwargs AS jsonb), '{}',
            '2026-03-02', 1, :id, '0-0', :type, :message)
        """,
        id=job_id,
        status=status,
        kwargs=json.dumps(kwargs or {"delivery_date": "2026-03-02"}),
        type=error and "RunInterrupted",
        message=error,
    )


async def add_slot(
    shop: DeliveryShop, outcome: str, *, fired: timedelta | None = None, slot: datetime = MIDNIGHT
) -> None:
    """What became of the schedule's slot; `fired` is how long ago."""
    await shop.sql("INSERT INTO tasks.schedules (name) VALUES ('process_due_subscriptions')")
    await shop.sql(
        """
        INSERT INTO tasks.schedule_runs (schedule, slot, outcome, fired_at)
        VALUES ('process_due_subscriptions', :slot, :outcome, now() - CAST(:fired AS interval))
        """,
        slot=slot,
        outcome=outcome,
        fired=fired,
    )


async def test_a_run_has_itself_watched_from_its_beginning(shop: DeliveryShop) -> None:
    await shop.open(1)

    run = await shop.run(news=NEWS)
    await shop.run(news=NEWS)

    [job] = await jobs_of(shop, watch_subscription_run)
    assert job.not_before is not None
    assert timedelta(0) <= job.not_before - LOOKED_AT_AFTER - run.started_at < timedelta(minutes=1)
    assert job.kwargs == {"delivery_date": "2026-03-02"}
    assert watch_subscription_run.schedule is not None
    assert (watch_subscription_run.schedule.crontab.expression, watch_subscription_run.queue) == (
        ("0 2 * * *", Queue.DEFAULT)
    )


async def test_nobody_is_told_of_a_run_that_has_finished(shop: DeliveryShop) -> None:
    await shop.open(1)
    await shop.run(news=NEWS)

    assert (await watch(shop))["run"] == "finished"
    assert await told(shop) == []


@pytest.mark.parametrize(
    ("status", "error", "why"),
    [
        ("failed", "stopped", "its job outbox:1 has failed with RunInterrupted: stopped"),
        ("cancelled", None, "its job outbox:1 was aborted"),
        ("succeeded", None, "its job outbox:1 has ended, and nothing has started it again"),
        ("queued", None, "its job outbox:1 waits to be run"),
        ("running", None, "it is still under way, by the job outbox:1"),
        ("retrying", "stopped", "it is still under way, by the job outbox:1, held up by RunInterrupted: stopped"),
    ],
)
async def test_the_owner_is_told_what_became_of_its_job(
    shop: DeliveryShop, status: str, error: str | None, why: str
) -> None:
    await begun(shop)
    await add_job(shop, "outbox:1", status, error)
    await add_job(shop, "of another day", "running", delivery_date="2026-03-01")

    first, again = await watch(shop), await watch(shop)

    assert (first["run"], first["why"], first["mails"], again["mails"]) == ("unfinished", why, 1, 0)
    assert await told(shop) == [
        {"email": OWNER, "delivery_date": "2026-03-02", "why": why, "charges": 0, "amount": "0.00"}
    ]


async def test_a_job_that_is_alive_says_more_than_one_that_failed(shop: DeliveryShop) -> None:
    await begun(shop)
    # Without a date it works for the day on which it was enqueued.
    await add_job(shop, "alive", "running", something="else")
    await add_job(shop, "failed", "failed", "stopped")

    assert (await watch(shop))["why"] == "it is still under way, by the job alive"


async def test_of_each_reason_the_owner_is_told(shop: DeliveryShop) -> None:
    await begun(shop)
    await watch(shop)
    await runs.pause(shop.database, DAY, "asked by asha")
    await watch(shop)
    await runs.resume(shop.database, DAY, "asha")
    await shop.run(news=NEWS)
    await watch(shop)

    unknown, on_hold = [mail["why"] for mail in await told(shop)]

    assert unknown == "what became of its job outbox:1 is not on record"
    assert on_hold.startswith("it is on hold since ")
    assert on_hold.endswith(" UTC: asked by asha")


async def test_a_run_that_began_late_is_given_its_time(shop: DeliveryShop) -> None:
    await begun(shop, ago=timedelta(minutes=5))

    assert (await watch(shop))["run"] == "just begun"
    assert await told(shop) == []


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        ("missed", "it has not begun: no worker was alive at its time"),
        ("skipped_paused", "it has not begun: its schedule is paused"),
        ("fired", "it has not begun, and no job of it is on record"),
    ],
)
async def test_a_run_that_never_began_is_told_of(shop: DeliveryShop, outcome: str, why: str) -> None:
    await shop.open(1)
    await add_slot(shop, outcome, fired=LOOKED_AT_AFTER if outcome == "fired" else None)

    result = await watch(shop)

    assert (result["run"], result["why"], result["mails"]) == ("unfinished", why, 1)


async def test_the_day_of_a_slot_is_that_of_the_schedules_clocks(shop: DeliveryShop) -> None:
    await shop.open(1)
    await add_slot(shop, "missed", slot=datetime(2026, 3, 1, 18, 30, tzinfo=UTC))

    assert (await watch(shop, timezone="Asia/Kolkata"))["why"] == "it has not begun: no worker was alive at its time"


@pytest.mark.parametrize("is_settled", [True, False])
async def test_a_run_that_is_only_just_started_is_looked_at_again(shop: DeliveryShop, is_settled: bool) -> None:
    await shop.open(1)
    if is_settled:
        await add_slot(shop, "fired", fired=timedelta(minutes=1))

    result = await watch(shop)

    [again] = await jobs_of(shop, watch_subscription_run)
    assert (result["run"], again.kwargs, await told(shop)) == ("just begun", {"delivery_date": "2026-03-02"}, [])
    assert again.not_before is not None
    assert (await watch(shop))["run"] == ("just begun" if is_settled else "unfinished")


async def test_where_nothing_is_due_no_run_is_missed(shop: DeliveryShop) -> None:
    await shop.open(1)
    await shop.sql("UPDATE subscriptions SET status = 'paused'")

    assert (await watch(shop, None))["run"] == "nothing due"
    assert await told(shop) == []


async def test_the_mail_says_what_to_do(shop: DeliveryShop) -> None:
    await begun(shop)
    await add_job(shop, "outbox:1", "failed", "stopped\nthere")
    await watch(shop)
    [kwargs] = await told(shop)

    async with running_fakes() as fakes:
        url = shop.database.engine.url.render_as_string(hide_password=False)
        async with open_resources(make_settings(fakes_url=fakes.url, database_url=url)) as resources:
            name = send_run_unfinished_task.name
            await send_run_unfinished_task(Context("j1", "j1", name, 1, 4, datetime.now(UTC), resources), **kwargs)

        [mail] = fakes.inbox.find(Provider.SENDGRID)
    assert mail.subject == "The deliveries of 2 March 2026 are not all planned"
    assert "Why: its job outbox:1 has failed with RunInterrupted: stopped there\n" in (mail.text or "")
    assert "indostar enqueue process_due_subscriptions delivery_date=2026-03-02\n" in (mail.text or "")


def test_the_run_that_is_watched_is_a_task() -> None:
    assert runs.RUNNING in {task.name for task in TASKS}
