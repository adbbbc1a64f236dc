"""Ledger, shop and gateway held against each other, after real charges and after somebody tampered with one of them."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from app.dev.fakes.razorpay_books import Order, Payment, Subscription, new_id
from app.dev.fakes.razorpay_fates import Fate
from app.dev.postgres import EmbeddedPostgres
from app.providers.payments.requests import OrderRequest
from app.reconciliation.discrepancies import Discrepancy, DiscrepancyKind
from app.reconciliation.reconcile import Reconciliation, ReconciliationTotals
from tests.integration.charging_shop import MIDNIGHT, PRICE, ChargingShop, own_charging_shop, receipt
from tests.integration.delivery_shop import DAY


@pytest.fixture(scope="module")
async def opened(postgres_server: EmbeddedPostgres, database_template: str) -> AsyncIterator[ChargingShop]:
    async with own_charging_shop(postgres_server, database_template) as shop:
        yield shop


@pytest.fixture
def shop(opened: ChargingShop) -> ChargingShop:
    """`open()` empties it."""
    return opened


async def charge_all(shop: ChargingShop, count: int) -> None:
    await shop.plan()
    for number in range(1, count + 1):
        await shop.charge(number)


async def reconciled(
    shop: ChargingShop, *, day_is_over: bool = False
) -> tuple[list[tuple[int, DiscrepancyKind]], ReconciliationTotals]:
    found, totals = await discrepancies(shop, day_is_over=day_is_over)
    return [(discrepancy.delivery.subscription_id, discrepancy.kind) for discrepancy in found], totals


async def discrepancies(
    shop: ChargingShop, *, day_is_over: bool = False
) -> tuple[list[Discrepancy], ReconciliationTotals]:
    reconciliation = Reconciliation(shop.shop.database, shop.gateway(), DAY, day_is_over=day_is_over)
    return [discrepancy async for discrepancy in reconciliation.discrepancies()], reconciliation.totals


def captures(shop: ChargingShop, order: Order) -> Payment:
    """Somebody pays the order, past all that is ours."""
    books = shop.fakes.razorpay.books
    payment = Payment(
        id=new_id("pay"),
        order=order,
        mandate=None,
        status="created",
        email="",
        contact="",
        description="",
        notes={},
        created_at=shop.now,
    )
    books.add_payment(payment)
    books.move(payment, "captured")
    return payment


def order_of(shop: ChargingShop, number: int) -> Order:
    [order] = shop.fakes.razorpay.books.orders_with(receipt(number))
    return order


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
    await shop.shop.sql(f"{copied} SELECT user_id, 'SUB-20260302-x', 1, 1, delivery_address_id FROM orders LIMIT 1")

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


async def test_a_late_authorisation_is_found_and_settled_by_asking_again(shop: ChargingShop) -> None:
    await shop.open(1)
    shop.fakes.razorpay.fates.add(Fate(becomes="failed", reason="insufficient_funds"))
    await charge_all(shop, 1)
    [payment] = order_of(shop, 1).payments
    shop.fakes.razorpay.books.move(payment, "captured")

    before, _ = await reconciled(shop)
    shop.now = MIDNIGHT + timedelta(days=1)
    await shop.charge()
    after, _ = await reconciled(shop)

    assert before == [(1, DiscrepancyKind.PAID_AT_GATEWAY_ONLY)]
    assert after == [(1, DiscrepancyKind.OWED), (1, DiscrepancyKind.CAPTURED_LATE)]


async def test_a_capture_that_the_gateway_knows_nothing_of_is_found(shop: ChargingShop) -> None:
    await shop.open(1)
    await charge_all(shop, 1)
    order = order_of(shop, 1)
    order.payments.clear()

    assert (await reconciled(shop))[0] == [(1, DiscrepancyKind.NOT_PAID_AT_GATEWAY)]


async def invoiced(shop: ChargingShop, **invoice: Any) -> Subscription:
    await shop.open(1)
    await shop.shop.sql("DELETE FROM tasks.mandates")
    await shop.shop.sql("DELETE FROM tasks.debit_notices")
    books = shop.fakes.razorpay.books
    subscription = books.subscriptions["sub_1"] = Subscription(id="sub_1", customer_id="cust_1")
    books.issue(
        subscription,
        # From the subscription's first day on.
        amount=5 * PRICE,
        billing_start=MIDNIGHT - timedelta(days=2),
        billing_end=MIDNIGHT + timedelta(days=5),
        **invoice,
    )
    await charge_all(shop, 1)
    return subscription


async def test_invoices_are_compared_by_the_one_that_paid(shop: ChargingShop) -> None:
    await invoiced(shop, paid=True)

    agreed, totals = await reconciled(shop)
    shop.fakes.razorpay.books.invoices.clear()
    differing, _ = await reconciled(shop)

    assert (agreed, totals.deliveries) == ([], {"captured": 1})
    assert differing == [(1, DiscrepancyKind.NOT_PAID_AT_GATEWAY)]


async def test_an_invoice_of_another_amount_is_told_of(shop: ChargingShop) -> None:
    await invoiced(shop, paid=True)
    [invoice] = shop.fakes.razorpay.books.invoices.values()
    await shop.shop.sql("UPDATE tasks.charges SET reason = 'invoice_differs'")

    [discrepancy], _ = await discrepancies(shop)

    assert (discrepancy.kind, discrepancy.delivery.gateway[0].id) == (DiscrepancyKind.AMOUNT_DIFFERS, invoice.id)


async def test_an_invoice_that_was_paid_since_is_found(shop: ChargingShop) -> None:
    await invoiced(shop, paid=False)
    [invoice] = shop.fakes.razorpay.books.invoices.values()

    before, totals = await reconciled(shop)
    shop.fakes.razorpay.books.pay(invoice)
    after, _ = await reconciled(shop)

    assert (before, totals.deliveries) == ([], {"pending": 1})
    assert after == [(1, DiscrepancyKind.PAID_AT_GATEWAY_ONLY)]


async def test_more_orders_than_a_page_of_the_gateways_list_holds(shop: ChargingShop) -> None:
    await shop.open(1)
    await charge_all(shop, 1)
    gateway = shop.gateway()
    for number in range(1000, 1230):
        await gateway.create_order(OrderRequest(receipt(number), PRICE))
    last = await gateway.create_order(OrderRequest(receipt(1500), PRICE))
    captures(shop, shop.fakes.razorpay.books.orders[last.id])

    listed = await gateway.orders_like(f"-{DAY:%Y%m%d}")
    kinds, _totals = await reconciled(shop)

    assert len(listed) == len({order.id for order in listed}) == 232
    assert kinds == [(1500, DiscrepancyKind.PAID_WITHOUT_CHARGE)]
