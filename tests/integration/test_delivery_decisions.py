"""What becomes of a due delivery: charged or skipped and why, at which price, and when the next one is."""

from collections.abc import AsyncIterator, Sequence
from datetime import date, timedelta

import pytest

from app.db.engine import Database
from app.db.shop import SubscriptionFrequency
from app.deliveries.decisions import MISSED_KEPT_DAYS, STEP_DAYS, MissedDeliveries
from tests.integration.delivery_shop import DAY, ONE_DAY, DeliveryShop

MANDATE = "INSERT INTO tasks.mandates VALUES (1, 'cust_1', 'token_1', 'upi', {limit}, {expiry})"


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[DeliveryShop]:
    database = Database(database_url, application_name="indostar test", pool_size=2)
    yield DeliveryShop(database)
    await database.close()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("UPDATE users SET is_active = false WHERE id = 2", "customer_inactive"),
        ("UPDATE products SET is_active = false", "product_inactive"),
        ("UPDATE addresses SET user_id = 1", "address_missing"),
        ("UPDATE products SET consumer_price = 0", "price_too_low"),
        ("UPDATE products SET consumer_price = 0.99", "price_too_low"),
        ("UPDATE products SET consumer_price = -5", "price_too_low"),
        ("UPDATE products SET consumer_price = 'NaN'", "price_too_low"),
        ("UPDATE subscriptions SET razorpay_subscription_id = ' '", "mandate_missing"),
        (MANDATE.format(limit="NULL", expiry="'2026-03-02 00:00+00'"), "mandate_expired"),
        (MANDATE.format(limit="67.99", expiry="NULL"), "mandate_too_small"),
        ("UPDATE products SET stock_quantity = 0", "no_stock"),
    ],
)
async def test_what_can_not_be_charged_is_skipped_with_its_reason(shop: DeliveryShop, fault: str, reason: str) -> None:
    await shop.open()
    await shop.sql(fault)
    stock = await shop.stock()

    run = await shop.run()

    [charge] = await shop.charges()
    assert (charge.state, charge.reason, charge.units_held) == ("skipped", reason, 0)
    assert (run.charges, run.skipped) == (0, {reason: 1})
    assert await shop.jobs() == []
    assert await shop.stock() == stock
    assert await next_dates(shop) == [DAY + ONE_DAY]


async def test_the_mandate_way_where_there_is_one(shop: DeliveryShop) -> None:
    await shop.open(2)
    await shop.sql(MANDATE.format(limit="68", expiry="'2026-03-02 00:00:01+00'"))

    await shop.run()

    found = [(charge.way, charge.state, charge.amount_paise, charge.receipt) for charge in await shop.charges()]
    assert found == [
        ("mandate", "planned", 6800, "sub-1-20260302"),
        ("invoice", "planned", 6800, "sub-2-20260302"),
    ]


@pytest.mark.parametrize(("role", "paise"), [("consumer", 6800), ("distributor", 6050), ("owner", 6800)])
async def test_a_customer_pays_the_price_of_his_role(shop: DeliveryShop, role: str, paise: int) -> None:
    await shop.open()
    await shop.sql("UPDATE users SET role = CAST(:role AS text)::user_role WHERE id = 2", role=role)

    run = await shop.run()

    assert [charge.amount_paise for charge in await shop.charges()] == [paise]
    assert run.charges_paise == paise


@pytest.mark.parametrize("status", ["paused", "cancelled"])
async def test_a_subscription_that_is_not_active_is_left_alone(shop: DeliveryShop, status: str) -> None:
    await shop.open()
    await shop.sql("UPDATE subscriptions SET status = CAST(:status AS text)::subscription_status", status=status)

    await shop.run()

    assert await shop.charges() == []
    assert await next_dates(shop) == [DAY]


@pytest.mark.parametrize("odd", ["-infinity", "infinity", "2026-03-03"])
async def test_what_is_not_due_stops_nobody(shop: DeliveryShop, odd: str) -> None:
    await shop.open(2)
    await shop.sql("UPDATE subscriptions SET next_delivery_date = CAST(:odd AS text)::date WHERE id = 1", odd=odd)

    await shop.run(notice_days=2)

    assert await shop.reasons() == {2: None}


async def test_stock_goes_to_the_first_subscriptions_that_can_be_charged(shop: DeliveryShop) -> None:
    await shop.open(8, products=2, stock=2)
    await shop.sql("UPDATE users SET is_active = false WHERE id = 3")

    await shop.run(page=3)

    skipped = {number: reason for number, reason in (await shop.reasons()).items() if reason}
    assert skipped == {2: "customer_inactive", 5: "no_stock", 7: "no_stock", 8: "no_stock"}
    assert await shop.stock() == {1: 0, 2: 0}


def by_brute_force(
    start: date, frequency: SubscriptionFrequency, day: date, missed: MissedDeliveries
) -> tuple[list[tuple[date, str | None]], date]:
    """What becomes of which dates, and the next one, as somebody finds them who leafs through a calendar."""
    dates = [start]
    while dates[-1] <= day:
        dates.append(dates[-1] + timedelta(days=STEP_DAYS[frequency]))
    *due, following = dates
    becomes: list[tuple[date, str | None]] = [
        (each, "missed") for each in due if day - timedelta(days=MISSED_KEPT_DAYS) <= each < day
    ]
    if day in due or missed == "deliver_once":
        becomes.append((day, None))
    return becomes, following


@pytest.mark.parametrize("missed", ["skip", "deliver_once"])
async def test_every_frequency_keeps_its_cadence_however_late_the_run(
    shop: DeliveryShop, missed: MissedDeliveries
) -> None:
    """Each frequency with each lateness up to six weeks, over the turn of a month."""
    cases = [(frequency, late) for frequency in SubscriptionFrequency for late in (*range(45), 400)]
    await shop.open(len(cases))
    for number, (frequency, late) in enumerate(cases, start=1):
        await shop.sql(
            "UPDATE subscriptions SET next_delivery_date = :since,"
            " plan_frequency = CAST(:frequency AS text)::subscription_frequency WHERE id = :id",
            since=DAY - late * ONE_DAY,
            frequency=frequency.value,
            id=number,
        )

    await shop.run(missed=missed, page=50)

    charges, following = await shop.charges(), await next_dates(shop)
    for number, (frequency, late) in enumerate(cases, start=1):
        became = [(charge.delivery_date, charge.reason) for charge in charges if charge.subscription_id == number]
        expected = by_brute_force(DAY - late * ONE_DAY, frequency, DAY, missed)
        assert (became, following[number - 1]) == expected, (frequency, late)


async def test_a_notice_freezes_the_amount_days_ahead(shop: DeliveryShop) -> None:
    await shop.open(4, stock=4)
    await shop.sql("INSERT INTO tasks.mandates SELECT n, 'cust', 'token', 'upi' FROM generate_series(1, 3) n")
    await shop.sql("UPDATE subscriptions SET plan_frequency = 'alternate_days' WHERE id = 1")
    await shop.sql("UPDATE subscriptions SET next_delivery_date = :day WHERE id = 1", day=DAY + ONE_DAY)

    run = await shop.run(notice_days=2)
    await shop.sql("UPDATE products SET consumer_price = 75, stock_quantity = 100")
    await shop.sql(
        "UPDATE tasks.debit_notices SET razorpay_order_id = 'order_3', token_id = 'token' WHERE subscription_id = 3"
    )
    await shop.run(DAY + 2 * ONE_DAY)

    # The first is delivered a day later, the fourth has no mandate.
    noticed = await shop.sql("SELECT subscription_id, delivery_date FROM tasks.debit_notices ORDER BY 1")
    assert [tuple(notice) for notice in noticed] == [(2, DAY + 2 * ONE_DAY), (3, DAY + 2 * ONE_DAY)]
    assert run.notices == 2
    found = {
        charge.subscription_id: (charge.state, charge.amount_paise, charge.razorpay_order_id)
        for charge in await shop.charges()
        if charge.delivery_date == DAY + 2 * ONE_DAY
    }
    assert found == {2: ("planned", 6800, None), 3: ("notified", 6800, "order_3"), 4: ("planned", 7500, None)}


async def test_a_notice_holds_for_its_product_and_its_mandate_alone(shop: DeliveryShop) -> None:
    await shop.open(4, products=2)
    await shop.sql("UPDATE subscriptions SET product_id = 1")
    await shop.sql("INSERT INTO tasks.mandates SELECT n, 'cust', 'token', 'upi' FROM generate_series(1, 4) n")
    await shop.run(notice_days=2)
    await shop.sql(
        "UPDATE tasks.debit_notices SET razorpay_order_id = 'order', token_id = 'token' WHERE subscription_id > 1"
    )
    await shop.sql("UPDATE products SET consumer_price = 75 + id")
    await shop.sql("UPDATE subscriptions SET product_id = 2 WHERE id <= 2")
    await shop.sql("UPDATE tasks.mandates SET token_id = 'token_new' WHERE subscription_id = 3")

    await shop.run(DAY + 2 * ONE_DAY)

    found = {
        charge.subscription_id: (charge.state, charge.amount_paise, charge.receipt)
        for charge in await shop.charges()
        if charge.delivery_date == DAY + 2 * ONE_DAY
    }
    assert found == {
        1: ("planned", 7700, "sub-1-20260304"),
        2: ("planned", 7700, "sub-2-20260304-own"),
        3: ("planned", 7600, "sub-3-20260304-own"),
        4: ("notified", 6800, "sub-4-20260304"),
    }


async def next_dates(shop: DeliveryShop) -> Sequence[date]:
    return [row[0] for row in await shop.sql("SELECT next_delivery_date FROM subscriptions ORDER BY id")]
