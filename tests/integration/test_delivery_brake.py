"""A run that goes unlike those before it stops for a person, and goes on when that person says so."""

from collections.abc import AsyncIterator
from datetime import date

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
        "the average charge is Rs 680.00; in the last runs it was Rs 68.00, and a factor of 3 is allowed"
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
    for step in ("pending", state):
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
