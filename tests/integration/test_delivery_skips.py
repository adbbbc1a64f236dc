"""What customers are told of deliveries that the run skips."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from app.db.engine import Database
from app.dev.fakes import running_fakes
from app.dev.fakes.inbox import Provider
from app.jobs.context import Context
from app.tasks.notifications import send_delivery_skipped_task
from app.tasks.resources import open_resources
from tests.integration.delivery_shop import DAY, ONE_DAY, DeliveryShop
from tests.settings import make_settings

TELLING = send_delivery_skipped_task.name


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[DeliveryShop]:
    database = Database(database_url, application_name="indostar test", pool_size=2)
    yield DeliveryShop(database)
    await database.close()


async def told(shop: DeliveryShop) -> Sequence[tuple[str | None, dict[str, Any]]]:
    return [(job.key, job.kwargs) for job in await shop.jobs() if job.task == TELLING]


async def test_a_customer_is_told_what_was_skipped_and_why(shop: DeliveryShop) -> None:
    await shop.open(3, stock=2)
    await shop.sql("UPDATE users SET email = 'asha@example.com', name = 'Asha' WHERE id = 4")
    await shop.sql("UPDATE products SET title = 'A2 milk'")

    await shop.run(telling=TELLING)

    assert await told(shop) == [
        (
            "delivery:3:2026-03-02:skipped",
            {
                "email": "asha@example.com",
                "phone": "+913",
                "customer_name": "Asha",
                "product_name": "A2 milk",
                "delivery_date": "2026-03-02",
                "reason": "no_stock",
                "subscription_id": 3,
            },
        )
    ]


async def test_missed_dates_are_told_in_one_message(shop: DeliveryShop) -> None:
    await shop.open(2, stock=1)
    await shop.sql("UPDATE subscriptions SET next_delivery_date = :day", day=DAY - 3 * ONE_DAY)

    await shop.run(telling=TELLING)

    found = [
        (key, kwargs["reason"], [kwargs["delivery_date"], *kwargs.get("dates", [])]) for key, kwargs in await told(shop)
    ]
    days = ["2026-02-27", "2026-02-28", "2026-03-01"]
    assert found == [
        ("delivery:1:2026-02-27:skipped", "missed", days),
        ("delivery:2:2026-02-27:skipped", "missed", days),
        ("delivery:2:2026-03-02:skipped", "no_stock", ["2026-03-02"]),
    ]


async def test_a_customer_who_is_not_active_is_told_nothing(shop: DeliveryShop) -> None:
    await shop.open(1)
    await shop.sql("UPDATE users SET is_active = false")
    await shop.sql("UPDATE subscriptions SET next_delivery_date = :day", day=DAY - ONE_DAY)

    run = await shop.run(telling=TELLING)

    assert run.skipped == {"missed": 1, "customer_inactive": 1}
    assert await shop.jobs() == []


async def test_a_second_run_tells_nothing_again(shop: DeliveryShop) -> None:
    await shop.open(5, stock=2)
    await shop.run(telling=TELLING)
    before = await shop.everything()
    await shop.sql("UPDATE subscriptions SET next_delivery_date = :day", day=DAY)

    await shop.run(telling=TELLING)

    assert (await shop.everything())[1] == before[1]


# Names, addresses and numbers that no form should have let through.
ODD = ["", " ", "\n", "\t\x01\x7f", "x" * 255, "\u2028", "'); --", "गाय", "{{ 7 * 7 }}", "asha@", "a@b@example.com"]


async def test_whatever_the_shop_keeps_leads_to_a_message(shop: DeliveryShop) -> None:
    """Of each three customers with the same odd name one has an address, one a number, one neither."""
    await shop.open(3 * len(ODD), products=len(ODD), stock=0)
    await shop.sql("UPDATE products SET title = (CAST(:odd AS text[]))[id]", odd=ODD)
    await shop.sql(
        """
        UPDATE users SET name = odd,
            email = CASE id % 3 WHEN 0 THEN 'asha' || id || '@example.com' WHEN 1 THEN odd END,
            phone = CASE id % 3 WHEN 1 THEN '+9198123' || lpad(id::text, 5, '0') ELSE left(id || odd, 20) END
        FROM (SELECT n, (CAST(:odd AS text[]))[n / 3] AS odd FROM generate_series(3, 100) n) AS odd WHERE n = id + 1
        """,
        odd=ODD,
    )
    await shop.run(telling=TELLING)

    results = []
    async with running_fakes() as fakes:
        settings = make_settings(fakes_url=fakes.url, database_url=url_of(shop))
        async with open_resources(settings) as resources:
            for key, kwargs in await told(shop):
                context = Context(key or "", key or "", TELLING, 1, 4, datetime.now(UTC), resources)
                [channel] = await send_delivery_skipped_task(context, **kwargs)
                results.append((kwargs["subscription_id"], channel))

        sent = [len(fakes.inbox.find(provider)) for provider in (Provider.SENDGRID, Provider.TWILIO)]
    channels = {0: "email", 1: "sms", 2: "unreachable"}
    assert results == [(number, channels[(number + 1) % 3]) for number in range(1, 3 * len(ODD) + 1)]
    assert sent == [len(ODD), len(ODD)]


def url_of(shop: DeliveryShop) -> str:
    return shop.database.engine.url.render_as_string(hide_password=False)
