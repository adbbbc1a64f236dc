"""The task that takes up what the jobs of a day have left behind."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime

import pytest

from app.db.engine import Database
from app.jobs.context import Context, Resources
from app.tasks.sweeping import SWEPT_FOR, sweep_charges
from tests.integration.delivery_shop import ONE_DAY, DeliveryShop

TODAY = datetime.now(UTC).date()


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[DeliveryShop]:
    database = Database(database_url, application_name="indostar test", pool_size=2)
    yield DeliveryShop(database)
    await database.close()


async def sweep(shop: DeliveryShop, day: date) -> int:
    context = Context("j1", "j1", sweep_charges.name, 1, 4, datetime.now(UTC), Resources([shop.database]))
    return await sweep_charges(context, day)


async def planned(shop: DeliveryShop, day: date) -> None:
    await shop.open(2)
    await shop.sql("UPDATE subscriptions SET next_delivery_date = :day", day=day)
    await shop.run(day)


async def keys(shop: DeliveryShop, like: str) -> list[str]:
    return [key for (key,) in await shop.sql("SELECT key FROM tasks.outbox WHERE key LIKE :like ORDER BY 1", like=like)]


async def test_a_day_that_is_not_over_is_left_alone(shop: DeliveryShop) -> None:
    await planned(shop, TODAY + ONE_DAY)

    assert await sweep(shop, TODAY + ONE_DAY) == 0
    assert await keys(shop, "sweep%") == await keys(shop, "%left%") == []


async def test_what_was_left_behind_is_looked_for_again_a_day_later(shop: DeliveryShop) -> None:
    await planned(shop, TODAY - 2 * ONE_DAY)

    assert await sweep(shop, TODAY - 2 * ONE_DAY) == 2
    assert len(await keys(shop, "%left%")) == 2
    assert len(await keys(shop, "sweep%")) == 1


async def test_a_day_of_which_nothing_is_left_is_done_with(shop: DeliveryShop) -> None:
    await planned(shop, TODAY - 2 * ONE_DAY)
    await shop.sql("UPDATE tasks.charges SET state = 'skipped', reason = 'no_stock', units_held = 0")

    assert await sweep(shop, TODAY - 2 * ONE_DAY) == 0
    assert await keys(shop, "sweep%") == []


async def test_after_a_week_it_waits_for_a_person(shop: DeliveryShop) -> None:
    day = TODAY - SWEPT_FOR - 2 * ONE_DAY
    await planned(shop, day)

    assert await sweep(shop, day) == 2
    assert await keys(shop, "sweep%") == []
