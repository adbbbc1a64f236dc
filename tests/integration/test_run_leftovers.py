"""What a run leaves behind it, because others held it or because it was resumed meanwhile, is planned at its end."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date, timedelta

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from app.db.engine import Database
from app.db.subscription_runs import SubscriptionRun
from app.deliveries import runs
from app.deliveries.days import today
from app.deliveries.leftovers import ROUNDS
from app.deliveries.run import RunInterrupted
from app.errors import Unavailable
from app.tasks.reminders import send_subscription_renewal_reminders
from app.tasks.run_news import RunNews
from tests.integration.delivery_shop import DAY, ONE_DAY, DeliveryShop
from tests.integration.test_delivery_run import in_the_way
from tests.waiting import until

SOON = timedelta(milliseconds=50)
# A day that is not over while the test goes on.
COMING = today() + 2 * ONE_DAY


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[DeliveryShop]:
    database = Database(database_url, application_name="indostar test", pool_size=4)
    yield DeliveryShop(database)
    await database.close()


async def opened(shop: DeliveryShop, count: int, day: date = COMING) -> None:
    await shop.open(count)
    await shop.sql("UPDATE subscriptions SET next_delivery_date = :day", day=day)


def hold(*ids: int) -> str:
    return f"SELECT id FROM subscriptions WHERE id IN ({', '.join(map(str, ids))}) FOR UPDATE"  # numbers


async def run_beside(shop: DeliveryShop, holding: str, day: date, news: RunNews | None = None) -> SubscriptionRun:
    """The run while somebody has that open in psql."""
    async with shop.database.session() as open_psql:
        await open_psql.execute(text(holding))
        return await shop.run(day, page=3, lock_patience=SOON, news=news)


async def test_one_locked_subscription_costs_nobody_else_a_delivery(shop: DeliveryShop) -> None:
    await opened(shop, 9)

    with pytest.raises(RunInterrupted, match="others hold 1 of its subscriptions, such as 2") as interrupted:
        await run_beside(shop, hold(2), COMING, RunNews([]))

    # It is put off, and costs no try.
    assert isinstance(interrupted.value, Unavailable)
    assert await shop.reasons() == dict.fromkeys((1, *range(3, 10)))
    assert await shop.stock() == {1: 992}
    # Neither is its date moved on, nor is the run over.
    assert [
        row.id for row in await shop.sql("SELECT id FROM subscriptions WHERE next_delivery_date = :d", d=COMING)
    ] == [2]
    [run] = await shop.sql("SELECT position, finished_at, charges FROM tasks.subscription_runs")
    assert tuple(run) == (9, None, 8)
    assert send_subscription_renewal_reminders.name not in {job.task for job in await shop.jobs()}


async def test_it_gets_its_own_once_it_is_free(shop: DeliveryShop) -> None:
    await opened(shop, 9)
    await shop.sql("INSERT INTO tasks.mandates SELECT n, 'cust', 'token', 'upi' FROM generate_series(1, 9) n")
    with pytest.raises(RunInterrupted):
        await run_beside(shop, hold(2, 5), COMING)

    run = await shop.run(COMING, page=3, notice_days=2)

    assert run.finished_at is not None
    assert await shop.reasons() == dict.fromkeys(range(1, 10))
    assert (run.charges, await shop.stock(), len(await shop.jobs())) == (9, {1: 991}, 9)
    # The others' were for the try before.
    assert [row.subscription_id for row in await shop.sql("SELECT * FROM tasks.debit_notices ORDER BY 2")] == [2, 5]


async def test_who_holds_many_is_waited_for_once_and_once_more_at_the_end(shop: DeliveryShop) -> None:
    await opened(shop, 30)

    with capture_logs() as logs, pytest.raises(RunInterrupted, match="others hold 20 of its subscriptions"):
        await run_beside(shop, "SELECT id FROM subscriptions WHERE id % 3 > 0 FOR UPDATE", COMING)

    assert len(await shop.charges()) == 10
    held = [entry["count"] for entry in logs if entry["event"] == "subscriptions.held"]
    # Ten pages, and what was left of them three by three.
    assert held == 10 * [2] + 6 * [3] + [2]


async def test_what_is_held_when_its_day_is_over_is_left_to_the_next_run(shop: DeliveryShop) -> None:
    await opened(shop, 9, DAY)

    run = await run_beside(shop, hold(2), DAY)
    planned = await shop.reasons()
    await shop.run(DAY + ONE_DAY, page=3)

    assert run.finished_at is not None
    assert planned == dict.fromkeys((1, *range(3, 10)))
    assert [charge.subscription_id for charge in await shop.charges() if charge.reason == "missed"] == [2]


async def test_a_run_that_is_paused_meanwhile_leaves_the_leftovers(shop: DeliveryShop) -> None:
    await opened(shop, 3)
    with pytest.raises(RunInterrupted):
        await run_beside(shop, hold(2), COMING)
    await runs.pause(shop.database, COMING, "asked by asha")

    run = await shop.run(COMING)

    assert (run.finished_at, set(await shop.reasons())) == (None, {1, 3})


async def test_whoever_resumes_behind_the_run_gets_the_delivery_that_is_due(shop: DeliveryShop) -> None:
    await opened(shop, 6, DAY)
    await shop.sql("INSERT INTO tasks.mandates VALUES (1, 'cust', 'token', 'upi')")
    await shop.sql("UPDATE subscriptions SET status = 'paused' WHERE id = 1")

    async with in_the_way(shop, "UPDATE subscriptions SET updated_at = now() WHERE id = 5"):
        running = asyncio.create_task(shop.run(page=3, notice_days=2))
        await until(shop.charges)
        await shop.sql("UPDATE subscriptions SET status = 'active' WHERE id = 1")
    run = await running

    assert (run.charges, run.notices, await shop.reasons()) == (6, 1, dict.fromkeys(range(1, 7)))
    await shop.run(DAY + ONE_DAY)
    assert {charge.reason for charge in await shop.charges()} == {None}


async def test_what_becomes_due_again_and_again_keeps_no_run_from_its_end(shop: DeliveryShop) -> None:
    await opened(shop, 2)
    await shop.sql("CREATE TABLE moves (id integer)")
    await shop.sql(
        """
        CREATE FUNCTION stay_due() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO moves VALUES (OLD.id);
            NEW.next_delivery_date := OLD.next_delivery_date;
            RETURN NEW;
        END $$
        """
    )
    await shop.sql(
        "CREATE TRIGGER stay_due BEFORE UPDATE ON subscriptions FOR EACH ROW WHEN (OLD.id = 1)"
        " EXECUTE FUNCTION stay_due()"
    )

    run = await shop.run(COMING)

    assert run.finished_at is not None
    # In its turn, and in each round over what is left.
    assert len(await shop.sql("SELECT id FROM moves")) == 1 + ROUNDS
    assert (run.charges, await shop.stock()) == (2, {1: 998})
