"""What becomes of each due delivery: the one statement that both the run and its preview go by."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from datetime import date as Date  # noqa: N812 -- beside a field of that name
from typing import Literal

from sqlalchemy import Row

from app.db.charges import ChargeState, SkipReason, Way
from app.db.shop import ProductId, SubscriptionFrequency, SubscriptionId, UserId

MissedDeliveries = Literal["skip", "deliver_once"]

STEP_DAYS: Mapping[SubscriptionFrequency, int] = {
    SubscriptionFrequency.DAILY: 1,
    SubscriptionFrequency.ALTERNATE_DAYS: 2,
    SubscriptionFrequency.WEEKLY: 7,
}
# Dates missed longer ago are not written down one by one: a subscription that rested for years would be thousands.
MISSED_KEPT_DAYS = 31
# Razorpay's least amount.
LEAST_PAISE = 100


def _step(frequency: str) -> str:
    cases = " ".join(f"WHEN '{each}' THEN {days}" for each, days in STEP_DAYS.items())
    return f"CASE {frequency} {cases} END"


# Of a subscription `s`. The + 0 keeps the planner from the shop's index by date: by yesterday's statistics hardly
# anything is due, and it would read all that is due again for every page.
IS_DUE = "s.status = 'active' AND isfinite(s.next_delivery_date) AND s.next_delivery_date + 0 <= CAST(:date AS date)"


def is_delivered_on(day: str) -> str:
    """Whether the cadence of a subscription `s` brings it on that day, or would have."""
    return f"(CAST({day} AS date) - s.next_delivery_date) % {_step('s.plan_frequency')} = 0"


# It comes on :date, if nothing changes until then.
IS_DELIVERED = f"CASE WHEN {IS_DUE} THEN {is_delivered_on(':date')} END"

# The first date of its cadence after :date.
NEXT_DATE = f"""
    s.next_delivery_date + ((CAST(:date AS date) - s.next_delivery_date) / {_step("s.plan_frequency")} + 1)
        * {_step("s.plan_frequency")}
"""
# A row a delivery of the subscriptions :ids, those that have a charge already left out, in no order. Stock is given
# out in the order of subscription ids; :given_products and :given_units say what of it earlier pages gave out without
# writing it down. Reasons are looked for in the order of CASE, so that a delivery has one.
DECISIONS = f"""
    WITH due AS (
        SELECT s.id, s.user_id, s.product_id, s.delivery_address_id, s.razorpay_subscription_id,
            s.next_delivery_date AS since, {_step("s.plan_frequency")} AS step
        FROM subscriptions s WHERE s.id = ANY(CAST(:ids AS integer[])) AND {IS_DUE}
    ), days AS (
        SELECT due.*, CAST(:date AS date) AS delivery_date, false AS is_missed, CAST(NULL AS date) AS made_up_on
        FROM due
        WHERE (CAST(:date AS date) - since) % step = 0
            OR CAST(:delivers_once AS boolean) AND CAST(:missed_before AS date) = CAST(:date AS date)
        UNION ALL
        -- What comes on a date that is not of its cadence comes for the last one missed.
        SELECT due.*, since + nth * step, true, CASE
            WHEN CAST(:delivers_once AS boolean) AND CAST(:missed_before AS date) = CAST(:date AS date)
                AND (CAST(:date AS date) - since) % step <> 0 AND nth = (CAST(:date AS date) - since) / step
                THEN CAST(:date AS date)
        END
        FROM due CROSS JOIN LATERAL generate_series(
            greatest(0, (CAST(:date AS date) - {MISSED_KEPT_DAYS} - since + step - 1) / step),
            (CAST(:missed_before AS date) - 1 - since) / step
        ) AS nth
        WHERE since < CAST(:missed_before AS date)
    ), priced AS (
        SELECT days.id AS subscription_id, days.delivery_date, days.is_missed, days.made_up_on, days.user_id,
            days.product_id,
            p.stock_quantity - coalesce(given.units, 0) AS stock,
            CASE WHEN m.subscription_id IS NULL OR paid.subscription_id IS NOT NULL THEN 'invoice' ELSE 'mandate' END
                AS way,
            coalesce(n.amount_paise, CASE price WHEN 'NaN' THEN 0 ELSE CAST(price * 100 AS bigint) END) AS amount_paise,
            n.razorpay_order_id, m.max_amount, m.expires_at, u.is_active AS has_customer, p.is_active AS has_product,
            a.user_id = days.user_id AS has_address, btrim(days.razorpay_subscription_id) <> '' AS has_invoices
        FROM days
        JOIN users u ON u.id = days.user_id
        JOIN products p ON p.id = days.product_id
        JOIN addresses a ON a.id = days.delivery_address_id
        CROSS JOIN LATERAL (
            SELECT CASE u.role WHEN 'distributor' THEN p.distributor_price ELSE p.consumer_price END AS price
        ) AS of_role
        LEFT JOIN tasks.mandates m ON m.subscription_id = days.id
        -- What an invoice has paid for is not debited from a mandate that came later.
        LEFT JOIN tasks.paid_periods paid
            ON paid.subscription_id = days.id AND paid.razorpay_subscription_id = days.razorpay_subscription_id
            AND days.delivery_date >= paid.first_date AND days.delivery_date < paid.end_date
        -- What is announced of another product, or from another mandate's token, is good for nothing.
        LEFT JOIN tasks.debit_notices n
            ON n.delivery_date = days.delivery_date AND n.subscription_id = days.id AND m.subscription_id IS NOT NULL
            AND n.product_id = days.product_id AND (n.token_id IS NULL OR n.token_id = m.token_id)
            AND paid.subscription_id IS NULL
        LEFT JOIN unnest(CAST(:given_products AS integer[]), CAST(:given_units AS integer[]))
            AS given (product_id, units) ON given.product_id = days.product_id
        WHERE NOT EXISTS (
            SELECT FROM tasks.charges c WHERE c.delivery_date = days.delivery_date AND c.subscription_id = days.id
        )
    ), judged AS (
        SELECT priced.*, CASE
            WHEN is_missed THEN 'missed'
            WHEN NOT has_customer THEN 'customer_inactive'
            WHEN NOT has_product THEN 'product_inactive'
            WHEN NOT has_address THEN 'address_missing'
            WHEN amount_paise < {LEAST_PAISE} THEN 'price_too_low'
            WHEN way = 'invoice' AND NOT has_invoices THEN 'mandate_missing'
            WHEN way = 'mandate' AND expires_at <= CAST(:date AS timestamptz) THEN 'mandate_expired'
            WHEN way = 'mandate' AND max_amount * 100 < amount_paise THEN 'mandate_too_small'
        END AS fault
        FROM priced
    ), ranked AS (
        SELECT judged.*, row_number() OVER (PARTITION BY product_id, fault IS NULL ORDER BY subscription_id) AS place
        FROM judged
    ), decided AS (
        SELECT ranked.*, CASE WHEN fault IS NULL AND place > stock THEN 'no_stock' ELSE fault END AS reason FROM ranked
    )
    SELECT subscription_id, delivery_date, user_id, product_id, way, amount_paise,
        CASE WHEN reason IS NOT NULL THEN 'skipped' WHEN razorpay_order_id IS NULL THEN 'planned' ELSE 'notified' END
            AS state,
        reason, razorpay_order_id, made_up_on
    FROM decided
"""  # noqa: S608 -- our own numbers
# Of these what the run of :date would charge, as far as can be told before the day. Stock is a matter of the day
# itself: milk that is not there yet is no reason not to announce it.
EXPECTED = f"""
    SELECT * FROM ({DECISIONS}) AS decided WHERE delivery_date = :date AND (reason IS NULL OR reason = 'no_stock')
"""  # noqa: S608 -- our own statement


@dataclass(frozen=True, slots=True)
class Decision:
    """A delivery that is to be charged, or skipped for a reason. One that is charged is one unit of its product.

    `made_up_on` is when one comes that was missed.
    """

    subscription_id: SubscriptionId
    delivery_date: date
    user_id: UserId
    product_id: ProductId
    way: Way
    amount_paise: int
    state: ChargeState
    reason: SkipReason | None
    razorpay_order_id: str | None
    made_up_on: date | None

    @classmethod
    def of(cls, row: "Row[*tuple[object, ...]]") -> "Decision":
        """From a row of DECISIONS."""
        return cls(*row)  # type: ignore[arg-type]  # the statement's own columns


@dataclass(frozen=True, slots=True)
class Terms:
    """For which date deliveries are decided, and what becomes of dates on which nothing ran.

    `today` is for a date that is yet to come: what is due from today on until then has runs of its own to come, and is
    not missed.
    """

    date: Date
    missed: MissedDeliveries = "skip"
    today: Date | None = None

    @property
    def parameters(self) -> Mapping[str, object]:
        """What IS_DUE, NEXT_DATE and DECISIONS ask for, but the subscriptions and the stock."""
        return {
            "date": self.date,
            "missed_before": min(self.date, self.today or self.date),
            "delivers_once": self.missed == "deliver_once",
        }
