"""How a charge is settled by what was found out about it: everything that follows, decided without writing it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, get_args

from app.billing import telling
from app.billing.finding import BilledPeriod, Finding
from app.billing.record import ChargeRecord
from app.billing.telling import Correspondence, NewJob
from app.db.charges import ChargeState, GivenUpReason, SkipReason
from app.db.shop import OrderStatus, PaymentStatus
from app.deliveries.days import end_of_day
from app.providers.payments.standing import Standing

# How long a bank may still authorise a payment that failed, and how often it is looked for.
# Source: Razorpay, Late Authorization.
LATE_AUTHORISATION: Final = timedelta(days=3)
_LATE_LOOKS_EVERY: Final = timedelta(days=1)
# The looks themselves take their time.
_LEEWAY: Final = timedelta(hours=2)
# How late a look may be; then its job has failed.
LOOK_IS_LOST_AFTER: Final = timedelta(hours=1)
ASKED_IN_VAIN: Final = "asked_in_vain"
# Razorpay debits nothing more for its subscription by itself; the customer may still pay the invoice.
CHARGES_NO_MORE: Final = "subscription_charges_no_more"
_OWED: Final = "Paid after the delivery had been given up: not to be delivered before somebody has looked at it."
_LEADS_TO: Final[dict[Standing, ChargeState]] = {
    Standing.CAPTURED: "captured",
    Standing.PENDING: "pending",
    Standing.REFUSED: "refused",
    Standing.UNKNOWN: "unknown",
}
_GIVEN_UP: Final = frozenset(get_args(GivenUpReason))
_ENDED: Final[frozenset[ChargeState]] = frozenset({"captured", "refused", "skipped"})


@dataclass(frozen=True, slots=True)
class SettlingTerms:
    """`follow_ups` are the waits between the looks at an open charge; `looking` is the task that takes such a look,
    `charging` the one that charges, `reporting` the one that reports to the owner."""

    follow_ups: Sequence[timedelta]
    correspondence: Correspondence
    looking: str
    charging: str
    reporting: str


@dataclass(frozen=True, slots=True)
class Skip:
    """A planned charge is given up before any of it reached the gateway."""

    reason: SkipReason


@dataclass(frozen=True, slots=True)
class ShopOrder:
    """How the shop's order for the delivery stands."""

    payment_status: PaymentStatus
    order_status: OrderStatus
    notes: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What is to be written, all in one transaction, of a charge that stood as `before`.

    `units_back` are to go back to the product's stock, or less than none to be taken from it. `frees_token`: who waits
    for this debit's end may go on.
    `order` and `payment` None leave the shop's rows, or their absence, as they are.
    """

    before: ChargeRecord
    state: ChargeState
    reason: str | None
    finding: Finding | None = None
    units_held: int
    is_owed: bool = False
    looks: int
    next_look_at: datetime | None
    refused_at: datetime | None = None
    order: ShopOrder | None = None
    payment: PaymentStatus | None = None
    period: BilledPeriod | None = None
    jobs: Sequence[NewJob] = field(default=())

    @property
    def units_back(self) -> int:
        return self.before.units_held - self.units_held

    @property
    def frees_token(self) -> bool:
        return self.state in _ENDED and self.before.state not in _ENDED and self.before.token_id is not None

    @property
    def is_refusal(self) -> bool:
        """Whether the customer's bank has refused it now."""
        return self.state == "refused" and self.before.state != "refused" and self.reason not in _GIVEN_UP


def settlement(
    record: ChargeRecord,
    conclusion: Finding | Skip,
    terms: SettlingTerms,
    *,
    now: datetime,
    look: int | None = None,
    has_unit: bool = True,
) -> Settlement | None:
    """What follows; None where nothing changes.

    `look` is the number of the look by which it was found out, None for a job that is none. `has_unit` tells whether
    a unit could be taken again for a charge that `wants_unit`.
    """
    if isinstance(conclusion, Skip):
        return _skipped(record, conclusion, terms) if _is_untouched(record) else None
    if record.state == "skipped":
        return _owed(record, conclusion, terms, now, look)
    state = _state_after(record, conclusion.standing)
    if state == "captured" != record.state:
        return _captured(record, conclusion, terms, now, has_unit=has_unit)
    if record.state == "captured":
        return None
    looks, next_look_at = _next_look(record, state, conclusion, terms.follow_ups, now, look)
    settled = _open(record, conclusion, state) if state != "refused" else _refused(record, conclusion, terms)
    reason = settled.reason
    if state in ("pending", "unknown") and next_look_at is None and conclusion.standing is not Standing.CAPTURED:
        reason = ASKED_IN_VAIN
    jobs = [*settled.jobs, *_look(record, terms, looks, next_look_at)]
    is_new = state != record.state or conclusion.standing is Standing.UNKNOWN
    if not is_new and (looks, next_look_at, reason) == (record.looks, record.next_look_at, record.reason):
        return None
    return Settlement(
        before=record,
        state=state,
        reason=reason,
        finding=conclusion if is_new else None,
        units_held=settled.units_held,
        is_owed=record.is_owed,
        looks=looks,
        next_look_at=next_look_at,
        refused_at=(record.refused_at or now) if state == "refused" else None,
        order=settled.order,
        payment=settled.payment,
        period=conclusion.period,
        jobs=jobs,
    )


def wants_unit(record: ChargeRecord, conclusion: Finding | Skip, now: datetime) -> bool:
    """Whether a unit has to be taken from the stock again: paid after all, on time, and somewhere to be brought to."""
    is_paid = isinstance(conclusion, Finding) and conclusion.standing is Standing.CAPTURED
    is_late = now >= end_of_day(record.delivery_date)
    return is_paid and record.state == "refused" and not is_late and _can_be_ordered(record)


def may_still_be_paid(record: ChargeRecord, now: datetime, reason: str | None = None) -> bool:
    """Whether a charge that is refused, or is about to be for that reason, may still turn out to be paid."""
    # Where nobody had the right to as far as is on record here, a restored backup does not know.
    can_have_been_tried = record.paying_since is not None or telling.NOT_CHARGED_IN_TIME in (record.reason, reason)
    return can_have_been_tried and now < (record.refused_at or now) + LATE_AUTHORISATION + _LEEWAY


def why_unwanted(record: ChargeRecord) -> SkipReason | None:
    """Why a planned charge is to be given up: its customer wants no deliveries any more, or may have none."""
    if not record.has_customer:
        return "customer_inactive"
    return None if record.is_active else "subscription_inactive"


@dataclass(frozen=True, slots=True)
class _Step:
    reason: str | None
    units_held: int
    order: ShopOrder | None = None
    payment: PaymentStatus | None = None
    jobs: Sequence[NewJob] = ()


def _can_be_ordered(record: ChargeRecord) -> bool:
    """Whether there is an order in the shop, or an address for one: not where its subscription was deleted."""
    return record.address_id is not None or record.order_id is not None


def _state_after(record: ChargeRecord, standing: Standing) -> ChargeState:
    if record.state == "captured":
        return "captured"
    state = _LEADS_TO[standing]
    # What was refused is refused, until it is paid.
    return "refused" if record.state == "refused" and state != "captured" else state


def _captured(
    record: ChargeRecord, finding: Finding, terms: SettlingTerms, now: datetime, *, has_unit: bool
) -> Settlement:
    has_order = _can_be_ordered(record)
    if record.state == "refused":
        is_owed = not (wants_unit(record, finding, now) and has_unit)
    else:
        # Whoever cancelled the order wants no delivery; what was paid for it is a matter for a person.
        is_owed = not has_order or record.order_status in (OrderStatus.CANCELLED, OrderStatus.REFUNDED)
    status = OrderStatus.PENDING if is_owed else OrderStatus.CONFIRMED
    return Settlement(
        before=record,
        state="captured",
        reason=finding.reason or (None if has_order else "subscription_gone"),
        finding=finding,
        units_held=int(not is_owed),
        is_owed=is_owed,
        looks=record.looks,
        next_look_at=None,
        refused_at=record.refused_at,
        order=_order(record, PaymentStatus.PAID, status, _OWED if is_owed else None) if has_order else None,
        payment=PaymentStatus.PAID,
        period=finding.period,
        jobs=() if is_owed else telling.confirmed(record, terms.correspondence),
    )


def _open(record: ChargeRecord, finding: Finding, state: ChargeState) -> _Step:
    if state == "unknown" or record.state == state:
        return _Step(finding.reason or record.reason, record.units_held)
    order = _order(record, PaymentStatus.PENDING, OrderStatus.PENDING) if _can_be_ordered(record) else None
    return _Step(finding.reason, record.units_held, order, PaymentStatus.PENDING)


def _refused(record: ChargeRecord, finding: Finding, terms: SettlingTerms) -> _Step:
    if record.state == "refused":
        return _Step(record.reason, record.units_held)
    reason = finding.reason or "refused"
    if reason in _GIVEN_UP:
        jobs = telling.skipped(record, terms.correspondence, reason)
    else:
        jobs = telling.refused(record, terms.correspondence, reason, finding.words)
    if record.order_id is None:
        return _Step(reason, 0, jobs=jobs)
    payment = PaymentStatus.REFUNDED if reason == "refunded" else PaymentStatus.FAILED
    return _Step(reason, 0, _order(record, payment, OrderStatus.CANCELLED), payment, jobs)


def _order(record: ChargeRecord, payment: PaymentStatus, status: OrderStatus, notes: str | None = None) -> ShopOrder:
    """The order moves on only from where we left it: what the shop has done with it since is not taken back."""
    ours = OrderStatus.CANCELLED if record.state == "refused" else OrderStatus.PENDING
    return ShopOrder(payment, status if record.order_status in (None, ours) else record.order_status, notes)


def _is_untouched(record: ChargeRecord) -> bool:
    """Whether nobody can have had it paid."""
    return record.state in ("planned", "notified") or (record.state == "submitting" and record.payer is None)


def _skipped(record: ChargeRecord, skip: Skip, terms: SettlingTerms) -> Settlement:
    jobs = telling.skipped(record, terms.correspondence, skip.reason) if record.has_customer else []
    if record.way == "invoice":
        # It may be paid for all the same, and is owed then.
        jobs.append(NewJob(terms.charging, _arguments(record), f"delivery:{record.key}:owed"))
    return Settlement(
        before=record,
        state="skipped",
        reason=skip.reason,
        units_held=0,
        looks=record.looks,
        next_look_at=None,
        jobs=jobs,
    )


def _owed(
    record: ChargeRecord, finding: Finding, terms: SettlingTerms, now: datetime, look: int | None
) -> Settlement | None:
    """What was skipped within a window that is paid for, or may still be."""
    if record.is_owed or record.is_made_up:
        return None
    is_owed = finding.period is not None
    if is_owed:
        looks, next_look_at = record.looks, None
    else:
        looks, next_look_at = _next_look(record, "skipped", finding, terms.follow_ups, now, look)
        if (looks, next_look_at) == (record.looks, record.next_look_at):
            return None
    return Settlement(
        before=record,
        state="skipped",
        reason=record.reason,
        finding=finding if is_owed else None,
        units_held=0,
        is_owed=is_owed,
        looks=looks,
        next_look_at=next_look_at,
        period=finding.period,
        jobs=_look(record, terms, looks, next_look_at),
    )


def _look(record: ChargeRecord, terms: SettlingTerms, looks: int, at: datetime | None) -> list[NewJob]:
    """The job of the next look, where that is a new one."""
    if at is None or at == record.next_look_at:
        return []
    return [NewJob(terms.looking, {**_arguments(record), "look": looks}, f"delivery:{record.key}:look:{looks}", at)]


def _arguments(record: ChargeRecord) -> dict[str, object]:
    return {"subscription_id": record.subscription_id, "delivery_date": record.delivery_date.isoformat()}


def _next_look(
    record: ChargeRecord,
    state: ChargeState,
    finding: Finding,
    follow_ups: Sequence[timedelta],
    now: datetime,
    look: int | None,
) -> tuple[int, datetime | None]:
    """How many looks were left to be taken by then, and when the last of them is."""
    if record.next_look_at is not None and look != record.looks and now < record.next_look_at + LOOK_IS_LOST_AFTER:
        # Asked in between, by a person or a job that came again: the look that is to come still comes.
        return record.looks, record.next_look_at
    is_open = state in ("pending", "unknown")
    wait: timedelta | None = None
    # The invoice of what was skipped may be paid later.
    if is_open or (state == "skipped" and finding.standing in (Standing.PENDING, Standing.UNKNOWN)):
        wait = follow_ups[record.looks] if record.looks < len(follow_ups) else None
    elif state == "refused" and (
        may_still_be_paid(record, now + _LATE_LOOKS_EVERY, finding.reason)
        or (finding.reason == CHARGES_NO_MORE and now < (record.refused_at or now) + sum(follow_ups, timedelta()))
    ):
        wait = _LATE_LOOKS_EVERY
    return (record.looks, None) if wait is None else (record.looks + 1, now + wait)
