"""Charges whose money was given back at the gateway before they were settled."""

from dataclasses import replace

import pytest

from app.dev.fakes.razorpay_books import new_id
from tests.integration.charging_shop import MIDNIGHT, ChargingShop
from tests.integration.delivery_shop import DAY, ONE_DAY

WEEK = 7 * ONE_DAY


@pytest.fixture
async def shop(opened: ChargingShop) -> ChargingShop:
    """With a debit under way."""
    await opened.open(notices=False)
    await opened.plan()
    assert (await opened.charge()).state == "pending"
    return opened


async def test_what_was_given_back_is_not_paid_and_its_customer_is_told_so(shop: ChargingShop) -> None:
    shop.move("captured")
    shop.move("refunded")

    charged = await shop.look()

    assert (charged.state, charged.reason, charged.units_held) == ("refused", "refunded", 0)
    order = await shop.order_of()
    assert order is not None
    assert (order["payment_status"], order["order_status"], order["payment"]) == ("refunded", "cancelled", "refunded")
    [job] = [job for job in await shop.shop.jobs() if job.task.startswith("send_")]
    assert (job.task, job.kwargs["reason"]) == ("send_delivery_skipped_task", "refunded")
    assert await shop.faults() == []


async def test_what_was_given_back_holds_up_no_later_debit(shop: ChargingShop) -> None:
    shop.move("captured")
    shop.move("refunded")
    await shop.look()
    shop.now = MIDNIGHT + WEEK
    await shop.shop.run(DAY + WEEK)

    assert (await shop.charge(1, DAY + WEEK)).state == "pending"


async def test_what_is_given_back_again_and_again_is_no_refusal_by_a_bank(shop: ChargingShop) -> None:
    for number in range(4):
        day = DAY + number * ONE_DAY
        if number:
            shop.now = MIDNIGHT + number * ONE_DAY
            await shop.shop.run(day)
            await shop.charge(1, day)
        [payment] = [each for each in shop.fakes.razorpay.books.payments.values() if each.status == "created"]
        shop.fakes.razorpay.books.move(payment, "captured")
        shop.fakes.razorpay.books.move(payment, "refunded")

        assert (await shop.charge(1, day)).reason == "refunded"

    assert await shop.shop.sql("SELECT CAST(status AS text) FROM subscriptions") == [("active",)]


async def test_of_a_double_payment_one_is_left_when_the_other_is_given_back(shop: ChargingShop) -> None:
    books = shop.fakes.razorpay.books
    [first] = books.payments.values()
    second = replace(first, id=new_id("pay"))
    books.add_payment(second)
    books.move(first, "captured")
    books.move(second, "captured")
    assert (await shop.charge()).reason == "captured_twice"
    books.move(second, "refunded")

    charged = await shop.look()

    assert (charged.state, charged.reason, charged.razorpay_payment_id) == ("captured", None, first.id)
