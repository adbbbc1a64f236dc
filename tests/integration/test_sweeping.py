"""The task that takes up what the jobs of a day have left behind."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import pytest

from app.db.engine import Database
from app.jobs.context import Context, Resources
from app.tasks.sweeping import sweep_charges, swept_for
from tests.integration.delivery_shop import ONE_DAY, DeliveryShop
from tests.settings import make_settings

SETTINGS = make_settings()
TODAY = datetime.now(UTC).date()


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[DeliveryShop]:
    database = Database(database_url, application_name="indostar test", pool_size=2)
    yield DeliveryShop(database)
    await database.close()


async def sweep(shop: DeliveryShop, day: date) -> int:
    context = Context("j1", "j1", sweep_charges.name, 1, 4, datetime.now(UTC), Resources([shop.database, SETTINGS]))
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


@pytest.mark.parametrize(
    ("state", "reason"), [("pending", None), ("unknown", "no_payment"), ("refused", "failed"), ("skipped", "no_stock")]
)
async def test_a_look_that_is_lost_after_the_first_sweep_is_taken_up_by_the_next(
    shop: DeliveryShop, state: str, reason: str | None
) -> None:
    """When the day is over the look is still to come; a day later its job has failed."""
    day = TODAY - 3 * ONE_DAY
    await planned(shop, day)
    await looked_at(shop, state, reason, timedelta(hours=1))

    assert await sweep(shop, day) == 0
    assert len(await keys(shop, "sweep%")) == 1
    await looked_at(shop, state, reason, -timedelta(hours=20))
    assert await sweep(shop, day) == 2
    assert len(await keys(shop, "%left%")) == 2


async def test_what_was_asked_about_in_vain_is_left_to_a_person(shop: DeliveryShop) -> None:
    day = TODAY - 3 * ONE_DAY
    await planned(shop, day)
    await looked_at(shop, "pending", "asked_in_vain", None)

    assert await sweep(shop, day) == 0
    assert await keys(shop, "sweep%") == []


async def test_it_goes_on_for_as_long_as_looks_may_take(shop: DeliveryShop) -> None:
    swept = swept_for(SETTINGS.charge_follow_ups)
    early, late = TODAY - swept + ONE_DAY, TODAY - swept - 2 * ONE_DAY
    await planned(shop, early)
    assert await sweep(shop, early) == 2
    assert len(await keys(shop, "sweep%")) == 1

    await planned(shop, late)
    assert await sweep(shop, late) == 2
    assert await keys(shop, "sweep%") == []


async def looked_at(shop: DeliveryShop, state: str, reason: str | None, in_time: timedelta | None) -> None:
    """As if all charges were left like this, the next look at them in that time from now."""
    await shop.sql("ALTER TABLE tasks.charges DISABLE TRIGGER USER")
    await shop.sql(
        "UPDATE tasks.charges SET state = :state, reason = :reason, units_held = :units,"
        " next_look_at = now() + CAST(:in_time AS interval)",
        state=state,
        reason=reason,
        units=int(state in ("pending", "unknown")),
        in_time=in_time,
    )
    await shop.sql("ALTER TABLE tasks.charges ENABLE TRIGGER USER")
