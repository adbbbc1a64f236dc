"""Order numbers and receipts of deliveries, and whose they are."""

import re
from datetime import date

import pytest

from app.db.shop import SubscriptionId
from app.deliveries.names import GREATEST_ID, OWN, order_number, order_numbers, receipt, receipts, subscription_of

DAY = date(2026, 3, 2)


@pytest.mark.parametrize("number", [1, 42, 1_000_000_007, GREATEST_ID])
def test_a_receipt_tells_its_subscription(number: int) -> None:
    named = receipt(DAY, SubscriptionId(number))

    assert receipts(DAY) in named
    assert subscription_of(named, DAY) == subscription_of(named + OWN, DAY) == number
    assert subscription_of(named, date(2026, 3, 3)) is None
    assert re.fullmatch(order_numbers(DAY), order_number(DAY, SubscriptionId(number)))


@pytest.mark.parametrize(
    "foreign",
    [
        None,
        "",
        "sub-0-20260302",
        "sub-07-20260302",
        f"sub-{GREATEST_ID + 1}-20260302",
        "sub-12345678901-20260302",
        "sub-7-20260302-other",
        "xsub-7-20260302",
        "SUB-20260302-7",
    ],
)
def test_receipts_of_others_are_nobodys(foreign: str | None) -> None:
    assert subscription_of(foreign, DAY) is None
