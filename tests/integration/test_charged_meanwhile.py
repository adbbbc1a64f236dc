"""What the shop, its customers and the gateway do about a delivery while it is being charged."""

from dataclasses import replace

import httpx
import pytest

from app.dev.fakes import razorpay
from app.dev.fakes.razorpay_fates import Fate
from app.dev.fakes.razorpay_resources import collection, order_resource, payment_resource
from tests.integration.charging_shop import ChargingShop


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE subscriptions SET status = 'paused'",
        "UPDATE subscriptions SET status = 'cancelled'",
        "UPDATE users SET is_active = false WHERE role = 'consumer'",
        "DELETE FROM tasks.mandates",
    ],
)
async def test_who_wants_none_any_more_while_his_order_is_made_is_not_debited(shop: ChargingShop, change: str) -> None:
    await shop.open(notices=False)
    await shop.plan()

    async def interfere(request: httpx.Request) -> None:
        if request.method == "POST" and request.url.path.endswith("/orders"):
            await shop.shop.sql(change)

    shop.transport.after = interfere

    await shop.charge()

    assert shop.fakes.razorpay.books.payments == {}


@pytest.mark.parametrize(("status", "state"), [("captured", "captured"), ("failed", "refused")])
async def test_an_open_charge_whose_order_was_deleted_in_the_shop_is_settled(
    shop: ChargingShop, status: str, state: str
) -> None:
    await shop.open(notices=False)
    await shop.plan()
    assert (await shop.charge()).state == "pending"
    await shop.shop.sql("DELETE FROM orders")
    shop.move(status)

    assert (await shop.look()).state == state


@pytest.mark.parametrize("status", ["cancelled", "out_for_delivery", "delivered"])
async def test_a_capture_does_not_take_back_what_the_shop_did_with_the_order(shop: ChargingShop, status: str) -> None:
    await shop.open(notices=False)
    await shop.plan()
    assert (await shop.charge()).state == "pending"
    await shop.shop.sql("UPDATE orders SET order_status = CAST(:status AS order_status)", status=status)
    shop.move("captured")

    await shop.charge()

    order = await shop.order_of()
    assert order is not None
    assert (order["payment_status"], order["order_status"]) == ("paid", status)


async def test_the_confirmation_names_the_address_of_the_order(shop: ChargingShop) -> None:
    await shop.open(notices=False)
    await shop.plan()
    assert (await shop.charge()).state == "pending"
    await shop.shop.sql(
        "INSERT INTO addresses (id, user_id, name, phone, address_line1, city, state, postal_code)"
        " VALUES (9, 2, 'Customer', '+91', '7 Hill Road', 'Chennai', 'Tamil Nadu', '600004')"
    )
    await shop.shop.sql("UPDATE subscriptions SET delivery_address_id = 9")
    shop.move("captured")

    await shop.charge()

    [job] = [job for job in await shop.shop.jobs() if job.task == "send_order_confirmation_task"]
    order = await shop.order_of()
    assert order is not None
    street = {1: "12 Lake View", 9: "7 Hill Road"}[order["delivery_address_id"]]
    assert job.kwargs["delivery_address"].startswith(street)


async def test_a_charge_whose_payment_is_known_is_never_begun_again(
    shop: ChargingShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway shows its order without payments for a time, as what is read from copies may be."""
    await shop.open(notices=False)
    await shop.plan()
    assert (await shop.charge()).razorpay_payment_id is not None
    monkeypatch.setattr(razorpay, "order_resource", lambda each: order_resource(replace(each, payments=[])))
    monkeypatch.setattr(razorpay, "collection", lambda items: collection([i for i in items if i["entity"] == "order"]))

    for _ in range(3):
        await shop.look()

    assert len(shop.fakes.razorpay.books.payments) == 1


async def test_a_reason_that_no_table_can_hold_does_not_keep_a_charge_open(
    shop: ChargingShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.open()
    shop.fakes.razorpay.fates.add(Fate(becomes="failed"))
    await shop.plan()
    monkeypatch.setattr(razorpay, "payment_resource", lambda each: payment_resource(each) | {"error_reason": "a\0b"})

    charged = await shop.charge()

    assert charged.state == "refused"
