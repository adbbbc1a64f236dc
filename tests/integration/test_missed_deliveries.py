"""With MISSED_DELIVERIES=deliver_once: what an invoice has paid for comes on another day or is owed, never both."""

from datetime import date, timedelta

import pytest

from app.billing.record import ChargeRecord
from app.deliveries.decisions import Terms
from app.dev.fakes.razorpay_books import Subscription
from tests.integration.charging_shop import MIDNIGHT, PRICE, ChargingShop, key
from tests.integration.delivery_shop import DAY, ONE_DAY


@pytest.mark.parametrize(
    ("frequency", "since", "stock", "expected"),
    [
        ("weekly", 1, 9, [(1, "missed", False), (0, None, False)]),
        # Of two that were missed one is made up for.
        ("alternate_days", 3, 9, [(3, "missed", True), (1, "missed", False), (0, None, False)]),
        # Today's is its own.
        ("daily", 1, 9, [(1, "missed", True), (0, None, False)]),
        ("weekly", 1, 0, [(1, "missed", False), (0, "no_stock", True)]),
    ],
)
async def test_one_payment_brings_one_delivery_each(
    opened: ChargingShop, frequency: str, since: int, stock: int, expected: list[tuple[int, str | None, bool]]
) -> None:
    shop = opened
    await shop.open(notices=False, stock=stock)
    await shop.shop.sql("DELETE FROM tasks.mandates")
    await shop.shop.sql(
        "UPDATE subscriptions SET plan_frequency = CAST(:frequency AS subscription_frequency), start_date = :since,"
        " next_delivery_date = :since",
        frequency=frequency,
        since=DAY - since * ONE_DAY,
    )
    books = shop.fakes.razorpay.books
    subscription = books.subscriptions["sub_1"] = Subscription(id="sub_1", customer_id="cust_1")
    start = MIDNIGHT - since * ONE_DAY
    books.issue(subscription, amount=PRICE, paid=True, billing_start=start, billing_end=start + timedelta(days=7))
    await shop.plan(missed="deliver_once")

    for ago, _, _ in expected:
        await charge(shop, DAY - ago * ONE_DAY)

    charges = await shop.shop.charges()
    assert [((DAY - each.delivery_date).days, skipped(each.reason), each.is_owed) for each in charges] == expected
    asked = await shop.shop.sql("SELECT kwargs->>'delivery_date' FROM tasks.outbox WHERE key LIKE '%owed'")
    owed = [(DAY - ago * ONE_DAY).isoformat() for ago, _, is_owed in expected if is_owed]
    assert sorted(day for (day,) in asked) == sorted(owed)


async def charge(shop: ChargingShop, day: date) -> None:
    charged = await shop.charging().charge(Terms(day, "deliver_once"), key(1, day), lambda: None)
    assert isinstance(charged, ChargeRecord)


def skipped(reason: str | None) -> str | None:
    return None if reason == "invoice_differs" else reason
