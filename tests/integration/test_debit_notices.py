"""Debits that are announced days ahead, and charges that find their notice."""

import asyncio
from collections import Counter
from datetime import datetime, time, timedelta

import httpx
import pytest
from sqlalchemy import event

from app.billing.failures import ChargeLater
from app.billing.notices import ASKING_TAKES, DebitNotices
from app.dev.fakes.faults import Failure, Refusal
from app.dev.fakes.inbox import Provider
from app.dev.fakes.razorpay_books import Mandate
from app.india import INDIA
from tests.integration.charging_shop import (
    MIDNIGHT,
    PRICE,
    ChargingShop,
    key,
    nothing,
    receipt,
)
from tests.integration.delivery_shop import DAY, ONE_DAY

TWO_DAYS = 2 * ONE_DAY


@pytest.fixture
async def shop(opened: ChargingShop) -> ChargingShop:
    """On the night on which the debit for DAY is to be announced."""
    await opened.open(notices=False)
    opened.now = MIDNIGHT - TWO_DAYS
    await opened.shop.sql("UPDATE subscriptions SET next_delivery_date = :day", day=DAY - TWO_DAYS)
    await opened.shop.run(DAY - TWO_DAYS, notice_days=2, announcing="announce_debit")
    return opened


async def charge_on_its_day(shop: ChargingShop) -> str:
    shop.now = MIDNIGHT
    await shop.plan()
    return (await shop.charge()).state


async def test_a_run_has_each_debit_announced_by_a_job(shop: ChargingShop) -> None:
    await shop.shop.run(DAY - TWO_DAYS, notice_days=2, announcing="announce_debit")

    [job] = [job for job in await shop.shop.jobs() if job.task == "announce_debit"]
    assert (job.key, job.kwargs) == (
        "notice:1:2026-03-02",
        {"subscription_id": 1, "delivery_date": "2026-03-02"},
    )


async def test_a_debit_is_announced_once_and_made_on_its_day(shop: ChargingShop) -> None:
    notices = shop.charging().notices

    assert [await notices.announce(key(1)), await notices.announce(key(1))] == ["announced", "announced"]

    [order] = shop.fakes.razorpay.books.orders.values()
    assert (order.receipt, order.amount, order.token_id, order.payment_after) == (
        (receipt(1), PRICE, "token_0", MIDNIGHT)
    )
    assert await charge_on_its_day(shop) == "captured"
    assert len(shop.fakes.razorpay.books.orders) == 1


async def test_a_notice_whose_answer_was_lost_is_found_again(shop: ChargingShop) -> None:
    async def lose(request: httpx.Request) -> None:
        if request.method == "POST":
            raise httpx.ReadTimeout("no answer")

    shop.transport.after = lose
    with pytest.raises(ChargeLater):
        await shop.charging().notices.announce(key(1))

    assert await shop.charging().notices.announce(key(1)) == "announced"
    assert len(shop.fakes.razorpay.books.orders) == 1


async def lose_the_order(shop: ChargingShop) -> None:
    """The order of the notice is made, and nobody hears of it."""

    async def lose(request: httpx.Request) -> None:
        if request.method == "POST":
            shop.transport.after = nothing
            raise httpx.ReadTimeout("no answer")

    shop.transport.after = lose
    with pytest.raises(ChargeLater):
        await shop.charging().notices.announce(key(1))


async def test_an_order_that_nobody_heard_of_is_found_by_its_charge(shop: ChargingShop) -> None:
    await lose_the_order(shop)

    assert await charge_on_its_day(shop) == "captured"
    assert len(shop.fakes.razorpay.books.orders) == 1


async def test_an_order_for_another_product_that_nobody_heard_of_blocks_nothing(shop: ChargingShop) -> None:
    await lose_the_order(shop)
    await shop.shop.sql(
        "INSERT INTO products SELECT 2, owner_id, title, description, category_id, 'curd', unit_size, 90, 80, 1000"
        " FROM products"
    )
    await shop.shop.sql("UPDATE subscriptions SET product_id = 2")
    assert await shop.charging().notices.announce(key(1)) == "not_needed"

    assert await charge_on_its_day(shop) == "pending"

    [payment] = shop.fakes.razorpay.books.payments.values()
    assert (payment.order.receipt, payment.order.amount) == (f"{receipt(1)}-own", 9000)


@pytest.mark.parametrize("is_planned", [False, True])
async def test_an_order_for_a_replaced_mandate_that_nobody_heard_of_refuses_nothing(
    shop: ChargingShop, *, is_planned: bool
) -> None:
    await lose_the_order(shop)
    if is_planned:
        shop.now = MIDNIGHT
        await shop.plan()
    await shop.replace_mandate()
    assert await shop.charging().notices.announce(key(1)) == "not_needed"

    assert await charge_on_its_day(shop) == "pending"

    [payment] = shop.fakes.razorpay.books.payments.values()
    assert (payment.order.receipt, payment.order.token_id) == (f"{receipt(1)}-own", None)


async def test_two_workers_at_one_notice_have_the_customer_told_once(shop: ChargingShop) -> None:
    others = [shop.charging()]

    async def other_is_faster(request: httpx.Request) -> None:
        if request.method == "POST" and others:
            with pytest.raises(ChargeLater):
                await others.pop().notices.announce(key(1))

    shop.transport.before = other_is_faster

    assert await shop.charging().notices.announce(key(1)) == "announced"
    assert others == []
    assert [order.token_id for order in shop.fakes.razorpay.books.orders.values()] == ["token_0"]


async def test_two_jobs_of_a_worker_have_the_customer_told_once(shop: ChargingShop) -> None:
    notices, both_have_looked = shop.charging().notices, asyncio.Barrier(2)

    async def look(request: httpx.Request) -> None:
        if request.method == "GET":
            await both_have_looked.wait()

    shop.transport.after = look

    outcomes = await asyncio.gather(*(notices.announce(key(1)) for _ in range(2)), return_exceptions=True)

    assert sorted(map(type, outcomes), key=str) == [ChargeLater, str]
    assert len(shop.fakes.razorpay.books.orders) == 1


async def test_a_request_that_never_arrived_is_made_again_after_a_minute(shop: ChargingShop) -> None:
    async def drop(request: httpx.Request) -> None:
        if request.method == "POST":
            shop.transport.before = nothing
            raise httpx.ReadTimeout("no answer")

    shop.transport.before = drop
    notices = shop.charging().notices
    for _ in range(2):
        with pytest.raises(ChargeLater):
            await notices.announce(key(1))
    assert shop.fakes.razorpay.books.orders == {}
    shop.now += ASKING_TAKES

    assert await notices.announce(key(1)) == "announced"


async def test_many_notices_are_written_together(shop: ChargingShop) -> None:
    await shop.open(40, notices=False)
    shop.now = MIDNIGHT - TWO_DAYS
    await shop.shop.sql("UPDATE subscriptions SET next_delivery_date = :day", day=DAY - TWO_DAYS)
    await shop.shop.run(DAY - TWO_DAYS, notice_days=2)
    notices, statements = shop.charging().notices, Counter[str]()

    def count(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements[statement.split(maxsplit=1)[0]] += "debit_notices" in statement

    event.listen(shop.shop.database.engine.sync_engine, "before_cursor_execute", count)
    try:
        outcomes = await asyncio.gather(*(notices.announce(key(number)) for number in range(1, 41)))
    finally:
        event.remove(shop.shop.database.engine.sync_engine, "before_cursor_execute", count)

    assert set(outcomes) == {"announced"}
    assert statements["SELECT"] == 1
    assert statements["UPDATE"] < 40
    [(kept,)] = await shop.shop.sql("SELECT count(*) FROM tasks.debit_notices WHERE razorpay_order_id IS NOT NULL")
    assert kept == 40


async def test_a_gateway_that_can_not_be_asked_is_waited_for(shop: ChargingShop) -> None:
    shop.fakes.faults.add(Failure(provider=Provider.RAZORPAY, on="lookup", status=500, times=1))

    with pytest.raises(ChargeLater):
        await shop.charging().notices.announce(key(1))


async def test_a_delivery_whose_notice_is_refused_is_charged_all_the_same(shop: ChargingShop) -> None:
    fault = Refusal(provider=Provider.RAZORPAY, on="order", code="mandate_not_active", times=1)
    shop.fakes.faults.add(fault)

    outcomes = [await shop.charging().notices.announce(key(1)) for _ in range(2)]

    assert outcomes == ["refused", "refused"]
    assert await shop.shop.sql("SELECT refusal FROM tasks.debit_notices") == [("mandate_not_active",)]
    assert await charge_on_its_day(shop) == "pending"


async def test_a_notice_is_good_for_no_other_mandate(shop: ChargingShop) -> None:
    await shop.charging().notices.announce(key(1))
    await shop.shop.sql("UPDATE tasks.mandates SET customer_id = 'cust_new', token_id = 'token_new'")
    shop.fakes.razorpay.books.mandates["token_new"] = Mandate(customer_id="cust_new", token_id="token_new")

    assert await charge_on_its_day(shop) == "pending"

    [payment] = shop.fakes.razorpay.books.payments.values()
    assert (payment.order.receipt, payment.order.token_id) == (f"{receipt(1)}-own", None)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE subscriptions SET status = 'paused'",
        "UPDATE tasks.debit_notices SET product_id = 2",
        "DELETE FROM tasks.mandates",
        "DELETE FROM tasks.debit_notices",
    ],
)
async def test_what_will_not_be_debited_is_not_announced(shop: ChargingShop, change: str) -> None:
    await shop.shop.sql(change)

    assert await shop.charging().notices.announce(key(1)) == "not_needed"
    assert shop.transport.requests == []


async def test_a_run_at_midnight_in_india_finds_debits_that_can_be_made(shop: ChargingShop) -> None:
    notices = DebitNotices(shop.shop.database, shop.gateway(), INDIA, now=lambda: shop.now)
    assert await notices.announce(key(1)) == "announced"
    [order] = shop.fakes.razorpay.books.orders.values()

    shop.now = datetime.combine(DAY, time(), INDIA)
    await shop.plan()

    assert order.payment_after == shop.now
    assert (await shop.charge()).state == "captured"


@pytest.mark.parametrize(
    ("method", "hours", "outcome"),
    [
        ("upi", 25, "announced"),
        ("upi", 24, "too_late"),
        ("upi", 3, "too_late"),
        ("card", 36, "announced"),
        ("card", 35, "too_late"),
        ("emandate", 35, "too_late"),
    ],
)
async def test_a_notice_that_no_bank_can_send_in_time_is_too_late(
    shop: ChargingShop, method: str, hours: int, outcome: str
) -> None:
    await shop.shop.sql("UPDATE tasks.mandates SET method = :method", method=method)
    shop.now = MIDNIGHT - timedelta(hours=hours)

    assert await shop.charging().notices.announce(key(1)) == outcome

    assert await charge_on_its_day(shop) == {"announced": "captured", "too_late": "pending"}[outcome]
