"""Debits that are announced days ahead, and charges that find their notice."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, time

import httpx
import pytest

from app.billing.failures import ChargeLater
from app.deliveries.days import INDIA
from app.dev.fakes.faults import Failure, Refusal
from app.dev.fakes.inbox import Provider
from app.dev.fakes.razorpay_books import Mandate
from app.dev.postgres import EmbeddedPostgres
from tests.integration.charging_shop import MIDNIGHT, PRICE, ChargingShop, key, own_charging_shop, receipt
from tests.integration.delivery_shop import DAY, ONE_DAY

TWO_DAYS = 2 * ONE_DAY


@pytest.fixture(scope="module")
async def opened(postgres_server: EmbeddedPostgres, database_template: str) -> AsyncIterator[ChargingShop]:
    async with own_charging_shop(postgres_server, database_template) as shop:
        yield shop


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
    notices = replace(shop.charging().notices, timezone=INDIA)
    assert await notices.announce(key(1)) == "announced"
    [order] = shop.fakes.razorpay.books.orders.values()

    shop.now = datetime.combine(DAY, time(), INDIA)
    await shop.plan()

    assert order.payment_after == shop.now
    assert (await shop.charge()).state == "captured"


async def test_a_notice_that_comes_too_late_is_none(shop: ChargingShop) -> None:
    shop.now = MIDNIGHT

    assert await shop.charging().notices.announce(key(1)) == "too_late"
