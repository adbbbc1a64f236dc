"""Ledger, shop and gateway held against each other, after real charges and after somebody tampered with one of them."""

import pytest

from app.dev.fakes.razorpay_fates import Fate
from app.providers.payments.requests import Notice, OrderRequest
from app.reconciliation.discrepancies import DiscrepancyKind
from tests.integration.charging_shop import MIDNIGHT, PRICE, ChargingShop, receipt
from tests.integration.delivery_shop import DAY
from tests.integration.reconciled_shop import captures, charge_all, discrepancies, order_of, reconciled


async def test_whatever_charges_came_to_the_three_agree(shop: ChargingShop) -> None:
    await shop.open(5, notices=4)
    shop.fakes.razorpay.fates.add(Fate(becomes="failed", reason="insufficient_funds", of="token_1"))
    shop.fakes.razorpay.fates.add(Fate(becomes="created", of="token_2"))
    await shop.shop.sql("UPDATE users SET is_active = false WHERE id = 5")
    await charge_all(shop, 5)

    kinds, totals = await reconciled(shop)

    assert kinds == []
    assert totals.deliveries == {"captured": 1, "refused": 1, "pending": 2, "skipped": 1}
    assert totals.captured_paise == PRICE


async def test_what_is_open_is_told_of_once_its_day_is_over(shop: ChargingShop) -> None:
    await shop.open(1, notices=False)
    await charge_all(shop, 1)

    assert (await reconciled(shop, day_is_over=True))[0] == [(1, DiscrepancyKind.OPEN)]


async def test_it_only_reads(shop: ChargingShop) -> None:
    await shop.open(2)
    await charge_all(shop, 2)
    await shop.shop.sql("UPDATE orders SET payment_status = 'failed'")
    before = await shop.shop.everything()
    shop.transport.requests.clear()

    await reconciled(shop)

    assert await shop.shop.everything() == before
    assert {request.split()[0] for request in shop.transport.requests} == {"GET"}


@pytest.mark.parametrize(
    ("tampering", "found"),
    [
        ("DELETE FROM orders WHERE id = {order}", DiscrepancyKind.ORDER_MISSING),
        ("UPDATE orders SET payment_status = 'failed' WHERE id = {order}", DiscrepancyKind.ORDER_NOT_PAID),
        ("UPDATE orders SET final_amount = 70 WHERE id = {order}", DiscrepancyKind.AMOUNT_DIFFERS),
        ("DELETE FROM payments WHERE order_id = {order}", DiscrepancyKind.PAYMENT_MISSING),
        ("UPDATE payments SET amount = 1 WHERE order_id = {order}", DiscrepancyKind.AMOUNT_DIFFERS),
        ("UPDATE payments SET status = 'failed' WHERE order_id = {order}", DiscrepancyKind.PAYMENT_NOT_PAID),
        ("UPDATE orders SET order_status = 'cancelled' WHERE id = {order}", DiscrepancyKind.OWED),
        ("UPDATE tasks.charges SET is_owed = true WHERE subscription_id = 2", DiscrepancyKind.OWED),
    ],
)
async def test_what_was_done_to_the_shops_books_is_found(
    shop: ChargingShop, tampering: str, found: DiscrepancyKind
) -> None:
    await shop.open(3)
    await charge_all(shop, 3)
    order = (await shop.one(2)).order_id

    await shop.shop.sql(tampering.format(order=order))

    assert (await reconciled(shop))[0] == [(2, found)]


async def test_an_order_that_no_charge_is_known_of_is_found(shop: ChargingShop) -> None:
    await shop.open(1)
    await charge_all(shop, 1)
    copied = "INSERT INTO orders (user_id, order_number, total_amount, final_amount, delivery_address_id)"
    await shop.shop.sql(f"{copied} SELECT user_id, 'SUB-20260302-77', 1, 1, delivery_address_id FROM orders")
    for number in ("x", 4_000_000_000, 12_345_678_901):
        order = f"SUB-20260302-{number}"
        await shop.shop.sql(
            f"{copied} SELECT user_id, :order, 1, 1, delivery_address_id FROM orders LIMIT 1", order=order
        )

    kinds, _totals = await reconciled(shop)

    assert kinds == [(77, DiscrepancyKind.ORDER_WITHOUT_CHARGE)]


async def test_money_that_was_captured_twice_is_found(shop: ChargingShop) -> None:
    await shop.open(2)
    await charge_all(shop, 2)
    again = await shop.gateway().create_order(OrderRequest(receipt(2), PRICE))
    second = captures(shop, shop.fakes.razorpay.books.orders[again.id])

    [discrepancy], _totals = await discrepancies(shop)

    assert (discrepancy.kind, discrepancy.delivery.subscription_id) == (DiscrepancyKind.CAPTURED_TWICE, 2)
    assert second.id in discrepancy.sentence
    assert [len(order.captured or ()) for order in discrepancy.delivery.gateway] == [1, 1]


async def test_money_under_a_receipt_of_nobodys_is_found(shop: ChargingShop) -> None:
    await shop.open(1)
    await charge_all(shop, 1)
    foreign = await shop.gateway().create_order(OrderRequest(receipt(99), PRICE))
    captures(shop, shop.fakes.razorpay.books.orders[foreign.id])
    # Announced, and of a customer who paused since.
    await shop.gateway().create_order(OrderRequest(receipt(98), PRICE))

    assert (await reconciled(shop))[0] == [(99, DiscrepancyKind.PAID_WITHOUT_CHARGE)]


async def test_a_second_order_of_a_changed_mandate_is_the_same_delivery(shop: ChargingShop) -> None:
    await shop.open(1)
    await charge_all(shop, 1)
    again = await shop.gateway().create_order(OrderRequest(f"{receipt(1)}-own", PRICE))
    captures(shop, shop.fakes.razorpay.books.orders[again.id])

    assert (await reconciled(shop))[0] == [(1, DiscrepancyKind.CAPTURED_TWICE)]


async def test_a_capture_that_the_gateway_knows_nothing_of_is_found(shop: ChargingShop) -> None:
    await shop.open(1)
    await charge_all(shop, 1)
    order = order_of(shop, 1)
    order.payments.clear()

    assert (await reconciled(shop))[0] == [(1, DiscrepancyKind.NOT_PAID_AT_GATEWAY)]


async def test_more_orders_than_a_page_of_the_gateways_list_holds(shop: ChargingShop) -> None:
    await shop.open(1)
    await charge_all(shop, 1)
    gateway = shop.gateway()
    for number in range(1000, 1230):
        await gateway.create_order(OrderRequest(receipt(number), PRICE))
    last = await gateway.create_order(OrderRequest(receipt(1500), PRICE))
    captures(shop, shop.fakes.razorpay.books.orders[last.id])

    listed = [order.id async for order in gateway.orders_like(f"-{DAY:%Y%m%d}")]
    kinds, _totals = await reconciled(shop)

    assert len(listed) == len(set(listed)) == 232
    assert kinds == [(1500, DiscrepancyKind.PAID_WITHOUT_CHARGE)]


async def test_an_order_that_goes_out_unpaid_is_found(shop: ChargingShop) -> None:
    await shop.open(1, notices=False)
    await charge_all(shop, 1)
    shop.move("failed")
    await shop.look()
    assert (await shop.one()).state == "refused"

    await shop.shop.sql("UPDATE orders SET order_status = 'out_for_delivery'")

    assert (await reconciled(shop))[0] == [(1, DiscrepancyKind.ORDER_ON_ITS_WAY_UNPAID)]


async def test_an_id_of_ten_digits_is_reconciled(shop: ChargingShop) -> None:
    number = 1_000_000_007
    await shop.open(1, notices=False)
    await shop.shop.sql("UPDATE subscriptions SET id = :id", id=number)
    await shop.shop.sql("UPDATE tasks.mandates SET subscription_id = :id", id=number)
    announced = OrderRequest(receipt(number), PRICE, {}, Notice("token_0", MIDNIGHT))
    now, shop.now = shop.now, MIDNIGHT.replace(day=1)
    order = await shop.gateway().create_order(announced)
    shop.now = now
    await shop.shop.sql(
        "INSERT INTO tasks.debit_notices (delivery_date, subscription_id, product_id, amount_paise, token_id,"
        " razorpay_order_id) VALUES (:day, :id, 1, 6800, 'token_0', :order)",
        day=DAY,
        id=number,
        order=order.id,
    )
    await shop.plan()
    charged = await shop.charge(number)

    assert charged.state == "captured"
    assert (await reconciled(shop))[0] == []
