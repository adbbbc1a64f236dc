"""Deliveries that invoices pay for, held against those invoices."""

from datetime import timedelta

import httpx

from app.dev.fakes.razorpay_books import Subscription
from app.reconciliation.discrepancies import DiscrepancyKind
from tests.integration.charging_shop import MIDNIGHT, PRICE, ChargingShop
from tests.integration.reconciled_shop import charge_all, discrepancies, invoiced, reconciled


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


async def test_a_planned_delivery_of_a_week_paid_in_advance_is_no_discrepancy(shop: ChargingShop) -> None:
    await shop.open(1, notices=False)
    await shop.shop.sql("DELETE FROM tasks.mandates")
    books = shop.fakes.razorpay.books
    subscription = books.subscriptions["sub_1"] = Subscription(id="sub_1", customer_id="cust_1")
    billed = {"billing_start": MIDNIGHT - timedelta(days=2), "billing_end": MIDNIGHT + timedelta(days=5)}
    books.issue(subscription, amount=5 * PRICE, paid=True, **billed)

    await shop.plan()
    planned, _ = await reconciled(shop)
    left_behind, _ = await reconciled(shop, day_is_over=True)
    await shop.charge()
    charged, _ = await reconciled(shop, day_is_over=True)

    assert (planned, charged) == ([], [])
    assert left_behind == [(1, DiscrepancyKind.PAID_AT_GATEWAY_ONLY), (1, DiscrepancyKind.OPEN)]


async def test_what_an_earlier_subscription_at_the_gateway_paid_is_found_by_its_invoice(shop: ChargingShop) -> None:
    await invoiced(shop, paid=True)
    assert (await reconciled(shop))[0] == []

    shop.fakes.razorpay.books.subscriptions["sub_2"] = Subscription(id="sub_2", customer_id="cust_1")
    await shop.shop.sql("UPDATE subscriptions SET razorpay_subscription_id = 'sub_2'")

    assert (await reconciled(shop))[0] == []


async def test_what_is_paid_and_settled_while_the_gateway_is_asked_is_no_discrepancy(shop: ChargingShop) -> None:
    await invoiced(shop, paid=False)
    [invoice] = shop.fakes.razorpay.books.invoices.values()
    asked: list[str] = []

    async def pay_and_settle(request: httpx.Request) -> None:
        # The gateway's answer is made, and on its way.
        if request.url.path.endswith("/invoices") and not asked:
            asked.append(request.url.path)
            shop.fakes.razorpay.books.pay(invoice)
            await shop.charge()

    shop.transport.after = pay_and_settle
    kinds, _ = await reconciled(shop)

    assert (await shop.one()).state == "captured"
    assert kinds == []


async def test_a_name_that_is_none_of_the_gateways_keeps_nobody_from_the_rest(shop: ChargingShop) -> None:
    await shop.open(2, notices=False)
    await shop.shop.sql("DELETE FROM tasks.mandates")
    await shop.shop.sql("UPDATE subscriptions SET razorpay_subscription_id = 'cash' WHERE id = 1")
    shop.fakes.razorpay.books.subscriptions["sub_2"] = Subscription(id="sub_2", customer_id="cust_2")
    await charge_all(shop, 2)

    kinds, totals = await reconciled(shop)

    assert kinds == [(1, DiscrepancyKind.UNKNOWN)]
    assert totals.deliveries == {"unknown": 1, "pending": 1}


async def test_asking_again_finds_who_had_no_mandate_and_has_an_invoice_since(shop: ChargingShop) -> None:
    await shop.open(1, notices=False)
    await shop.shop.sql("DELETE FROM tasks.mandates")
    await shop.shop.sql("UPDATE subscriptions SET razorpay_subscription_id = ''")
    await charge_all(shop, 1)
    books = shop.fakes.razorpay.books
    subscription = books.subscriptions["sub_1"] = Subscription(id="sub_1", customer_id="cust_1")
    week = {"billing_start": MIDNIGHT, "billing_end": MIDNIGHT + timedelta(days=7)}
    books.issue(subscription, amount=7 * PRICE, paid=True, **week)
    await shop.shop.sql("UPDATE subscriptions SET razorpay_subscription_id = 'sub_1'")

    before, _ = await reconciled(shop)
    charged = await shop.charge()
    after, _ = await reconciled(shop)

    assert (charged.reason, charged.is_owed) == ("mandate_missing", True)
    assert (before, after) == ([(1, DiscrepancyKind.PAID_AT_GATEWAY_ONLY)], [(1, DiscrepancyKind.OWED)])
