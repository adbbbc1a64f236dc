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


def unpaid(status: PaymentStatus, order_status: OrderStatus) -> ShopSide:
    payment = ShopPayment("pay_1", 6800, status)
    return replace(SHOP, payment_status=status, order_status=order_status, payments=[payment])


UNPAID = unpaid(PaymentStatus.PENDING, OrderStatus.PENDING)
FAILED = unpaid(PaymentStatus.FAILED, OrderStatus.CANCELLED)
DELIVERED = replace(SHOP, order_status=OrderStatus.DELIVERED)
PAID = GatewaySide("order_1", 6800, "paid", 1, ["pay_1"])
TRIED = GatewaySide("order_1", 6800, "attempted", 1, [])
UNTRIED = GatewaySide("order_1", 6800, "created", 0, [])
TWICE = GatewaySide("order_2", 6800, "paid", 1, ["pay_2"])
GIVEN_BACK = replace(PAID, captured=[], refunded=["pay_1"])
REFUSED, SKIPPED = replace(LEDGER, state="refused"), replace(LEDGER, state="skipped")
PENDING = replace(LEDGER, state="pending")
BY_INVOICE = replace(LEDGER, way="invoice", invoice="inv_1")
INVOICE = GatewaySide("inv_1", 34000, "paid", 1, ["pay_1"])


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
        pytest.param(LEDGER, SHOP, [GIVEN_BACK], id="refunded at the gateway"),
        pytest.param(
            LEDGER,
            SHOP,
            [PAID, replace(TWICE, captured=[], refunded=["pay_2"])],
            id="all but one of its payments refunded",
        ),
        pytest.param(LEDGER, SHOP, [GIVEN_BACK, TWICE], id="the one that the charge names refunded instead"),
        pytest.param(replace(LEDGER, is_owed=True, was_refused=True), SHOP, [GIVEN_BACK], id="owed, and refunded"),
        pytest.param(replace(LEDGER, is_owed=True, was_refused=True), DELIVERED, [PAID], id="owed, and delivered"),
        pytest.param(REFUSED, None, [GIVEN_BACK], id="refused, paid late and refunded"),
        pytest.param(SKIPPED, None, [replace(GIVEN_BACK, paise=1)], id="skipped, paid and refunded"),
        pytest.param(
            BY_INVOICE,
            replace(SHOP, payments=[ShopPayment("pay_1", 34000, PaymentStatus.PAID)]),
            [INVOICE],
            id="by invoice",
        ),
        pytest.param(REFUSED, None, [TRIED], id="refused before there was an order"),
        pytest.param(REFUSED, FAILED, [TRIED], id="refused after there was an order"),
        pytest.param(replace(LEDGER, state="skipped", paise=0), None, [], id="skipped"),
        pytest.param(SKIPPED, None, [UNTRIED], id="skipped after its notice"),
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
        (LEDGER, replace(SHOP, payment_status=PaymentStatus.FAILED), [PAID], [DiscrepancyKind.ORDER_NOT_PAID]),
        (
            LEDGER,
            FAILED,
            [PAID],
            [DiscrepancyKind.ORDER_NOT_PAID, DiscrepancyKind.PAYMENT_NOT_PAID, DiscrepancyKind.OWED],
        ),
        (
            LEDGER,
            replace(SHOP, payments=[ShopPayment("pay_1", 100, PaymentStatus.PAID)]),
            [PAID],
            [DiscrepancyKind.AMOUNT_DIFFERS],
        ),
        (LEDGER, replace(SHOP, payments=FAILED.payments), [PAID], [DiscrepancyKind.PAYMENT_NOT_PAID]),
        (REFUSED, replace(FAILED, payments=SHOP.payments), [TRIED], [DiscrepancyKind.ORDER_PAID_WITHOUT_CAPTURE]),
        (
            REFUSED,
            replace(FAILED, order_status=OrderStatus.OUT_FOR_DELIVERY),
            [TRIED],
            [DiscrepancyKind.ORDER_ON_ITS_WAY_UNPAID],
        ),
        (
            PENDING,
            replace(UNPAID, order_status=OrderStatus.CONFIRMED),
            [TRIED],
            [DiscrepancyKind.ORDER_ON_ITS_WAY_UNPAID, DiscrepancyKind.OPEN],
        ),
        (
            replace(BY_INVOICE, state="planned"),
            None,
            [INVOICE],
            [DiscrepancyKind.PAID_AT_GATEWAY_ONLY, DiscrepancyKind.OPEN],
        ),
        (REFUSED, None, [PAID, TWICE], [DiscrepancyKind.CAPTURED_TWICE, DiscrepancyKind.PAID_AT_GATEWAY_ONLY]),
        (LEDGER, replace(SHOP, payments=[]), [PAID], [DiscrepancyKind.PAYMENT_MISSING]),
        (REFUSED, None, [PAID], [DiscrepancyKind.PAID_AT_GATEWAY_ONLY]),
        (SKIPPED, None, [PAID, TWICE], [DiscrepancyKind.PAID_THOUGH_SKIPPED]),
        (replace(SKIPPED, way="invoice"), None, [INVOICE], [DiscrepancyKind.PAID_AT_GATEWAY_ONLY]),
        (REFUSED, SHOP, [TRIED], [DiscrepancyKind.ORDER_PAID_WITHOUT_CAPTURE]),
        (None, None, [PAID], [DiscrepancyKind.PAID_WITHOUT_CHARGE]),
        (None, SHOP, [], [DiscrepancyKind.ORDER_WITHOUT_CHARGE]),
        (replace(LEDGER, is_owed=True), SHOP, [PAID], [DiscrepancyKind.OWED]),
        (replace(LEDGER, was_refused=True), SHOP, [PAID], [DiscrepancyKind.CAPTURED_LATE]),
        (replace(LEDGER, state="unknown", reason="no answer"), None, [TRIED], [DiscrepancyKind.UNKNOWN]),
        (PENDING, UNPAID, [TRIED], [DiscrepancyKind.OPEN]),
        (PENDING, None, [TRIED], [DiscrepancyKind.ORDER_MISSING, DiscrepancyKind.OPEN]),
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
    assert kinds(PENDING, UNPAID, [TRIED], day_is_over=False) == []
    assert kinds(replace(BY_INVOICE, state="planned"), None, [INVOICE], day_is_over=False) == []


@pytest.mark.parametrize(
    ("ledger", "order", "needed"),
    [
        (LEDGER, PAID, False),
        (LEDGER, replace(PAID, attempts=2), True),
        (LEDGER, TWICE, True),
        (LEDGER, TRIED, True),
        (REFUSED, TRIED, False),
        (REFUSED, PAID, True),
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
