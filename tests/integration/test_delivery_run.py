"""The run of a date: planned once, whoever is at it, whoever is in the way, and however it is stopped."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import count

import pytest
from sqlalchemy import text

from app.db.engine import Database
from app.db.migrate import migrate
from app.deliveries.days import today
from app.dev.demo_shop import create_shop_tables
from app.jobs.queues import Queue
from app.jobs.serializer import JobFailed
from app.jobs.task import TaskRegistry
from app.tasks.run_watch import watch_subscription_run
from app.tasks.subscriptions import declare_midnight_run
from tests.endings import ended_at
from tests.integration.delivery_shop import DAY, ONE_DAY, DeliveryShop
from tests.running import found, open_pool, run_burst
from tests.settings import make_settings
from tests.waiting import until


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[DeliveryShop]:
    database = Database(database_url, application_name="indostar test", pool_size=6)
    yield DeliveryShop(database)
    await database.close()


@asynccontextmanager
async def in_the_way(shop: DeliveryShop, statement: str) -> AsyncIterator[None]:
    """Somebody's transaction, which commits once somebody else waits for it."""
    async with shop.database.session() as session:
        await session.execute(text(statement))
        yield

        async def somebody_waits() -> bool:
            [(waiting,)] = await shop.sql(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
            )
            return bool(waiting)

        await until(somebody_waits)


async def test_each_charge_has_a_job_with_its_arguments(shop: DeliveryShop) -> None:
    await shop.open(4)
    await shop.sql("UPDATE users SET is_active = false WHERE id = 3")

    run = await shop.run()

    jobs = [(job.task, job.kwargs, job.key) for job in await shop.jobs()]
    assert jobs == [
        (
            "process_single_subscription",
            {"subscription_id": number, "delivery_date": "2026-03-02"},
            f"delivery:{number}:2026-03-02",
        )
        for number in (1, 3, 4)
    ]
    assert (run.charges, run.charges_paise, run.skipped) == (3, 3 * 6800, {"customer_inactive": 1})
    assert run.finished_at is not None
    assert await shop.stock() == {1: 997}


async def test_a_second_run_changes_nothing(shop: DeliveryShop) -> None:
    await shop.open(7, stock=5)
    await shop.run(notice_days=2)
    before = await shop.everything()

    await shop.run(notice_days=2)

    assert await shop.everything() == before


async def test_a_second_run_plans_what_became_due_since(shop: DeliveryShop) -> None:
    await shop.open(4)
    await shop.sql("UPDATE subscriptions SET status = 'paused' WHERE id = 2")
    await shop.run()
    await shop.sql("UPDATE subscriptions SET status = 'active' WHERE id = 2")

    run = await shop.run()

    assert await shop.reasons() == {1: None, 2: None, 3: None, 4: None}
    assert (run.charges, await shop.stock()) == (4, {1: 996})


async def test_a_delivery_that_is_due_again_is_not_planned_again(shop: DeliveryShop) -> None:
    await shop.open(2)
    await shop.run()
    await shop.sql("UPDATE subscriptions SET next_delivery_date = :day", day=DAY)

    run = await shop.run()

    assert (len(await shop.charges()), len(await shop.jobs()), run.charges) == (2, 2, 2)
    assert await shop.stock() == {1: 998}
    assert {row[0] for row in await shop.sql("SELECT next_delivery_date FROM subscriptions")} == {DAY + ONE_DAY}


async def test_several_at_once_are_one_run(shop: DeliveryShop) -> None:
    await shop.open(40, products=3, stock=10)

    await asyncio.gather(*(shop.run(page=4) for _ in range(3)), shop.run(DAY - ONE_DAY, page=4))

    run = await shop.run()
    assert len(await shop.charges()) == 40
    assert (run.charges, run.skipped) == (30, {"no_stock": 10})
    assert await shop.stock() == {1: 0, 2: 0, 3: 0}
    assert len(await shop.jobs()) == 30


async def test_stock_that_the_shop_sells_meanwhile_is_not_given_out(shop: DeliveryShop) -> None:
    await shop.open(5, stock=10)

    async with in_the_way(shop, "UPDATE products SET stock_quantity = 2"):
        running = asyncio.create_task(shop.run(page=5))
    run = await running

    assert await shop.reasons() == {1: None, 2: None, 3: "no_stock", 4: "no_stock", 5: "no_stock"}
    assert (run.charges, run.skipped, await shop.stock()) == (2, {"no_stock": 3}, {1: 0})
    assert len(await shop.jobs()) == 2


async def test_whoever_pauses_meanwhile_gets_no_delivery(shop: DeliveryShop) -> None:
    await shop.open(5)

    async with in_the_way(shop, "UPDATE subscriptions SET status = 'paused' WHERE id = 2"):
        running = asyncio.create_task(shop.run(page=5))
    await running

    assert await shop.reasons() == {1: None, 3: None, 4: None, 5: None}
    assert await shop.stock() == {1: 996}


async def test_payments_can_be_written_while_a_run_waits(shop: DeliveryShop) -> None:
    await shop.open(2)
    pay = "INSERT INTO payments (subscription_id, razorpay_payment_id, amount) VALUES (1, 'pay_1', 68)"

    async with in_the_way(shop, "UPDATE products SET stock_quantity = 2"):
        running = asyncio.create_task(shop.run())
        async with asyncio.timeout(60):
            await shop.sql(pay)
    await running

    assert await shop.reasons() == {1: None, 2: None}


async def test_a_run_that_ends_at_any_await_goes_on_as_one_run(database_url: str) -> None:
    """Each time another day of the same shop, with seven subscriptions in two pages."""
    database = Database(database_url, application_name="indostar test", pool_size=2)
    shop = DeliveryShop(database)
    await shop.open(7, products=2, stock=100_000)
    await shop.sql("INSERT INTO tasks.mandates SELECT n, 'cust', 'token', 'upi' FROM generate_series(1, 3) n")
    await shop.sql("UPDATE users SET is_active = false WHERE id = 4")
    # A statement has two awaits: each second one meets them all.
    for days, step in enumerate(count(1, 2), start=1):
        day = DAY + (days - 1) * ONE_DAY
        # A process of its own: what its connections are left in dies with it.
        dying = Database(database_url, application_name="indostar test", pool_size=2)
        has_ended = await ended_at(step, replace(shop, database=dying).run(day, page=4, notice_days=2))
        await dying.close()

        run = await shop.run(day, notice_days=2)

        assert (run.charges, run.charges_paise, run.skipped) == (6, 6 * 6800, {"customer_inactive": 1})
        assert run.notices == 2
        if has_ended:
            break
    assert days > 15
    assert len(await shop.charges()) == 7 * days
    assert len(await shop.jobs()) == 6 * days
    # One of the first product's four customers is inactive.
    assert await shop.stock() == {1: 100_000 - 3 * days, 2: 100_000 - 3 * days}
    await database.close()


async def test_a_shop_without_our_tables_gets_them_and_a_run(empty_database_url: str) -> None:
    await create_shop_tables(empty_database_url)
    await migrate(empty_database_url)
    database = Database(empty_database_url, application_name="indostar test", pool_size=2)
    shop = DeliveryShop(database)
    await shop.open(5, stock=3)

    await shop.run()

    assert await shop.stock() == {1: 0}
    assert len(await shop.jobs()) == 3
    await database.close()


class TestTask:
    """`process_due_subscriptions` as a job."""

    async def test_it_plans_its_date_and_says_what_came_of_it(self, shop: DeliveryShop, redis_url: str) -> None:
        await shop.open(3, stock=2)
        await shop.sql("UPDATE users SET email = 'owner@example.com' WHERE id = 1")
        day = today()
        await shop.sql("UPDATE subscriptions SET next_delivery_date = :day", day=day)
        tasks = TaskRegistry()
        midnight = declare_midnight_run(tasks)

        async with open_pool(redis_url, tasks) as pool:
            job = await midnight.enqueue(pool, delivery_date=day)
            await run_burst(pool, [shop.database, make_settings()])
            assert job is not None
            result = await job.result(timeout=60)

        assert result == {
            "delivery_date": day,
            "charges": 2,
            "amount": Decimal("136.00"),
            "skipped": {"no_stock": 1},
            "notices": 0,
            "paused": None,
        }
        [watched] = [job for job in await shop.jobs() if job.task == watch_subscription_run.name]
        assert {job.key for job in await shop.jobs()} == {
            f"delivery:1:{day}",
            f"delivery:2:{day}",
            f"delivery:3:{day}:skipped",
            f"stock_out:{day}:1",
            f"sweep:{day}",
            watched.key,
            f"reminders:{day + ONE_DAY}:3",
            f"report:{day}",
            f"report:{day}:closing",
        }

    @pytest.mark.parametrize(
        ("days", "error"),
        [(2, "DateNotCome: the deliveries of"), (-33, "DateLongOver: .* any more: that can be done for 31 days$")],
    )
    async def test_a_day_that_is_not_about_now_is_refused(
        self, shop: DeliveryShop, redis_url: str, days: int, error: str
    ) -> None:
        await shop.open(1)
        tasks = TaskRegistry()
        midnight = declare_midnight_run(tasks)

        async with open_pool(redis_url, tasks) as pool:
            job = await midnight.enqueue(pool, delivery_date=today() + days * ONE_DAY)
            await run_burst(pool, [shop.database, make_settings()])
            assert job is not None
            with pytest.raises(JobFailed, match=error):
                await job.result(timeout=60)

        assert await shop.sql("SELECT delivery_date FROM tasks.subscription_runs") == []

    async def test_its_soft_time_limit_lets_it_go_on_later(self, shop: DeliveryShop, redis_url: str) -> None:
        await shop.open(5)
        day = today()
        await shop.sql("UPDATE subscriptions SET next_delivery_date = :day", day=day)
        tasks = TaskRegistry()
        plan = tasks.task(queue=Queue.SUBSCRIPTIONS, soft_time_limit=timedelta(seconds=1))(
            declare_midnight_run(TaskRegistry()).function
        )

        async with open_pool(redis_url, tasks) as pool:
            # Held up until its time is over, and free at the next try.
            async with shop.database.session() as session:
                await session.execute(text("SELECT FROM subscriptions WHERE id = 4 FOR UPDATE"))
                job = await plan.enqueue(pool, delivery_date=day)
                assert job is not None
                await run_burst(pool, [shop.database, make_settings()])
            told = await found(pool, job.job_id)
            assert [attempt.outcome for attempt in told.attempts] == ["put_off"]

        await shop.run(day)
        assert len(await shop.charges()) == 5

    async def test_it_is_due_at_midnight_with_the_slots_date(self) -> None:
        schedule = declare_midnight_run(TaskRegistry()).schedule

        assert schedule is not None
        assert (schedule.crontab.expression, schedule.date_argument) == ("0 0 * * *", "delivery_date")
        assert schedule.catch_up == timedelta(hours=12)
