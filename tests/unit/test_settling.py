"""What follows from each answer of the gateway, for a charge in each state."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, get_args

import pytest

from app.billing.finding import BilledPeriod, Finding
from app.billing.record import ChargeRecord
from app.billing.settling import Settlement, SettlingTerms, Skip, settlement
from app.billing.telling import Correspondence
from app.db.charges import TRANSITIONS, ChargeState
from app.db.shop import AddressId, OrderId, OrderStatus, ProductId, SubscriptionFrequency, SubscriptionId, UserId
from app.deliveries.days import end_of_day
from app.providers.payments.entities import (
    GatewayOrderId,
    GatewayPaymentId,
    GatewaySubscriptionId,
    InvoiceId,
    Paise,
)
from app.providers.payments.standing import Standing

DAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TERMS = SettlingTerms(
    (timedelta(minutes=5), timedelta(hours=2)),
    Correspondence("https://shop.example", ["IN"]),
    looking="follow_up_charge",
    charging="process_single_subscription",
    reporting="report_subscription_run",
)
HOLDING: set[ChargeState] = {"planned", "notified", "submitting", "pending", "unknown", "captured"}
STATES: tuple[ChargeState, ...] = get_args(ChargeState)


def charge(state: ChargeState, **others: Any) -> ChargeRecord:
    has_order = state in ("pending", "captured")
    values: dict[str, Any] = {
        "delivery_date": DAY,
        "subscription_id": SubscriptionId(1),
        "user_id": UserId(2),
        "product_id": ProductId(3),
        "way": "mandate",
        "amount_paise": Paise(6800),
        "receipt": "sub-1-20260302",
        "state": state,
        "reason": "told" if state in ("refused", "unknown", "skipped") else None,
        "units_held": int(state in HOLDING),
        "is_owed": False,
        "is_made_up": False,
        "razorpay_order_id": GatewayOrderId("order_1"),
        "razorpay_payment_id": GatewayPaymentId("pay_1") if has_order or state == "refused" else None,
        "razorpay_invoice_id": None,
        "order_id": OrderId(7) if has_order else None,
        "order_status": {"pending": OrderStatus.PENDING, "captured": OrderStatus.CONFIRMED}.get(state),
        "refused_at": NOON if state == "refused" else None,
        "token_id": "token_1",
        "payer": "me",
        "paying_since": NOON - timedelta(minutes=1),
        "looks": 0,
        "next_look_at": None,
        "mandate_customer_id": "cust_1",
        "mandate_token_id": "token_1",
        "mandate_method": "upi",
        "razorpay_subscription_id": GatewaySubscriptionId("sub_1"),
        "is_active": True,
        "has_customer": True,
        "frequency": SubscriptionFrequency.DAILY,
        "start_date": DAY,
        "next_delivery_date": DAY + timedelta(days=1),
        "address_id": AddressId(4),
        "address": "12 Lake View",
        "email": "asha@example.com",
        "phone": "+919812345678",
        "customer_name": "Asha",
        "product_name": "Milk",
    }
    return ChargeRecord(**(values | others))


def found(standing: Standing) -> Finding:
    reason = None if standing in (Standing.CAPTURED, Standing.PENDING) else "because"
    return Finding(
        standing,
        {"said": standing},
        reason=reason,
        order_id=GatewayOrderId("order_1"),
        payment_id=GatewayPaymentId("pay_1"),
    )


def told(settled: Settlement) -> list[str]:
    """What follows: the shop's order and payment, and the jobs by the last word of their keys."""
    order = settled.order
    return [
        *([f"order {order.payment_status}/{order.order_status}"] if order else []),
        *([f"payment {settled.payment}"] if settled.payment else []),
        *(job.key.split(":", 3)[3] for job in settled.jobs),
    ]


PAID, OPEN, FAILED = "order paid/confirmed", "order pending/pending", "order failed/cancelled"


@pytest.mark.parametrize(
    ("state", "standing", "expected"),
    [
        ("submitting", Standing.CAPTURED, ("captured", 1, [PAID, "payment paid", "confirmed"])),
        ("submitting", Standing.PENDING, ("pending", 1, [OPEN, "payment pending", "look:1"])),
        ("submitting", Standing.REFUSED, ("refused", 0, ["refused", "look:1"])),
        ("submitting", Standing.UNKNOWN, ("unknown", 1, ["look:1"])),
        ("pending", Standing.CAPTURED, ("captured", 1, [PAID, "payment paid", "confirmed"])),
        ("pending", Standing.PENDING, ("pending", 1, ["look:1"])),
        ("pending", Standing.REFUSED, ("refused", 0, [FAILED, "payment failed", "refused", "look:1"])),
        ("pending", Standing.UNKNOWN, ("unknown", 1, ["look:1"])),
        ("unknown", Standing.CAPTURED, ("captured", 1, [PAID, "payment paid", "confirmed"])),
        ("unknown", Standing.PENDING, ("pending", 1, [OPEN, "payment pending", "look:1"])),
        ("unknown", Standing.REFUSED, ("refused", 0, ["refused", "look:1"])),
        ("unknown", Standing.UNKNOWN, ("unknown", 1, ["look:1"])),
        ("refused", Standing.CAPTURED, ("captured", 1, [PAID, "payment paid", "confirmed"])),
        ("refused", Standing.PENDING, ("refused", 0, ["look:1"])),
        ("refused", Standing.REFUSED, ("refused", 0, ["look:1"])),
        ("refused", Standing.UNKNOWN, ("refused", 0, ["look:1"])),
        ("captured", Standing.CAPTURED, None),
        ("captured", Standing.PENDING, None),
        ("captured", Standing.REFUSED, None),
        ("captured", Standing.UNKNOWN, None),
        ("skipped", Standing.CAPTURED, None),
        ("skipped", Standing.REFUSED, None),
    ],
)
def test_what_follows_from_an_answer(
    state: ChargeState, standing: Standing, expected: tuple[str, int, list[str]] | None
) -> None:
    settled = settlement(charge(state), found(standing), TERMS, now=NOON)

    if settled is None:
        assert expected is None
    else:
        assert (settled.state, settled.units_held, told(settled)) == expected


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("standing", Standing)
@pytest.mark.parametrize("look", [None, 0, 1])
def test_no_answer_leads_where_the_ledger_does_not_go(state: ChargeState, standing: Standing, look: int | None) -> None:
    settled = settlement(charge(state), found(standing), TERMS, now=NOON, look=look)

    if settled is not None and settled.state != state and state not in ("planned", "notified"):
        assert settled.state in TRANSITIONS["mandate"][state]


@pytest.mark.parametrize("state", ["submitting", "pending", "unknown", "refused"])
@pytest.mark.parametrize("standing", Standing)
def test_the_same_answer_again_changes_nothing_but_looks(state: ChargeState, standing: Standing) -> None:
    first = settlement(charge(state), found(standing), TERMS, now=NOON)
    assert first is not None
    after = replace(
        first.before,
        state=first.state,
        reason=first.reason,
        units_held=first.units_held,
        order_id=OrderId(7) if first.order else first.before.order_id,
        looks=first.looks,
        next_look_at=first.next_look_at,
    )

    second = settlement(after, found(standing), TERMS, now=NOON + timedelta(seconds=1))

    # An answer that nobody understands is kept each time; the ledger knows whether it is another one.
    assert second is None or (
        standing is Standing.UNKNOWN and (second.jobs, second.order, second.units_back) == ([], None, 0)
    )


@pytest.mark.parametrize("has_unit", [True, False])
@pytest.mark.parametrize("is_over", [True, False])
def test_what_is_paid_after_all_is_delivered_or_owed(*, has_unit: bool, is_over: bool) -> None:
    now = end_of_day(DAY) if is_over else NOON

    settled = settlement(charge("refused"), found(Standing.CAPTURED), TERMS, now=now, has_unit=has_unit)

    assert settled is not None
    is_delivered = has_unit and not is_over
    assert (settled.is_owed, settled.units_held) == (not is_delivered, int(is_delivered))
    assert ("confirmed" in told(settled)) == is_delivered


def test_looks_go_on_only_by_their_last_one() -> None:
    waiting = charge("pending", looks=1, next_look_at=NOON + timedelta(minutes=5))

    by_hand = settlement(waiting, found(Standing.PENDING), TERMS, now=NOON)
    earlier = settlement(waiting, found(Standing.PENDING), TERMS, now=NOON, look=0)
    second = settlement(waiting, found(Standing.PENDING), TERMS, now=NOON, look=1)
    last = settlement(replace(waiting, looks=2), found(Standing.PENDING), TERMS, now=NOON, look=2)

    assert (by_hand, earlier) == (None, None)
    assert second is not None
    assert (second.looks, second.next_look_at) == (2, NOON + timedelta(hours=2))
    assert last is not None
    assert (last.looks, last.next_look_at, last.reason) == (2, None, "asked_in_vain")


def test_a_look_that_did_not_come_is_made_up_for() -> None:
    waiting = charge("pending", looks=1, next_look_at=NOON)

    late = settlement(waiting, found(Standing.PENDING), TERMS, now=NOON + timedelta(minutes=59))
    lost = settlement(waiting, found(Standing.PENDING), TERMS, now=NOON + timedelta(hours=1))

    assert late is None
    assert lost is not None
    assert (lost.looks, lost.next_look_at, told(lost)) == (2, NOON + timedelta(hours=3), ["look:2"])


@pytest.mark.parametrize("state", STATES)
def test_only_what_was_not_begun_can_be_skipped(state: ChargeState) -> None:
    settled = settlement(charge(state), Skip("run_paused"), TERMS, now=NOON)

    unpaid = settlement(charge(state, payer=None), Skip("subscription_inactive"), TERMS, now=NOON)

    assert (settled is not None) == (state in ("planned", "notified"))
    assert (unpaid is not None) == (state in ("planned", "notified", "submitting"))
    if settled is not None:
        assert (settled.state, settled.units_back, told(settled)) == ("skipped", 1, ["skipped"])


def test_money_for_a_subscription_that_is_gone_is_owed_without_an_order() -> None:
    gone = charge("submitting", address_id=None, razorpay_subscription_id=None)

    settled = settlement(gone, found(Standing.CAPTURED), TERMS, now=NOON)

    assert settled is not None
    assert (settled.is_owed, settled.units_held, settled.reason) == (True, 0, "subscription_gone")
    assert (settled.order, settled.payment) == (None, "paid")


def test_a_skip_within_a_paid_window_is_owed_once() -> None:
    period = BilledPeriod(
        InvoiceId("inv_1"), GatewayPaymentId("pay_1"), None, Paise(47600), DAY, DAY + timedelta(days=7)
    )
    skipped, paid = charge("skipped", way="invoice"), replace(found(Standing.CAPTURED), period=period)

    settled = settlement(skipped, paid, TERMS, now=NOON)

    assert settled is not None
    assert (settled.state, settled.is_owed, settled.reason) == ("skipped", True, "told")
    assert settlement(replace(skipped, is_owed=True), paid, TERMS, now=NOON) is None
