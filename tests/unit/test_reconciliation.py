"""Which disagreements of ledger, shop and gateway are found, and which agreements are none."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import pytest

from app.db.shop import OrderStatus, PaymentStatus, SubscriptionId
from app.reconciliation.comparing import discrepancies, needs_payments
from app.reconciliation.discrepancies import NEXT_STEPS, DiscrepancyKind
from app.reconciliation.sides import Delivery, GatewaySide, LedgerSide, ShopPayment, ShopSide

DAY = date(2026, 3, 2)
LEDGER = LedgerSide(
    state="captured",
    way="mandate",
    paise=6800,
    reason=None,
    is_owed=False,
    was_refused=False,
    gateway_order="order_1",
    gateway_payment="pay_1",
    invoice=None,
)
SHOP = ShopSide(
    order_number="SUB-20260302-7",
    paise=6800,
    payment_status=PaymentStatus.PAID,
    order_status=OrderStatus.CONFIRMED,
    payments=[ShopPayment("pay_1", 6800, PaymentStatus.PAID)],
)
UNPAID = replace(SHOP, payment_status=PaymentStatus.PENDING, order_status=OrderStatus.PENDING)
FAILED = replace(SHOP, payment_status=PaymentStatus.FAILED, order_status=OrderStatus.CANCELLED)
PAID = GatewaySide("order_1", 6800, "paid", 1, ["pay_1"])
TRIED = GatewaySide("order_1", 6800, "attempted", 1, [])
UNTRIED = GatewaySide("order_1", 6800, "created", 0, [])
TWICE = GatewaySide("order_2", 6800, "paid", 1, ["pay_2"])


def kinds(
    ledger: LedgerSide | None, shop: ShopSide | None, gateway: Sequence[GatewaySide] = (), *, day_is_over: bool = True
) -> list[DiscrepancyKind]:
    delivery = Delivery(SubscriptionId(7), ledger, shop, gateway)
    return [discrepancy.kind for discrepancy in discrepancies(delivery, DAY, day_is_over=day_is_over)]


@pytest.mark.parametrize(
    ("ledger", "shop", "gateway"),
    [
        pytest.param(LEDGER, SHOP, [PAID], id="captured"),
        pytest.param(LEDGER, SHOP, [replace(PAID, captured=None)], id="captured, and its payments not asked for"),
        pytest.param(LEDGER, SHOP, [UNTRIED, replace(PAID, id="order_2")], id="a second order that nobody paid"),
        pytest.param(
            LEDGER, replace(SHOP, payment_status=PaymentStatus.REFUNDED), [PAID], id="refunded by a person since"
        ),
        pytest.param(replace(LEDGER, state="refused"), None, [TRIED], id="refused before there was an order"),
        pytest.param(replace(LEDGER, state="refused"), FAILED, [TRIED], id="refused after there was an order"),
        pytest.param(replace(LEDGER, state="skipped", paise=0), None, [], id="skipped"),
        pytest.param(replace(LEDGER, state="skipped"), None, [UNTRIED], id="skipped after its notice"),
        pytest.param(None, None, [UNTRIED], id="a notice of a customer who paused"),
    ],
)
def test_sides_that_agree(ledger: LedgerSide | None, shop: ShopSide | None, gateway: list[GatewaySide]) -> None:
    assert kinds(ledger, shop, gateway) == []


@pytest.mark.parametrize(
    ("ledger", "shop", "gateway", "found"),
    [
        (LEDGER, SHOP, [PAID, TWICE], [DiscrepancyKind.CAPTURED_TWICE]),
        (LEDGER, SHOP, [replace(PAID, captured=["pay_1", "pay_3"])], [DiscrepancyKind.CAPTURED_TWICE]),
        (LEDGER, SHOP, [replace(PAID, paise=6900)], [DiscrepancyKind.AMOUNT_DIFFERS]),
        (LEDGER, replace(SHOP, paise=6850), [PAID], [DiscrepancyKind.AMOUNT_DIFFERS]),
        (LEDGER, SHOP, [replace(PAID, captured=["pay_9"])], [DiscrepancyKind.PAYMENT_DIFFERS]),
        (LEDGER, SHOP, [TRIED], [DiscrepancyKind.NOT_PAID_AT_GATEWAY]),
        (LEDGER, SHOP, [], [DiscrepancyKind.NOT_PAID_AT_GATEWAY]),
        (LEDGER, None, [PAID], [DiscrepancyKind.ORDER_MISSING]),
        (LEDGER, FAILED, [PAID], [DiscrepancyKind.ORDER_NOT_PAID]),
        (LEDGER, replace(SHOP, payments=[]), [PAID], [DiscrepancyKind.PAYMENT_MISSING]),
        (replace(LEDGER, state="refused"), None, [PAID], [DiscrepancyKind.PAID_AT_GATEWAY_ONLY]),
        (replace(LEDGER, state="skipped"), None, [PAID], [DiscrepancyKind.PAID_AT_GATEWAY_ONLY]),
        (replace(LEDGER, state="refused"), SHOP, [TRIED], [DiscrepancyKind.ORDER_PAID_WITHOUT_CAPTURE]),
        (None, None, [PAID], [DiscrepancyKind.PAID_WITHOUT_CHARGE]),
        (None, SHOP, [], [DiscrepancyKind.ORDER_WITHOUT_CHARGE]),
        (replace(LEDGER, is_owed=True), SHOP, [PAID], [DiscrepancyKind.OWED]),
        (replace(LEDGER, was_refused=True), SHOP, [PAID], [DiscrepancyKind.CAPTURED_LATE]),
        (replace(LEDGER, state="unknown", reason="no answer"), None, [TRIED], [DiscrepancyKind.UNKNOWN]),
        (replace(LEDGER, state="pending"), UNPAID, [TRIED], [DiscrepancyKind.OPEN]),
        (replace(LEDGER, state="pending"), None, [TRIED], [DiscrepancyKind.ORDER_MISSING, DiscrepancyKind.OPEN]),
        (
            replace(LEDGER, state="unknown", reason="-"),
            None,
            [PAID],
            [DiscrepancyKind.PAID_AT_GATEWAY_ONLY, DiscrepancyKind.UNKNOWN],
        ),
    ],
)
def test_disagreements(
    ledger: LedgerSide | None, shop: ShopSide | None, gateway: list[GatewaySide], found: list[DiscrepancyKind]
) -> None:
    assert kinds(ledger, shop, gateway) == found


def test_what_is_under_way_is_none_while_its_day_lasts() -> None:
    assert kinds(replace(LEDGER, state="pending"), UNPAID, [TRIED], day_is_over=False) == []


@pytest.mark.parametrize(
    ("ledger", "order", "needed"),
    [
        (LEDGER, PAID, False),
        (LEDGER, replace(PAID, attempts=2), True),
        (LEDGER, TWICE, True),
        (LEDGER, TRIED, True),
        (replace(LEDGER, state="refused"), TRIED, False),
        (replace(LEDGER, state="refused"), PAID, True),
        (LEDGER, replace(PAID, paise=1), True),
        (None, PAID, True),
        (None, UNTRIED, False),
    ],
)
def test_payments_are_asked_for_where_orders_alone_leave_doubt(
    ledger: LedgerSide | None, order: GatewaySide, needed: bool
) -> None:
    assert needs_payments(ledger, order) is needed


def test_every_finding_says_what_to_do() -> None:
    assert set(NEXT_STEPS) == set(DiscrepancyKind)
