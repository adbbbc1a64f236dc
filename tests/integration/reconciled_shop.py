"""A shop whose charges are reconciled with the fake Razorpay's books."""

from datetime import timedelta
from typing import Any

from app.dev.fakes.razorpay_books import Order, Payment, Subscription, new_id
from app.reconciliation.discrepancies import Discrepancy, DiscrepancyKind
from app.reconciliation.reconcile import Reconciliation, ReconciliationTotals
from tests.integration.charging_shop import MIDNIGHT, PRICE, ChargingShop, receipt
from tests.integration.delivery_shop import DAY


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
