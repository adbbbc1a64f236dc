"""Reminders of the next day's deliveries: what the run would charge, once, and each customer in one mail."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import text

from app.db.engine import Database
from app.deliveries.days import today
from app.deliveries.decisions import Terms
from app.deliveries.preview import Preview
from app.deliveries.reminders import Reminded, Reminders
from app.jobs.queues import Queue
from app.jobs.serializer import JobFailed
from app.jobs.task import TaskRegistry
from app.tasks.notifications import send_subscription_renewal_reminder_task
from app.tasks.reminders import send_subscription_renewal_reminders
from tests.endings import ended_at
from tests.integration.delivery_shop import DAY, ONE_DAY, DeliveryShop
from tests.running import found, open_pool, run_burst
from tests.settings import make_settings


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[DeliveryShop]:
    database = Database(database_url, application_name="indostar test", pool_size=4)
    yield DeliveryShop(database)
    await database.close()


async def opened(shop: DeliveryShop, count: int = 1, *, stock: int = 1000) -> None:
    """The shop, with an address for each customer and names that tell products apart."""
    await shop.open(count, products=3, stock=stock)
    await shop.sql("UPDATE users SET email = 'customer' || id || '@example.com', name = 'Customer ' || id")
    await shop.sql("UPDATE products SET title = 'Milk ' || id")
    await shop.sql("TRUNCATE tasks.reminders")


async def remind(shop: DeliveryShop, day: date = DAY, *, page: int = 2) -> Reminded:
    return await Reminders(shop.database, Terms(day), send_subscription_renewal_reminder_task, page=page).run()


async def mails(shop: DeliveryShop) -> Sequence[Mapping[str, Any]]:
    jobs = [job for job in await shop.jobs() if job.task == send_subscription_renewal_reminder_task.name]
    assert all(job.key is None for job in jobs)
    return [job.kwargs for job in jobs]


async def reminded_of(shop: DeliveryShop) -> list[int]:
    """Ids of all subscriptions in all mails."""
    return sorted(each["subscription_id"] for mail in await mails(shop) for each in (mail, *mail.get("others", [])))


async def test_a_customer_is_told_what_comes_when_and_what_it_costs(shop: DeliveryShop) -> None:
    await opened(shop, 2)

    reminded = await remind(shop)

    assert await mails(shop) == [
        {
            "email": f"customer{number + 1}@example.com",
            "customer_name": f"Customer {number + 1}",
            "product_name": f"Milk {number + 1}",
            "frequency": "daily",
            "next_delivery_date": "2026-03-02",
            "amount": "68.00",
            "subscription_id": number,
        }
        for number in (1, 2)
    ]
    assert reminded == Reminded(customers=2, deliveries=2)


async def test_a_customer_with_three_subscriptions_gets_one_mail(shop: DeliveryShop) -> None:
    await opened(shop, 4)
    await shop.sql("UPDATE subscriptions SET user_id = 3, plan_frequency = 'weekly' WHERE id IN (1, 4)")
    await shop.sql("UPDATE addresses SET user_id = 3 WHERE id IN (1, 4)")
    await shop.sql("UPDATE products SET title = ' ' WHERE id = 2")

    reminded = await remind(shop)

    of_three, of_one = await mails(shop)
    assert (of_three["subscription_id"], of_three["product_name"]) == (1, "product")
    assert of_three["others"] == [
        {"product_name": "Milk 3", "frequency": "daily", "amount": "68.00", "subscription_id": 2},
        {"product_name": "product", "frequency": "weekly", "amount": "68.00", "subscription_id": 4},
    ]
    assert (of_one["subscription_id"], "others" in of_one) == (3, False)
    assert reminded == Reminded(customers=2, deliveries=4)


async def test_a_second_time_nothing_is_sent_but_what_is_new(shop: DeliveryShop) -> None:
    await opened(shop, 3)
    await shop.sql("UPDATE subscriptions SET user_id = 2, status = 'paused' WHERE id = 3")
    await shop.sql("UPDATE addresses SET user_id = 2 WHERE id = 3")
    await remind(shop)
    assert await remind(shop) == Reminded(deliveries_before=2)
    assert await reminded_of(shop) == [1, 2]

    await shop.sql("UPDATE subscriptions SET status = 'active' WHERE id = 3")
    again = await remind(shop)

    assert again == Reminded(customers=1, deliveries=1, deliveries_before=2)
    assert [mail["subscription_id"] for mail in await mails(shop)] == [1, 2, 3]


@pytest.mark.parametrize(
    "fault",
    [
        "UPDATE users SET is_active = false WHERE id = 2",
        "UPDATE products SET is_active = false WHERE id = 2",
        "UPDATE addresses SET user_id = 1 WHERE id = 1",
        "UPDATE products SET consumer_price = 0.5 WHERE id = 2",
        "UPDATE subscriptions SET razorpay_subscription_id = ' ' WHERE id = 1",
        "INSERT INTO tasks.mandates VALUES (1, 'cust', 'token', 'upi', NULL, '2026-03-02')",
        "INSERT INTO tasks.mandates VALUES (1, 'cust', 'token', 'upi', 67.99)",
        "UPDATE subscriptions SET status = 'paused' WHERE id = 1",
        "UPDATE subscriptions SET next_delivery_date = '2026-03-03' WHERE id = 1",
        "UPDATE subscriptions SET plan_frequency = 'alternate_days', next_delivery_date = '2026-03-01' WHERE id = 1",
    ],
)
async def test_nobody_is_reminded_of_what_the_run_would_not_charge(shop: DeliveryShop, fault: str) -> None:
    await opened(shop, 2)
    await shop.sql(fault)

    await remind(shop)

    assert await reminded_of(shop) == [2]
    lines = [line async for line in Preview(shop.database, Terms(DAY)).lines() if line.delivery_date == DAY]
    assert [line.subscription_id for line in lines if line.reason is None] == [2]


async def test_stock_that_is_not_there_yet_is_no_reason_not_to_remind(shop: DeliveryShop) -> None:
    await opened(shop, 2, stock=0)

    await remind(shop)

    assert await reminded_of(shop) == [1, 2]


async def test_an_amount_that_was_announced_is_the_one_that_is_told(shop: DeliveryShop) -> None:
    await opened(shop, 2)
    await shop.sql("INSERT INTO tasks.mandates VALUES (1, 'cust', 'token', 'upi')")
    await shop.run(DAY - ONE_DAY, notice_days=1)
    await shop.sql("UPDATE products SET consumer_price = 75")

    await remind(shop)

    assert [mail["amount"] for mail in await mails(shop)] == ["68.00", "75.00"]


@pytest.mark.parametrize("email", [None, "", "asha@", "a@example.com\nBcc: b@example.com"])
async def test_customers_without_an_address_are_counted(shop: DeliveryShop, email: str | None) -> None:
    await opened(shop, 3)
    await shop.sql("UPDATE users SET email = :email WHERE id = 2", email=email)

    reminded = await remind(shop)

    assert reminded == Reminded(customers=2, deliveries=2, without_email=1)
    assert await shop.sql("SELECT subscription_id FROM tasks.reminders ORDER BY 1") == [(2,), (3,)]


async def test_several_at_once_remind_once(shop: DeliveryShop) -> None:
    await opened(shop, 20)

    done = await asyncio.gather(*(remind(shop, page=5) for _ in range(3)))

    assert await reminded_of(shop) == list(range(1, 21))
    assert sum(each.deliveries for each in done) == 20


async def test_reminders_that_end_at_any_await_go_on_without_a_second_mail(database_url: str) -> None:
    database = Database(database_url, application_name="indostar test", pool_size=2)
    shop = DeliveryShop(database)
    await opened(shop, 5)
    for days, step in enumerate(count(1, 2), start=1):
        day = DAY + days * ONE_DAY
        dying = Database(database_url, application_name="indostar test", pool_size=2)
        has_ended = await ended_at(step, remind(DeliveryShop(dying), day))
        await dying.close()

        await remind(shop, day)

        assert await reminded_of(shop) == sorted(days * list(range(1, 6)))
        if has_ended:
            break
    assert days > 10
    await database.close()


async def test_a_customer_with_more_deliveries_than_a_mail_can_name_gets_them_all(shop: DeliveryShop) -> None:
    await opened(shop, 45)
    await shop.sql("UPDATE subscriptions SET user_id = 2")
    await shop.sql("UPDATE addresses SET user_id = 2")

    reminded = await remind(shop)

    assert [len(mail["others"]) for mail in await mails(shop)] == [19, 19, 4]
    assert await reminded_of(shop) == list(range(1, 46))
    assert reminded == Reminded(customers=1, deliveries=45)


class TestTask:
    """`send_subscription_renewal_reminders` as a job."""

    async def result(self, shop: DeliveryShop, redis_url: str, **arguments: Any) -> Any:
        tasks = TaskRegistry()
        task = tasks.task(queue=Queue.SUBSCRIPTIONS)(send_subscription_renewal_reminders.function)
        async with open_pool(redis_url, tasks) as pool:
            job = await task.enqueue(pool, **arguments)
            await run_burst(pool, [shop.database, make_settings()])
            assert job is not None
            return await job.result(timeout=60)

    async def test_without_a_date_it_is_tomorrow(self, shop: DeliveryShop, redis_url: str) -> None:
        await opened(shop, 3)
        tomorrow = datetime.now(UTC).date() + ONE_DAY
        await shop.sql("UPDATE subscriptions SET next_delivery_date = :day WHERE id < 3", day=tomorrow)
        await shop.sql("UPDATE subscriptions SET next_delivery_date = :day WHERE id = 3", day=tomorrow + ONE_DAY)
        await shop.sql("UPDATE users SET email = NULL WHERE id = 2")

        result = await self.result(shop, redis_url)

        assert result == {
            "delivery_date": tomorrow,
            "reminded": 1,
            "deliveries": 1,
            "reminded_before": 0,
            "without_email": 1,
        }

    async def test_nobody_is_reminded_of_a_day_that_is_over(self, shop: DeliveryShop, redis_url: str) -> None:
        await opened(shop, 1)

        result = await self.result(shop, redis_url, delivery_date=DAY)

        assert (result["reminded"], result["is_over"]) == (0, True)
        assert await mails(shop) == []

    @pytest.mark.parametrize("day", [today() + 3 * ONE_DAY, date(2062, 12, 1), date(2100, 12, 31)])
    async def test_a_slip_in_the_year_mails_nobody(self, shop: DeliveryShop, redis_url: str, day: date) -> None:
        await opened(shop, 3)

        with pytest.raises(JobFailed, match="DateFarAhead: customers can be reminded of the deliveries of"):
            await self.result(shop, redis_url, delivery_date=day)

        assert await mails(shop) == []

    async def test_its_soft_time_limit_lets_it_go_on_later(self, shop: DeliveryShop, redis_url: str) -> None:
        await opened(shop, 1)
        tomorrow = datetime.now(UTC).date() + ONE_DAY
        await shop.sql("UPDATE subscriptions SET next_delivery_date = :day", day=tomorrow)
        tasks = TaskRegistry()
        task = tasks.task(queue=Queue.SUBSCRIPTIONS, soft_time_limit=timedelta(seconds=1))(
            send_subscription_renewal_reminders.function
        )

        async with open_pool(redis_url, tasks) as pool:
            # Somebody else is at the same reminder until its time is over.
            async with shop.database.session() as session:
                await session.execute(
                    text("INSERT INTO tasks.reminders (delivery_date, subscription_id) VALUES (:day, 1)"),
                    {"day": tomorrow},
                )
                job = await task.enqueue(pool)
                assert job is not None
                await run_burst(pool, [shop.database, make_settings()])
                await session.rollback()
            told = await found(pool, job.job_id)
            assert [attempt.outcome for attempt in told.attempts] == ["retried"]

        await remind(shop, tomorrow)
        assert await reminded_of(shop) == [1]
