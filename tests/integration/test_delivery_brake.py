"""A run that goes unlike those before it stops for a person, and goes on when that person says so."""

from collections.abc import AsyncIterator
from datetime import date, timedelta

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from app.db.engine import Database
from app.deliveries import runs
from app.deliveries.brake import usual_before, why_brake
from app.deliveries.figures import by_state, figures_of
from tests.integration.delivery_shop import BOUNDS, DAY, ONE_DAY, DeliveryShop


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[DeliveryShop]:
    database = Database(database_url, application_name="indostar test", pool_size=2)
    yield DeliveryShop(database)
    await database.close()


async def test_a_brake_stops_the_run_until_a_person_resumes_it(shop: DeliveryShop) -> None:
    await shop.open(200)
    await shop.run(page=100)
    await shop.sql("UPDATE products SET consumer_price = 680")

    with capture_logs() as logs:
        run = await shop.run(DAY + ONE_DAY, page=150)
    again = await shop.run(DAY + ONE_DAY, page=150)

    assert run.paused_because == (
        "150 subscriptions would be charged amounts more than a factor of 3 away from all that they were charged for "
        "the same product in the 14 days before; subscription 1, for example, Rs 680.00 after Rs 68.00"
    )
    assert [(entry["event"], entry["log_level"], entry["reason"]) for entry in logs] == [
        ("subscriptions.run_paused", "error", run.paused_because)
    ]
    assert (again.paused_because, again.charges) == (run.paused_because, 0)
    assert len(await shop.charges()) == 200

    assert await runs.resume(shop.database, DAY + ONE_DAY, "asha")
    run = await shop.run(DAY + ONE_DAY, page=150)

    assert (run.charges, run.paused_at, run.resumed_by) == (200, None, "asha")
    assert not await runs.resume(shop.database, DAY + ONE_DAY, "asha")


async def price(shop: DeliveryShop, *prices: float) -> None:
    """Of the products 1, 2, ..."""
    await shop.sql("UPDATE products SET consumer_price = (CAST(:prices AS numeric[]))[id]", prices=prices)


@pytest.mark.parametrize(
    ("milk", "ghee", "is_braked"),
    [
        (33, 660, False),
        (90, 200, False),
        (300, 6000, True),
        # One product of two, which hardly shows in the average.
        (300, 600, True),
        (30, 199, True),
        # Paise for rupees, and rupees for paise.
        (3000, 60000, True),
        (1, 6, True),
    ],
)
async def test_amounts_far_from_what_the_same_subscriptions_were_charged_stop_the_run(
    shop: DeliveryShop, milk: float, ghee: float, is_braked: bool
) -> None:
    await shop.open(120, products=2)
    await price(shop, 30, 600)
    await shop.run(page=50)
    await price(shop, milk, ghee)

    run = await shop.run(DAY + ONE_DAY, page=50)

    assert (run.paused_because is not None) == is_braked
    assert run.charges == (0 if is_braked else 120)


async def test_unusual_amounts_add_up_over_the_pages(shop: DeliveryShop) -> None:
    await shop.open(60, products=10)
    await shop.run()
    await shop.sql("UPDATE products SET consumer_price = 680 WHERE id IN (2, 3)")

    run = await shop.run(DAY + ONE_DAY, page=10)

    assert (run.charges, run.position) == (40, 40)
    assert (run.paused_because or "").startswith("10 subscriptions would be charged")
    assert "subscription 41, for example, Rs 680.00 after Rs 68.00" in (run.paused_because or "")


async def test_a_few_unusual_amounts_are_a_normal_day(shop: DeliveryShop) -> None:
    await shop.open(60, products=10)
    await shop.run()
    await shop.sql("UPDATE products SET consumer_price = 680 WHERE id = 2")

    assert (await shop.run(DAY + ONE_DAY, page=10)).charges == 60


async def test_what_was_never_charged_is_compared_with_nothing(shop: DeliveryShop) -> None:
    """Of 60 customers 20 are new, 20 have another product, and of 20 nothing was ever charged but skipped."""
    await shop.open(60, products=2)
    await price(shop, 30, 600)
    await shop.sql("UPDATE subscriptions SET product_id = 1")
    await shop.sql("UPDATE subscriptions SET next_delivery_date = :day WHERE id <= 20", day=DAY + ONE_DAY)
    await shop.sql("UPDATE users SET is_active = false WHERE id > 41")
    await shop.run()
    await shop.sql("UPDATE users SET is_active = true")
    await shop.sql("UPDATE subscriptions SET product_id = 2")

    run = await shop.run(DAY + ONE_DAY)

    assert (run.charges, run.paused_because) == (60, None)


async def test_a_price_that_is_put_right_again_is_as_it_was(shop: DeliveryShop) -> None:
    await shop.open(20)
    await shop.run()
    await shop.sql("UPDATE products SET consumer_price = 680")
    await shop.run(DAY + ONE_DAY)
    await runs.resume(shop.database, DAY + ONE_DAY, "asha")
    mistaken = await shop.run(DAY + ONE_DAY)
    await shop.sql("UPDATE products SET consumer_price = 68")

    corrected = await shop.run(DAY + 2 * ONE_DAY)

    assert mistaken.charges_paise == 20 * 68000
    assert (corrected.charges_paise, corrected.paused_because) == (20 * 6800, None)


async def test_customers_who_came_first_may_buy_what_is_cheaper(shop: DeliveryShop) -> None:
    await shop.open(600, products=2, stock=10_000)
    await price(shop, 30, 600)
    await shop.sql("UPDATE subscriptions SET product_id = CASE WHEN id <= 150 THEN 1 ELSE 2 END")
    first = await shop.run(DAY, page=150)

    second = await shop.run(DAY + ONE_DAY, page=150)

    assert first.charges == 600
    assert second.paused_because is None


async def test_what_comes_weekly_may_be_dearer_than_what_comes_daily(shop: DeliveryShop) -> None:
    await shop.open(400, products=2, stock=10_000)
    await price(shop, 30, 600)
    await shop.sql("UPDATE subscriptions SET product_id = CASE WHEN id <= 150 THEN 1 ELSE 2 END")
    await shop.sql("UPDATE subscriptions SET plan_frequency = 'weekly' WHERE id > 150")

    found = [await shop.run(DAY + timedelta(days=days), page=400) for days in range(8)]

    assert [run.paused_because for run in found] == 8 * [None]


async def test_what_comes_weekly_is_compared_with_the_week_before(shop: DeliveryShop) -> None:
    await shop.open(20)
    await shop.sql("UPDATE subscriptions SET plan_frequency = 'weekly'")
    await shop.run()
    await shop.sql("UPDATE products SET consumer_price = 680")

    assert (await shop.run(DAY + 7 * ONE_DAY)).paused_because is not None


@pytest.mark.parametrize(
    ("state", "share", "is_braked"),
    [("refused", 50, True), ("refused", 30, False), ("unknown", 30, True), ("unknown", 20, False)],
)
async def test_outcomes_far_from_the_usual_stop_the_run(
    shop: DeliveryShop, state: str, share: int, is_braked: bool
) -> None:
    await shop.open(200)
    await shop.run(DAY, page=200)
    await settle(shop, DAY, "captured", 200)
    await keep_outcomes(shop, DAY)
    await shop.sql("UPDATE subscriptions SET next_delivery_date = :day WHERE id > 150", day=DAY + 2 * ONE_DAY)
    await shop.run(DAY + ONE_DAY, page=200)
    await settle(shop, DAY + ONE_DAY, state, 150 * share // 100)
    await settle(shop, DAY + ONE_DAY, "captured", 150)
    await shop.sql("UPDATE subscriptions SET next_delivery_date = :day WHERE id > 150", day=DAY + ONE_DAY)

    run = await shop.run(DAY + ONE_DAY, page=200)

    sentence = f"of the latest 150 charges {share} % are {state}; in the last runs it was 0 %"
    assert (run.paused_because or "").startswith(sentence) == is_braked
    assert f"% are {state}; in the last runs it was 0 %" in (
        run.paused_because or f"% are {state}; in the last runs it was 0 %"
    )
    assert run.charges == (150 if is_braked else 200)


async def test_a_charge_counts_once_and_the_first_run_is_compared_with_none(shop: DeliveryShop) -> None:
    await shop.open(120)
    await shop.run(page=200)
    await settle(shop, DAY, "unknown", 40)
    await settle(shop, DAY, "captured", 80)
    async with shop.database.session() as session:
        run, usual = await runs.lock(session, DAY), await usual_before(session, DAY)

        before = await why_brake(session, run, usual, BOUNDS)
        await session.execute(text("UPDATE tasks.charges SET state = 'captured' WHERE state = 'unknown'"))
        after = await why_brake(session, run, usual, BOUNDS)

    assert before == (
        "of the latest 120 charges 33 % are unknown; there are no runs to compare it with, and 25 % are allowed"
    )
    assert after is None


async def test_a_few_refusals_among_many_pending_charges_are_no_alarm(shop: DeliveryShop) -> None:
    await shop.open(500)
    await shop.run(page=500)
    # A quarter of what the gateway was asked for; 40 % are allowed.
    await settle(shop, DAY, "refused", 120)
    await settle(shop, DAY, "pending", 380)
    await keep_outcomes(shop, DAY)

    async with shop.database.session() as session:
        run, usual = await runs.lock(session, DAY), await usual_before(session, DAY + ONE_DAY)
        why = await why_brake(session, run, await usual_before(session, DAY), BOUNDS)

    assert (why, usual.refused) == (None, 24)


async def test_what_was_given_up_at_the_end_of_its_day_is_no_refusal(shop: DeliveryShop) -> None:
    await shop.open(120)
    await shop.run(page=200)
    await settle(shop, DAY, "refused", 120, reason="not_charged_in_time")
    async with shop.database.session() as session:
        run, usual = await runs.lock(session, DAY), await usual_before(session, DAY)

        assert await why_brake(session, run, usual, BOUNDS) is None


async def settle(shop: DeliveryShop, day: date, state: str, most: int, *, reason: str = "told") -> None:
    """Ends so many of the day's planned charges in that state."""
    numbers = [
        row[0]
        for row in await shop.sql(
            "SELECT subscription_id FROM tasks.charges WHERE delivery_date = :day AND state = 'planned'"
            " ORDER BY subscription_id LIMIT :most",
            day=day,
            most=most,
        )
    ]
    for step in dict.fromkeys(("pending", state)):
        await shop.sql(
            "UPDATE tasks.charges SET state = CAST(:step AS text), reason = :reason, razorpay_payment_id = 'pay',"
            " units_held = 0 WHERE delivery_date = :day AND subscription_id = ANY(CAST(:numbers AS integer[]))",
            step=step,
            reason=reason,
            day=day,
            numbers=numbers,
        )


async def keep_outcomes(shop: DeliveryShop, day: date) -> None:
    """As a report does."""
    figures = await figures_of(shop.database, day, refusals=3)
    async with shop.database.session() as session:
        (await runs.lock(session, day)).outcomes = dict(by_state(figures))


async def test_what_was_given_up_is_no_usual_refusal_either(shop: DeliveryShop) -> None:
    await shop.open(120)
    await shop.run(page=200)
    await settle(shop, DAY, "refused", 60, reason="not_charged_in_time")
    await settle(shop, DAY, "refused", 15)
    await settle(shop, DAY, "captured", 45)
    await keep_outcomes(shop, DAY)

    async with shop.database.session() as session:
        usual = await usual_before(session, DAY + ONE_DAY)

    assert (usual.refused, usual.unknown) == (25, 0)


async def test_nothing_is_planned_while_a_person_has_paused_the_run(shop: DeliveryShop) -> None:
    await shop.open(3)
    await shop.run()
    await shop.sql("UPDATE subscriptions SET next_delivery_date = :day, id = id + 10", day=DAY)

    await runs.pause(shop.database, DAY, "asked by asha")
    paused = await shop.run()
    await runs.resume(shop.database, DAY, "asha")
    resumed = await shop.run()

    assert (paused.paused_because, paused.charges) == ("asked by asha", 3)
    assert resumed.charges == 6
