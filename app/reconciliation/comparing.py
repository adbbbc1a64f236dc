"""Holding the three sides of a delivery against each other."""

from collections.abc import Iterator
from datetime import date

from app.billing.invoice_way import DIFFERS
from app.db.charges import OPEN_STATES
from app.db.shop import PaymentStatus
from app.money import rupees_of
from app.reconciliation.discrepancies import Discrepancy, DiscrepancyKind
from app.reconciliation.sides import Delivery, GatewaySide, LedgerSide, ShopSide

# A person may have refunded what was captured.
_PAID = frozenset({PaymentStatus.PAID, PaymentStatus.REFUNDED})
# In which the shop has an order.
_WITH_ORDER = frozenset({"pending", "captured"})


def needs_payments(ledger: LedgerSide | None, order: GatewaySide) -> bool:
    """Whether what the gateway's order says of itself is not enough to compare by."""
    if order.attempts == 0:
        return False
    is_agreed = ledger is not None and ledger.gateway_order == order.id and ledger.paise == order.paise
    return order.attempts > 1 or not is_agreed or order.is_paid != (ledger is not None and ledger.state == "captured")


def discrepancies(delivery: Delivery, day: date, *, day_is_over: bool) -> Iterator[Discrepancy]:
    """All that is wrong with it, the money first. What is still under way is told of once its day is over."""
    for kind, sentence in _faults(delivery):
        yield Discrepancy(kind, day, sentence, delivery)
    for kind, sentence in _for_a_person(delivery, day_is_over=day_is_over):
        yield Discrepancy(kind, day, sentence, delivery)


def _faults(delivery: Delivery) -> Iterator[tuple[DiscrepancyKind, str]]:
    ledger, shop = delivery.ledger, delivery.shop
    payments = _captured(delivery)
    if len(payments) > 1:
        yield DiscrepancyKind.CAPTURED_TWICE, f"the gateway captured {len(payments)} payments: {', '.join(payments)}"
    if ledger is None:
        if payments:
            yield DiscrepancyKind.PAID_WITHOUT_CHARGE, f"the gateway captured {payments[0]}, and there is no charge"
        if shop is not None:
            yield DiscrepancyKind.ORDER_WITHOUT_CHARGE, f"there is the order {shop.order_number}, and no charge"
        return
    yield from _amounts(ledger, delivery)
    if ledger.state == "captured":
        yield from _captured_faults(ledger, payments)
    elif payments and not ledger.is_owed:
        yield (
            DiscrepancyKind.PAID_AT_GATEWAY_ONLY,
            f"the gateway captured {payments[0]}, and the charge is {ledger.state}",
        )
    yield from _order_faults(ledger, shop)


def _amounts(ledger: LedgerSide, delivery: Delivery) -> Iterator[tuple[DiscrepancyKind, str]]:
    # An invoice bills a whole period.
    orders = [order for order in delivery.gateway if order.attempts] if ledger.way == "mandate" else []
    for order in orders:
        if order.paise != ledger.paise:
            sentence = f"the gateway's order is of {_rupees(order.paise)}, the charge of {_rupees(ledger.paise)}"
            yield DiscrepancyKind.AMOUNT_DIFFERS, sentence
    if delivery.shop is not None and delivery.shop.paise != ledger.paise:
        sentence = f"the shop's order is of {_rupees(delivery.shop.paise)}, the charge of {_rupees(ledger.paise)}"
        yield DiscrepancyKind.AMOUNT_DIFFERS, sentence


def _captured_faults(ledger: LedgerSide, payments: list[str]) -> Iterator[tuple[DiscrepancyKind, str]]:
    if not payments:
        yield (
            DiscrepancyKind.NOT_PAID_AT_GATEWAY,
            "the charge is captured, and the gateway knows of no captured payment",
        )
    elif ledger.gateway_payment not in payments and payments != [_SOME]:
        sentence = f"the charge was paid by {ledger.gateway_payment}, the gateway captured {payments[0]}"
        yield DiscrepancyKind.PAYMENT_DIFFERS, sentence


def _order_faults(ledger: LedgerSide, shop: ShopSide | None) -> Iterator[tuple[DiscrepancyKind, str]]:
    if shop is None:
        if ledger.state in _WITH_ORDER:
            yield DiscrepancyKind.ORDER_MISSING, f"the charge is {ledger.state}, and the shop has no order"
        return
    is_captured = ledger.state == "captured"
    if is_captured and shop.payment_status not in _PAID:
        yield DiscrepancyKind.ORDER_NOT_PAID, f"the charge is captured, the payment of the order {shop.payment_status}"
    if not is_captured and shop.payment_status in _PAID:
        sentence = f"the charge is {ledger.state}, the payment of the order {shop.payment_status}"
        yield DiscrepancyKind.ORDER_PAID_WITHOUT_CAPTURE, sentence
    if is_captured and all(payment.gateway_payment != ledger.gateway_payment for payment in shop.payments):
        yield DiscrepancyKind.PAYMENT_MISSING, f"the shop has no payment {ledger.gateway_payment}"


def _for_a_person(delivery: Delivery, *, day_is_over: bool) -> Iterator[tuple[DiscrepancyKind, str]]:
    ledger = delivery.ledger
    if ledger is None:
        return
    if ledger.is_owed:
        yield DiscrepancyKind.OWED, "it was paid for and not delivered"
    if ledger.state == "captured" and ledger.reason == DIFFERS:
        yield DiscrepancyKind.AMOUNT_DIFFERS, "the invoice is not of what the deliveries of its window cost"
    if ledger.state == "captured" and ledger.was_refused:
        yield DiscrepancyKind.CAPTURED_LATE, "it was captured after it had been refused"
    if ledger.state == "unknown":
        yield DiscrepancyKind.UNKNOWN, f"nobody knows whether it was paid: {ledger.reason}"
    elif ledger.state in OPEN_STATES and day_is_over:
        yield DiscrepancyKind.OPEN, f"its day is over, and the charge is {ledger.state}"


# A payment of an order that says of itself that it was paid, and whose payments nobody asked for.
_SOME = "a payment"


def _captured(delivery: Delivery) -> list[str]:
    """The captured payments of all its orders."""
    payments: list[str] = []
    for order in delivery.gateway:
        if order.captured is not None:
            payments += order.captured
        elif order.is_paid:
            payments.append(_SOME)
    return payments


def _rupees(paise: int) -> str:
    return f"Rs {rupees_of(paise)}"
