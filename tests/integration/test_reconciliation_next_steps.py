"""Whoever does what reconciliation says can be done has then done with it."""

from datetime import timedelta

from app.dev.fakes.razorpay_fates import Fate
from app.providers.payments.requests import OrderRequest
from app.reconciliation.discrepancies import ASK_OR_REFUND, REFUND_ONE, DiscrepancyKind
from tests.integration.charging_shop import MIDNIGHT, PRICE, ChargingShop, receipt
from tests.integration.reconciled_shop import captures, charge_all, discrepancies, order_of, reconciled


async def test_a_late_authorisation_is_found_and_settled_by_asking_again(shop: ChargingShop) -> None:
    await shop.open(1)
    shop.fakes.razorpay.fates.add(Fate(becomes="failed", reason="insufficient_funds"))
    await charge_all(shop, 1)
    shop.move("captured")

    before, _ = await reconciled(shop)
    shop.now = MIDNIGHT + timedelta(days=1)
    await shop.charge()
    after, _ = await reconciled(shop)
    shop.move("refunded")

    assert before == [(1, DiscrepancyKind.PAID_AT_GATEWAY_ONLY)]
    assert after == [(1, DiscrepancyKind.OWED), (1, DiscrepancyKind.CAPTURED_LATE)]
    assert (await reconciled(shop))[0] == []


async def test_a_unit_delivered_for_what_is_owed_settles_it(shop: ChargingShop) -> None:
    await shop.open(1)
    shop.fakes.razorpay.fates.add(Fate(becomes="failed", reason="insufficient_funds"))
    await charge_all(shop, 1)
    shop.move("captured")
    shop.now = MIDNIGHT + timedelta(days=1)
    await shop.charge()

    await shop.shop.sql("UPDATE orders SET order_status = 'delivered'")

    assert (await reconciled(shop))[0] == []


async def test_what_was_captured_twice_and_refunded_once_is_settled(shop: ChargingShop) -> None:
    await shop.open(1)
    await charge_all(shop, 1)
    again = await shop.gateway().create_order(OrderRequest(receipt(1), PRICE))
    second = captures(shop, shop.fakes.razorpay.books.orders[again.id])
    [found], _ = await discrepancies(shop)
    assert found.next_step == REFUND_ONE

    shop.fakes.razorpay.books.move(second, "refunded")

    assert (await reconciled(shop))[0] == []


async def test_asking_again_finds_what_was_captured_days_after_the_refusal(shop: ChargingShop) -> None:
    await shop.open(1)
    shop.fakes.razorpay.fates.add(Fate(becomes="failed", reason="insufficient_funds"))
    await charge_all(shop, 1)
    shop.now = MIDNIGHT + timedelta(days=5)
    shop.move("captured")
    [found], _ = await discrepancies(shop, day_is_over=True)
    assert found.next_step == ASK_OR_REFUND

    charged = await shop.charge()

    assert (charged.state, charged.is_owed) == ("captured", True)


async def test_a_refund_settles_what_another_order_than_the_charges_was_paid_by(shop: ChargingShop) -> None:
    await shop.open(1)
    shop.fakes.razorpay.fates.add(Fate(becomes="failed", reason="insufficient_funds"))
    await charge_all(shop, 1)
    again = await shop.gateway().create_order(OrderRequest(receipt(1), PRICE))
    payment = captures(shop, shop.fakes.razorpay.books.orders[again.id])

    asked = await shop.charge()
    before, _ = await reconciled(shop)
    shop.fakes.razorpay.books.move(payment, "refunded")
    after, _ = await reconciled(shop)

    assert (asked.state, before, after) == ("refused", [(1, DiscrepancyKind.PAID_AT_GATEWAY_ONLY)], [])


async def test_a_refund_settles_what_was_paid_though_it_was_skipped(shop: ChargingShop) -> None:
    await shop.open(1)
    await shop.shop.sql("UPDATE products SET stock_quantity = 0")
    await shop.plan()
    payment = captures(shop, order_of(shop, 1))

    before, _ = await reconciled(shop)
    shop.fakes.razorpay.books.move(payment, "refunded")
    after, _ = await reconciled(shop)

    assert (before, after) == ([(1, DiscrepancyKind.PAID_THOUGH_SKIPPED)], [])
