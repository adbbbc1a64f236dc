"""What can be wrong with a delivery, and what a person can safely do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from app.reconciliation.sides import Delivery


class DiscrepancyKind(StrEnum):
    """Where the three sides disagree, or where all of them wait for a person."""

    CAPTURED_TWICE = "captured_twice"
    AMOUNT_DIFFERS = "amount_differs"
    PAYMENT_DIFFERS = "payment_differs"
    NOT_PAID_AT_GATEWAY = "not_paid_at_gateway"
    PAID_AT_GATEWAY_ONLY = "paid_at_gateway_only"
    PAID_THOUGH_SKIPPED = "paid_though_skipped"
    PAID_WITHOUT_CHARGE = "paid_without_charge"
    ORDER_WITHOUT_CHARGE = "order_without_charge"
    ORDER_MISSING = "order_missing"
    ORDER_NOT_PAID = "order_not_paid"
    ORDER_PAID_WITHOUT_CAPTURE = "order_paid_without_capture"
    ORDER_ON_ITS_WAY_UNPAID = "order_on_its_way_unpaid"
    PAYMENT_MISSING = "payment_missing"
    PAYMENT_NOT_PAID = "payment_not_paid"
    OWED = "owed"
    CAPTURED_LATE = "captured_late"
    UNKNOWN = "unknown"
    OPEN = "open"


ASK_AGAIN = (
    "run process_single_subscription for it again: it asks the gateway first, books what was paid,"
    " and debits nothing that may be paid already"
)
ASK_OR_REFUND = f"{ASK_AGAIN}; what is still here then was paid by another order than the charge's: refund it there"
REFUND_ONE = (
    "refund all but one of the payments at the gateway, the one that the charge names being kept;"
    " nothing here refunds by itself"
)
LOOK = "compare with the gateway's dashboard before anything is changed by hand"
DELIVER_OR_REFUND = (
    "deliver another unit and set the order to delivered, or refund it at the gateway and set its payment to refunded;"
    " what was skipped has no order, and stays on this list"
)

NEXT_STEPS: Mapping[DiscrepancyKind, str] = {
    DiscrepancyKind.CAPTURED_TWICE: REFUND_ONE,
    DiscrepancyKind.AMOUNT_DIFFERS: LOOK,
    DiscrepancyKind.PAYMENT_DIFFERS: LOOK,
    DiscrepancyKind.NOT_PAID_AT_GATEWAY: LOOK,
    DiscrepancyKind.PAID_AT_GATEWAY_ONLY: ASK_OR_REFUND,
    DiscrepancyKind.PAID_THOUGH_SKIPPED: "refund it at the gateway: what was skipped is not delivered, nor booked",
    DiscrepancyKind.PAID_WITHOUT_CHARGE: "refund it at the gateway; find out who made an order with a receipt of ours",
    DiscrepancyKind.ORDER_WITHOUT_CHARGE: "find out who made an order with a number of the deliveries'",
    DiscrepancyKind.ORDER_MISSING: "find out who deleted the order; the charge says what was paid",
    DiscrepancyKind.ORDER_NOT_PAID: "find out who changed the order; the charge says what was paid",
    DiscrepancyKind.ORDER_PAID_WITHOUT_CAPTURE: "find out who changed the order or its payment; nothing is captured",
    DiscrepancyKind.ORDER_ON_ITS_WAY_UNPAID: (
        "hold the milk back and cancel the order; milk that is gone is to be paid for in another way, and stays on this"
        " list"
    ),
    DiscrepancyKind.PAYMENT_MISSING: "find out who deleted the payment; the charge says what was paid",
    DiscrepancyKind.PAYMENT_NOT_PAID: "find out who changed the payment; the charge says what was paid",
    DiscrepancyKind.OWED: DELIVER_OR_REFUND,
    DiscrepancyKind.CAPTURED_LATE: (
        "the customer had been told of a refusal: tell them that it was paid after all;"
        " it stays on this list until the order is delivered or refunded"
    ),
    DiscrepancyKind.UNKNOWN: ASK_AGAIN,
    DiscrepancyKind.OPEN: ASK_AGAIN,
}


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One thing about one delivery, with what each side says of it."""

    kind: DiscrepancyKind
    delivery_date: date
    sentence: str
    delivery: Delivery

    @property
    def next_step(self) -> str:
        return NEXT_STEPS[self.kind]
