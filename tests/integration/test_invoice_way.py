"""Deliveries of subscriptions that Razorpay debits by itself, settled by their invoices."""

from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.deliveries import runs
from app.dev.fakes.faults import Breakage, Failure
from app.dev.fakes.inbox import Provider
from app.errors import Unavailable
from tests.integration.charging_shop import MIDNIGHT, PRICE, ChargingShop
from tests.integration.delivery_shop import DAY, ONE_DAY
from tests.integration.invoice_shop import MONDAY, WEEK, bill, open_by_invoices


@pytest.fixture
async def shop(opened: ChargingShop) -> ChargingShop:
    await open_by_invoices(opened)
    return opened


async def test_each_day_of_a_paid_week_is_an_order_and_the_week_one_payment(shop: ChargingShop) -> None:
    invoice = bill(shop)

    for number in range(7):
        shop.now = MIDNIGHT + number * ONE_DAY
        await shop.shop.run(DAY + number * ONE_DAY)
        assert (await shop.charge(1, DAY + number * ONE_DAY)).state == "captured"

    payments = await shop.shop.sql(
        "SELECT order_id, subscription_id, razorpay_payment_id, amount, CAST(status AS text) FROM payments"
    )
    assert [tuple(row) for row in payments] == [(None, 1, invoice.payment_id, Decimal("476.00"), "paid")]
    orders = await shop.shop.sql(
        "SELECT CAST(payment_status AS text), CAST(order_status AS text), total_amount FROM orders"
    )
    assert [tuple(row) for row in orders] == [("paid", "confirmed", Decimal("68.00"))] * 7
    charges = await shop.shop.charges()
    assert {(charge.razorpay_invoice_id, charge.razorpay_payment_id, charge.reason) for charge in charges} == {
        (invoice.id, invoice.payment_id, None)
    }
    assert await shop.faults() == []


@pytest.mark.parametrize(
    ("first", "at", "is_covered"),
    [
        (MONDAY, time(0, 0), True),
        (MONDAY, time(23, 59), True),
        (MONDAY - WEEK + ONE_DAY, time(0, 0), True),
        (MONDAY - WEEK, time(0, 0), False),
        (MONDAY - WEEK, time(14, 0), False),
        (MONDAY + ONE_DAY, time(0, 0), False),
    ],
)
async def test_windows_are_compared_where_the_milk_is_brought(
    shop: ChargingShop, first: date, at: time, *, is_covered: bool
) -> None:
    bill(shop, first=first, at=at)
    await shop.plan()

    charged = await shop.charge()

    assert charged.state == ("captured" if is_covered else "pending")


async def test_an_open_invoice_is_waited_for(shop: ChargingShop) -> None:
    await shop.plan()

    waiting = await shop.charge()

    assert (waiting.state, waiting.reason) == ("pending", "no_invoice_yet")
    invoice = bill(shop, paid=False)
    assert ((await shop.look()).state, (await shop.one()).looks) == ("pending", 2)
    order = await shop.order_of()
    assert order is not None
    assert (order["payment_status"], order["order_status"], order["payment"]) == ("pending", "pending", None)
    shop.fakes.razorpay.books.pay(invoice)
    assert (await shop.look()).state == "captured"
    order = await shop.order_of()
    assert order is not None
    assert (order["payment_status"], order["order_status"]) == ("paid", "confirmed")
    assert await shop.faults() == []


async def test_what_is_paid_after_its_order_was_deleted_in_the_shop_gets_another(shop: ChargingShop) -> None:
    invoice = bill(shop, paid=False)
    await shop.plan()
    assert (await shop.charge()).state == "pending"
    await shop.shop.sql("DELETE FROM orders")
    shop.fakes.razorpay.books.pay(invoice)

    charged = await shop.look()

    order = await shop.order_of()
    assert order is not None
    assert (charged.state, order["payment_status"], order["order_status"]) == ("captured", "paid", "confirmed")
    assert await shop.faults() == []


@pytest.mark.parametrize("status", ["halted", "cancelled", "completed", "expired"])
async def test_a_subscription_that_is_charged_no_more_is_refused_and_not_paused(
    shop: ChargingShop, status: str
) -> None:
    bill(shop, paid=False)
    shop.fakes.razorpay.books.subscriptions["sub_1"].status = status
    for number in range(4):
        shop.now = MIDNIGHT + number * ONE_DAY
        await shop.shop.run(DAY + number * ONE_DAY)

        charged = await shop.charge(1, DAY + number * ONE_DAY)

        assert (charged.state, charged.reason) == ("refused", "subscription_charges_no_more")
    assert await shop.shop.sql("SELECT CAST(status AS text) FROM subscriptions") == [("active",)]
    assert await shop.faults() == []


async def test_who_deleted_his_subscription_is_told_of_its_end_and_not_of_his_bank(shop: ChargingShop) -> None:
    bill(shop, paid=False)
    await shop.plan()
    assert (await shop.charge()).state == "pending"
    await shop.shop.sql("DELETE FROM subscriptions")

    charged = await shop.look()

    assert (charged.state, charged.reason) == ("refused", "subscription_gone")
    assert await shop.told() == ["send_delivery_skipped_task delivery:1:2026-03-02:skipped"]
    assert await shop.faults() == []


async def test_an_invoice_of_another_amount_is_reported_and_not_refused(shop: ChargingShop) -> None:
    bill(shop, amount=6 * PRICE)
    await shop.plan()

    charged = await shop.charge()

    charge = await shop.one()
    assert (charged.state, charge.reason) == ("captured", "invoice_differs")
    assert charge.answer is not None
    assert (charge.answer["amount"], charge.answer["expected"]) == (6 * PRICE, 7 * PRICE)


async def test_alternate_days_are_counted_by_their_cadence(shop: ChargingShop) -> None:
    bill(shop, amount=4 * PRICE)
    await shop.shop.sql("UPDATE subscriptions SET plan_frequency = 'alternate_days'")
    await shop.plan()

    await shop.charge()

    assert (await shop.one()).reason is None


class TestOwed:
    """Paid for by an invoice, and skipped."""

    async def test_what_is_skipped_in_a_week_that_was_paid(self, shop: ChargingShop) -> None:
        bill(shop)
        await shop.shop.sql("UPDATE products SET stock_quantity = 0")
        shop.start_stock = 0
        await shop.plan()

        charged = await shop.charge()

        [job] = await shop.shop.sql("SELECT task, key FROM tasks.outbox")
        assert tuple(job) == ("process_single_subscription", "delivery:1:2026-03-02:owed")
        assert (charged.state, charged.reason, charged.is_owed) == ("skipped", "no_stock", True)
        assert await shop.told() == []
        before = await shop.shop.everything()
        await shop.charge()
        assert await shop.shop.everything() == before

    async def test_what_was_skipped_in_a_week_that_is_paid_later(self, shop: ChargingShop) -> None:
        await shop.shop.sql("UPDATE subscriptions SET next_delivery_date = :day", day=DAY - 9 * ONE_DAY)
        bill(shop, first=DAY - 2 * ONE_DAY)
        await shop.plan()

        await shop.charge()

        owed = [charge.delivery_date for charge in await shop.shop.charges() if charge.is_owed]
        assert owed == [DAY - 2 * ONE_DAY, DAY - ONE_DAY]

    async def test_what_was_missed_though_nothing_else_of_its_week_is_settled(self, shop: ChargingShop) -> None:
        missed = DAY - 7 * ONE_DAY
        bill(shop, amount=PRICE, first=missed)
        await shop.shop.sql("UPDATE subscriptions SET plan_frequency = 'weekly', next_delivery_date = :day", day=missed)
        await shop.plan()
        jobs = await shop.shop.sql("SELECT kwargs->>'delivery_date' FROM tasks.outbox WHERE key LIKE '%owed'")

        charged = await shop.charge(1, missed)

        assert [day for (day,) in jobs] == [missed.isoformat()]
        assert (charged.state, charged.reason, charged.is_owed) == ("skipped", "missed", True)

    async def test_what_was_skipped_before_its_invoice_is_paid(self, shop: ChargingShop) -> None:
        invoice = bill(shop, paid=False)
        await shop.shop.sql("UPDATE products SET stock_quantity = 0")
        shop.start_stock = 0
        await shop.plan()

        assert not (await shop.charge()).is_owed
        assert not (await shop.charge()).is_owed
        assert not (await shop.look()).is_owed
        shop.fakes.razorpay.books.pay(invoice)
        charged = await shop.look()

        assert (charged.state, charged.reason, charged.is_owed) == ("skipped", "no_stock", True)
        charge = await shop.one()
        assert (charge.looks, charge.next_look_at) == (2, None)

    async def test_what_is_given_up_at_the_end_of_its_day(self, shop: ChargingShop) -> None:
        bill(shop)
        await shop.plan()
        await runs.pause(shop.shop.database, DAY, "a person wants to look")
        shop.now = MIDNIGHT + timedelta(hours=18, minutes=30)

        assert (await shop.charge()).reason == "run_paused"
        jobs = await shop.shop.sql("SELECT task FROM tasks.outbox WHERE key LIKE '%owed'")
        charged = await shop.charge()

        assert [task for (task,) in jobs] == ["process_single_subscription"]
        assert (charged.state, charged.reason, charged.is_owed) == ("skipped", "run_paused", True)

    @pytest.mark.parametrize(
        ("change", "reason", "told"),
        [
            ("UPDATE users SET is_active = false WHERE role = 'consumer'", "customer_inactive", False),
            ("UPDATE subscriptions SET status = 'paused'", "subscription_inactive", True),
        ],
    )
    async def test_what_is_not_wanted_any_more_once_it_is_planned(
        self, shop: ChargingShop, change: str, reason: str, *, told: bool
    ) -> None:
        bill(shop)
        await shop.plan()
        await shop.shop.sql(change)

        charged = await shop.charge()

        assert (charged.state, charged.reason, charged.is_owed) == ("skipped", reason, True)
        assert charged.units_held == 0
        assert bool(await shop.told()) == told
        assert await shop.shop.stock() == {1: shop.start_stock}

    async def test_is_looked_for_only_while_its_invoice_may_be_paid(self, shop: ChargingShop) -> None:
        bill(shop, paid=False)
        await shop.shop.sql("UPDATE products SET stock_quantity = 0")
        await shop.plan()
        await shop.charge()
        shop.fakes.razorpay.books.subscriptions["sub_1"].status = "cancelled"

        charged = await shop.look()

        assert (charged.is_owed, (await shop.one()).next_look_at) == (False, None)


@pytest.mark.parametrize(
    "fault",
    [
        Failure(provider=Provider.RAZORPAY, on="lookup", status=500, times=1),
        Failure(provider=Provider.RAZORPAY, on="lookup", status=429, times=1),
        Breakage(provider=Provider.RAZORPAY, on="lookup", kind="dropped_before", times=1),
    ],
    ids=str,
)
async def test_a_gateway_that_can_not_be_asked_is_waited_for(shop: ChargingShop, fault: Any) -> None:
    bill(shop)
    await shop.plan()
    shop.fakes.faults.add(fault)

    with pytest.raises(Unavailable):
        await shop.charge()

    assert (await shop.charge()).state == "captured"


async def test_an_answer_that_must_not_be_believed_is_left_to_a_person(shop: ChargingShop) -> None:
    invoice = bill(shop)
    invoice.payment_id = None
    await shop.plan()

    charged = await shop.charge()

    assert (charged.state, await shop.told()) == ("unknown", [])
    invoice.payment_id = "pay_1"
    shop.now += timedelta(hours=1)
    assert (await shop.charge()).state == "captured"
