"""The preview: what the run would do, line by line, without writing anything."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.db.engine import Database
from app.deliveries.decisions import MissedDeliveries, Terms
from app.deliveries.preview import Preview
from tests.integration.delivery_shop import DAY, ONE_DAY, DeliveryShop

subscriptions = st.lists(
    st.fixed_dictionaries(
        {
            "frequency": st.sampled_from(["daily", "alternate_days", "weekly"]),
            "status": st.sampled_from(["active", "active", "active", "paused"]),
            "late": st.integers(-2, 9),
            "product": st.integers(1, 3),
            "role": st.sampled_from(["consumer", "distributor"]),
            "is_active": st.sampled_from([True, True, True, False]),
            "mandate": st.sampled_from([None, None, 50, 56, 70]),
            "planned": st.sampled_from([False, False, False, True]),
        }
    ),
    max_size=12,
)


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[DeliveryShop]:
    database = Database(database_url, application_name="indostar test", pool_size=2)
    yield DeliveryShop(database)
    await database.close()


FILL = """
    WITH rows AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS rows (
            id integer, product integer, frequency text, status text, role text, late integer, is_active boolean,
            mandate numeric, planned boolean
        )
    ), subscribed AS (
        UPDATE subscriptions s SET product_id = product, next_delivery_date = CAST(:day AS date) - late,
            plan_frequency = rows.frequency::subscription_frequency, status = rows.status::subscription_status
        FROM rows WHERE rows.id = s.id
    ), customers AS (
        UPDATE users u SET role = rows.role::user_role, is_active = rows.is_active FROM rows WHERE u.id = rows.id + 1
    ), mandates AS (
        INSERT INTO tasks.mandates SELECT id, 'cust', 'token', 'upi', mandate FROM rows WHERE mandate IS NOT NULL
    )
    INSERT INTO tasks.charges (delivery_date, subscription_id, user_id, product_id, way, amount_paise, receipt, state,
        reason)
    SELECT CAST(:day AS date), id, 2, 1, 'invoice', 100, 'earlier', 'skipped', 'earlier' FROM rows WHERE planned
"""
# Products 1 to 3, of which one is dearer than some mandates allow and one too cheap for distributors.
PRODUCTS = """
    UPDATE products SET stock_quantity = (CAST(:stocks AS integer[]))[id],
        consumer_price = CASE id WHEN 2 THEN 55 ELSE consumer_price END,
        distributor_price = CASE id WHEN 3 THEN 0.5 ELSE distributor_price END
"""


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    rows=subscriptions,
    stocks=st.lists(st.integers(0, 4), min_size=3, max_size=3),
    missed=st.sampled_from(["skip", "deliver_once"]),
    pages=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
async def test_the_run_does_what_its_preview_said(
    shop: DeliveryShop,
    rows: list[dict[str, Any]],
    stocks: list[int],
    missed: MissedDeliveries,
    pages: tuple[int, int],
) -> None:
    await shop.open(len(rows), products=3)
    await shop.sql(PRODUCTS, stocks=stocks)
    numbered = [{"id": number, **row} for number, row in enumerate(rows, start=1)]
    await shop.sql(FILL, day=DAY, rows=json.dumps(numbered))

    preview = Preview(shop.database, Terms(DAY, missed), page=pages[0])
    said = [
        (line.subscription_id, line.delivery_date, line.state, line.way, line.amount_paise, line.reason)
        async for line in preview.lines()
    ]
    run = await shop.run(missed=missed, page=pages[1])

    done = [
        (each.subscription_id, each.delivery_date, each.state, each.way, each.amount_paise, each.reason)
        for each in await shop.charges()
        if each.reason != "earlier"
    ]
    assert said == done
    assert (preview.totals.charges.total(), preview.totals.paise.total()) == (run.charges, run.charges_paise)
    assert preview.totals.skipped == run.skipped
    taken = sum(stocks) - sum((await shop.stock()).values())
    assert taken == run.charges == len(await shop.jobs())


async def test_a_preview_writes_nothing_and_says_what_is_short(shop: DeliveryShop) -> None:
    await shop.open(5, products=2, stock=1)
    await shop.sql("INSERT INTO tasks.mandates VALUES (1, 'cust', 'token', 'upi')")
    before = await shop.everything()
    preview = Preview(shop.database, Terms(DAY), page=2)

    lines = [line async for line in preview.lines()]

    assert len(lines) == 5
    assert preview.totals.short == {1: 1, 2: 2}
    assert preview.totals.skipped == {"no_stock": 3}
    assert preview.totals.paise == {"mandate": 6800, "invoice": 6800}
    assert await shop.everything() == before


@pytest.mark.parametrize("missed", ["skip", "deliver_once"])
@pytest.mark.parametrize("was_run_today", [True, False])
async def test_a_later_day_shows_what_its_run_will_do_after_those_before_it(
    shop: DeliveryShop, missed: MissedDeliveries, was_run_today: bool
) -> None:
    """Daily, every other day and weekly, due today and tomorrow."""
    await shop.open(6)
    await shop.sql("UPDATE subscriptions SET plan_frequency = 'alternate_days' WHERE id IN (3, 4)")
    await shop.sql("UPDATE subscriptions SET plan_frequency = 'weekly' WHERE id IN (5, 6)")
    await shop.sql("UPDATE subscriptions SET next_delivery_date = :day WHERE id % 2 = 0", day=DAY + ONE_DAY)
    if was_run_today:
        await shop.run()
    day = DAY + 3 * ONE_DAY

    later = Preview(shop.database, Terms(day, missed, today=DAY))
    said = [(line.subscription_id, line.delivery_date, line.reason) async for line in later.lines()]
    for days in range(4):
        await shop.run(DAY + days * ONE_DAY, missed=missed)

    done = [(each.subscription_id, each.delivery_date, each.reason) for each in await shop.charges()]
    assert said == [each for each in done if each[1] == day] == [(number, day, None) for number in (1, 2, 4)]


async def test_what_was_missed_before_today_is_missed_on_a_later_day_too(shop: DeliveryShop) -> None:
    await shop.open(1)

    later = Preview(shop.database, Terms(DAY + 3 * ONE_DAY, today=DAY + ONE_DAY))

    assert [(line.delivery_date, line.reason) async for line in later.lines()] == [
        (DAY, "missed"),
        (DAY + 3 * ONE_DAY, None),
    ]


async def test_nothing_is_held_while_whoever_asked_reads(shop: DeliveryShop) -> None:
    await shop.open(5)
    seen: list[int] = []

    async for _page in Preview(shop.database, Terms(DAY), page=2).pages():
        [row] = await shop.sql(
            "SELECT count(*) AS others FROM pg_stat_activity WHERE datname = current_database()"
            " AND state LIKE 'idle in transaction%' AND pid <> pg_backend_pid()"
        )
        seen.append(row.others)

    assert seen == [0, 0, 0]


async def test_whoever_may_only_read_can_preview(shop: DeliveryShop) -> None:
    await shop.open(3)
    await shop.sql("CREATE ROLE previewer LOGIN PASSWORD 'preview' IN ROLE pg_read_all_data")
    url = shop.database.engine.url.set(username="previewer", password="preview")
    reader = Database(url.render_as_string(hide_password=False), application_name="indostar test", pool_size=1)

    lines = [line async for line in Preview(reader, Terms(DAY)).lines()]

    assert len(lines) == 3
    await reader.close()
    await shop.sql("DROP ROLE previewer")
