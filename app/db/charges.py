"""The ledger of charges: what became of each delivery of a subscription, and what the gateway said of it."""

from collections.abc import Mapping, Set
from datetime import date, datetime
from typing import Any, Literal, get_args

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, SmallInteger, Text, false, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db.messages import OwnTable
from app.db.shop import OrderId, ProductId, SubscriptionId, UserId

ChargeState = Literal["planned", "notified", "submitting", "pending", "captured", "refused", "unknown", "skipped"]
# Debited by us from a mandate, or covered by an invoice of Razorpay's own subscription.
Way = Literal["mandate", "invoice"]
SkipReason = Literal[
    "missed",
    "customer_inactive",
    "product_inactive",
    "address_missing",
    "price_too_low",
    "mandate_missing",
    "mandate_expired",
    "mandate_too_small",
    "no_stock",
    # Planned, and given up because the customer wants no deliveries any more.
    "subscription_inactive",
    # Planned, and given up: the mandate was replaced after its charge had begun, or the customer's number is
    # none, and the gateway takes no payment without.
    "mandate_replaced",
    "phone_invalid",
    # Planned, and given up at the end of its day: an earlier debit of the same mandate was not settled, its run was
    # held back, or nobody came to charge it.
    "debit_under_way",
    "run_paused",
    "not_charged_in_time",
]

# Of what is refused though no bank has said so: its day was over, its subscription was deleted, or its money was given
# back.
GivenUpReason = Literal["not_charged_in_time", "subscription_gone", "refunded"]

# In which a charge may begin.
FIRST_STATES: Set[ChargeState] = {"planned", "notified", "skipped"}
# In which something is still to happen.
OPEN_STATES: tuple[ChargeState, ...] = ("planned", "notified", "submitting", "pending", "unknown")
# Of a mandate way's charge: money may be taken for it at any moment, so nothing else may be debited from its token.
DEBIT_STATES: tuple[ChargeState, ...] = ("submitting", "pending", "unknown")
WAITING_STATES: tuple[ChargeState, ...] = ("planned", "notified")
# How far back refusals in a row are looked for, for each of them: a weekly delivery, and one that was skipped.
DAYS_BACK_EACH = 14
# Whether the customer's bank has said yes or no.
IS_ANSWERED = f"(state = 'captured' OR state = 'refused' AND reason NOT IN {get_args(GivenUpReason)})"
_SETTLING: Mapping[ChargeState, Set[ChargeState]] = {
    "pending": {"captured", "refused", "unknown"},
    # A late authorisation.
    "refused": {"captured"},
    "unknown": {"pending", "captured", "refused"},
}
# What may follow what. The database holds it, by the migrations' trigger.
TRANSITIONS: Mapping[Way, Mapping[ChargeState, Set[ChargeState]]] = {
    "mandate": {
        **_SETTLING,
        "planned": {"notified", "submitting", "skipped"},
        "notified": {"submitting", "skipped"},
        # It is given up only where nobody has had the right to have it paid.
        "submitting": {"pending", "captured", "refused", "unknown", "skipped"},
        # Where the gateway has said that its order was never tried to be paid.
        "unknown": {"submitting", *_SETTLING["unknown"]},
    },
    # Razorpay does the debiting: we only ask.
    "invoice": {**_SETTLING, "planned": {"pending", "captured", "refused", "unknown", "skipped"}},
}


class Charge(OwnTable):
    """One delivery date of one subscription. The row is what makes it happen at most once, and is never deleted.

    Whose and what it is, the way and the amount stay as they were planned. `units_held` is what it has taken from the
    product's stock and not given back. `answer` is what moved it last; each move is kept as a ChargeEvent by itself.
    That of a delivery that was missed and comes on another day is `{"made_up_on": day}`.
    `is_owed`: paid for and not delivered, a matter for a person.

    Only the attempt whose word `payer` is may ask the gateway to take the money, and once: it has had that right since
    `paying_since`. `token_id` is the mandate that is debited, or that the charge waits for while it is planned.
    `looks` counts the times at which it was left to be asked about again; the next one is at `next_look_at`, and
    where that is None while it is pending or unknown, it waits for a person. `refused_at` is when that was found out,
    and `has_paused` that it was the last of the refusals in a row that paused its subscription.
    """

    __tablename__ = "charges"
    __table_args__ = (
        CheckConstraint(f"state IN {get_args(ChargeState)}", name="state"),
        CheckConstraint(f"way IN {get_args(Way)}", name="way"),
        CheckConstraint("state = 'skipped' OR amount_paise >= 100", name="amount_paise"),
        CheckConstraint("state NOT IN ('skipped', 'refused', 'unknown') OR reason IS NOT NULL", name="reason"),
        CheckConstraint("state <> 'captured' OR razorpay_payment_id IS NOT NULL", name="razorpay_payment_id"),
        CheckConstraint("units_held = 0 OR units_held = 1 AND state NOT IN ('skipped', 'refused')", name="units_held"),
        # What is under way for a subscription, and what is left open of all days.
        Index("charges_open_idx", "subscription_id", "delivery_date", postgresql_where=text(f"state IN {OPEN_STATES}")),
        # One debit of a mandate at a time.
        Index(
            "charges_debited_token_idx",
            "token_id",
            unique=True,
            postgresql_where=text(f"state IN {DEBIT_STATES} AND token_id IS NOT NULL"),
        ),
        Index(
            "charges_waiting_token_idx",
            "token_id",
            postgresql_where=text(f"state IN {WAITING_STATES} AND token_id IS NOT NULL"),
        ),
    )

    # The date first: a night's million rows then go to the end of the index, one after the other.
    delivery_date: Mapped[date] = mapped_column(primary_key=True)
    subscription_id: Mapped[SubscriptionId] = mapped_column(primary_key=True, autoincrement=False)
    user_id: Mapped[UserId]
    product_id: Mapped[ProductId]
    way: Mapped[Way] = mapped_column(Text)
    amount_paise: Mapped[int] = mapped_column(BigInteger)
    receipt: Mapped[str]
    state: Mapped[ChargeState] = mapped_column(Text)
    reason: Mapped[str | None]
    units_held: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    is_owed: Mapped[bool] = mapped_column(server_default=false())
    razorpay_order_id: Mapped[str | None]
    razorpay_payment_id: Mapped[str | None]
    razorpay_invoice_id: Mapped[str | None]
    order_id: Mapped[OrderId | None]
    token_id: Mapped[str | None]
    payer: Mapped[str | None]
    paying_since: Mapped[datetime | None]
    looks: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    next_look_at: Mapped[datetime | None]
    refused_at: Mapped[datetime | None]
    has_paused: Mapped[bool] = mapped_column(server_default=false())
    answer: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    planned_at: Mapped[datetime] = mapped_column(server_default=func.now())
    # Set by the table's trigger.
    moved_at: Mapped[datetime | None]


class ChargeEvent(OwnTable):
    """A move of a charge after it was planned, or a further answer to it; written by the table's trigger."""

    __tablename__ = "charge_events"
    __table_args__ = (Index("charge_events_charge_idx", "delivery_date", "subscription_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    delivery_date: Mapped[date]
    subscription_id: Mapped[SubscriptionId]
    from_state: Mapped[str]
    to_state: Mapped[str]
    reason: Mapped[str | None]
    answer: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    at: Mapped[datetime]
