"""Holding the three sides of a delivery against each other."""

from collections.abc import Iterator
from datetime import date

from app.billing.invoice_way import DIFFERS
from app.db.charges import OPEN_STATES
from app.db.shop import OrderStatus, PaymentStatus
from app.money import rupees_of
from app.reconciliation.discrepancies import Discrepancy, DiscrepancyKind
from app.reconciliation.sides import Delivery, GatewaySide, LedgerSide, ShopSide

# A person may have refunded what was captured.
_PAID = frozenset({PaymentStatus.PAID, PaymentStatus.REFUNDED})
# In which the shop has an order.
_WITH_ORDER = frozenset({"pending", "captured"})
# In which the milk is brought, or was.
_ON_ITS_WAY = frozenset(
    {OrderStatus.CONFIRMED, OrderStatus.PACKED, OrderStatus.OUT_FOR_DELIVERY, OrderStatus.DELIVERED}
)
# A payment of an order that says of itself that it was paid, and whose payments nobody asked for.
_UNNAMED = "a payment"

Fault = tuple[DiscrepancyKind, str]


def needs_payments(ledger: LedgerSide | None, order: GatewaySide) -> bool:
    """Whether what the gateway's order says of itself is not enough to compare by."""
    if order.attempts == 0:
        return False
    is_agreed = ledger is not None and ledger.gateway_order == order.id and ledger.paise == order.paise
    return order.attempts > 1 or not is_agreed or order.is_paid != (ledger is not None and ledger.state == "captured")


def waits_for_its_job(ledger: LedgerSide, *, day_is_over: bool) -> bool:
    """Whether it can't be held against an invoice yet: a period is paid in advance, and settled day by day."""
    return ledger.way == "invoice" and ledger.state == "planned" and not day_is_over


def discrepancies(delivery: Delivery, day: date, *, day_is_over: bool) -> Iterator[Discrepancy]:
    """All that is wrong with it, the money first. What is still under way is told of once its day is over."""
    for kind, sentence in _faults(delivery, day_is_over=day_is_over):
        yield Discrepancy(kind, day, sentence, delivery)
    for kind, sentence in _for_a_person(delivery, day_is_over=day_is_over):
        yield Discrepancy(kind, day, sentence, delivery)


def _faults(delivery: Delivery, *, day_is_over: bool) -> Iterator[Fault]:
    ledger, shop = delivery.ledger, delivery.shop
    captured = _captured(delivery)
    if ledger is None:
        if captured:
            sentence = f"the gateway captured {', '.join(captured)}, and there is no charge"
            yield DiscrepancyKind.PAID_WITHOUT_CHARGE, sentence
        if shop is not None:
            yield DiscrepancyKind.ORDER_WITHOUT_CHARGE, f"there is the order {shop.order_number}, and no charge"
        return
    if ledger.way == "mandate" and ledger.state == "skipped":
        if captured:
            sentence = f"the gateway captured {', '.join(captured)}, and the charge is skipped"
            yield DiscrepancyKind.PAID_THOUGH_SKIPPED, sentence
    elif not waits_for_its_job(ledger, day_is_over=day_is_over):
        yield from _money_faults(ledger, delivery, captured)
    yield from _order_faults(ledger, shop)


def _money_faults(ledger: LedgerSide, delivery: Delivery, captured: list[str]) -> Iterator[Fault]:
    if len(captured) > 1:
        yield DiscrepancyKind.CAPTURED_TWICE, f"the gateway captured {len(captured)} payments: {', '.join(captured)}"
    for order in delivery.gateway:
        # An invoice bills a whole period.
        if ledger.way == "mandate" and order.attempts and not order.is_given_back and order.paise != ledger.paise:
            sentence = f"the gateway's order is of {_rupees(order.paise)}, the charge of {_rupees(ledger.paise)}"
            yield DiscrepancyKind.AMOUNT_DIFFERS, sentence
    if ledger.state == "captured":
        known = [*captured, *(payment for order in delivery.gateway for payment in order.refunded)]
        if not known:
            sentence = "the charge is captured, and the gateway knows of no captured payment"
            yield DiscrepancyKind.NOT_PAID_AT_GATEWAY, sentence
        elif ledger.gateway_payment not in known and known != [_UNNAMED]:
            sentence = f"the charge was paid by {ledger.gateway_payment}, the gateway captured {', '.join(known)}"
            yield DiscrepancyKind.PAYMENT_DIFFERS, sentence
    elif captured and not ledger.is_owed:
        sentence = f"the gateway captured {captured[0]}, and the charge is {ledger.state}"
        yield DiscrepancyKind.PAID_AT_GATEWAY_ONLY, sentence


def _order_faults(ledger: LedgerSide, shop: ShopSide | None) -> Iterator[Fault]:
    if shop is None:
        if ledger.state in _WITH_ORDER:
            yield DiscrepancyKind.ORDER_MISSING, f"the charge is {ledger.state}, and the shop has no order"
        return
    if shop.paise != ledger.paise:
        sentence = f"the shop's order is of {_rupees(shop.paise)}, the charge of {_rupees(ledger.paise)}"
        yield DiscrepancyKind.AMOUNT_DIFFERS, sentence
    if ledger.state == "captured":
        yield from _paid_order_faults(ledger, shop)
    else:
        yield from _unpaid_order_faults(ledger, shop)


def _paid_order_faults(ledger: LedgerSide, shop: ShopSide) -> Iterator[Fault]:
    if shop.payment_status not in _PAID:
        yield DiscrepancyKind.ORDER_NOT_PAID, f"the charge is captured, the payment of the order {shop.payment_status}"
    booked = next((each for each in shop.payments if each.gateway_payment == ledger.gateway_payment), None)
    if booked is None:
        yield DiscrepancyKind.PAYMENT_MISSING, f"the shop has no payment {ledger.gateway_payment}"
        return
    if booked.status not in _PAID:
        sentence = f"the charge is captured, the shop's payment {booked.gateway_payment} {booked.status}"
        yield DiscrepancyKind.PAYMENT_NOT_PAID, sentence
    # What paid an invoice paid for a whole period.
    if ledger.way == "mandate" and booked.paise != ledger.paise:
        sentence = f"the shop's payment is of {_rupees(booked.paise)}, the charge of {_rupees(ledger.paise)}"
        yield DiscrepancyKind.AMOUNT_DIFFERS, sentence


def _unpaid_order_faults(ledger: LedgerSide, shop: ShopSide) -> Iterator[Fault]:
    # That of an invoice may have paid for other days.
    payments = shop.payments if ledger.way == "mandate" else ()
    paid = [each.gateway_payment for each in payments if each.status == PaymentStatus.PAID]
    if shop.payment_status == PaymentStatus.PAID or paid:
        what = f"payment {paid[0]}" if paid else "payment of the order"
        yield DiscrepancyKind.ORDER_PAID_WITHOUT_CAPTURE, f"the charge is {ledger.state}, the {what} paid"
    elif shop.order_status in _ON_ITS_WAY:
        sentence = f"the charge is {ledger.state}, the order {shop.order_status}"
        yield DiscrepancyKind.ORDER_ON_ITS_WAY_UNPAID, sentence


def _for_a_person(delivery: Delivery, *, day_is_over: bool) -> Iterator[Fault]:
    ledger, shop = delivery.ledger, delivery.shop
    if ledger is None:
        return
    is_captured = ledger.state == "captured"
    if not _is_dealt_with(ledger, delivery):
        if ledger.is_owed:
            yield DiscrepancyKind.OWED, "it was paid for and not delivered"
        elif is_captured and shop is not None and shop.order_status == OrderStatus.CANCELLED:
            yield DiscrepancyKind.OWED, "it was paid for, and the shop has cancelled its order"
        if is_captured and ledger.was_refused:
            yield DiscrepancyKind.CAPTURED_LATE, "it was captured after it had been refused"
    if is_captured and ledger.reason == DIFFERS:
        yield DiscrepancyKind.AMOUNT_DIFFERS, "the invoice is not of what the deliveries of its window cost"
    if ledger.state == "unknown":
        yield DiscrepancyKind.UNKNOWN, f"nobody knows whether it was paid: {ledger.reason}"
    elif ledger.state in OPEN_STATES and day_is_over:
        yield DiscrepancyKind.OPEN, f"its day is over, and the charge is {ledger.state}"


def _is_dealt_with(ledger: LedgerSide, delivery: Delivery) -> bool:
    """Whether the customer has by now what was paid for, or the money."""
    if any(ledger.gateway_payment in order.refunded for order in delivery.gateway):
        return True
    shop = delivery.shop
    return shop is not None and (
        shop.payment_status == PaymentStatus.REFUNDED
        or shop.order_status in (OrderStatus.DELIVERED, OrderStatus.REFUNDED)
    )


def _captured(delivery: Delivery) -> list[str]:
    """The captured payments of all its orders, but those that were refunded since."""
    payments: list[str] = []
    for order in delivery.gateway:
        if order.captured is not None:
            payments += order.captured
        elif order.is_paid:
            payments.append(_UNNAMED)
    return payments


def _rupees(paise: int) -> str:
    return f"Rs {rupees_of(paise)}"
