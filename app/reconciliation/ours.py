"""What the ledger and the shop have of a date's deliveries, read as one state of the database."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import RowMapping, text

from app.db.engine import Database
from app.db.shop import OrderStatus, PaymentStatus, SubscriptionId
from app.deliveries.names import GREATEST_ID, SUBSCRIPTION_OF_ORDER_NUMBER, order_number, order_numbers
from app.deliveries.pages import ONE_STATE
from app.reconciliation.sides import LedgerSide, ShopPayment, ShopSide

# Of an order that no charge is known of no payment matters. What paid an invoice belongs to no order.
_COLUMNS = """
    SELECT subscription_id, c.state, c.way, c.amount_paise, c.reason, c.is_owed, c.was_refused, c.razorpay_order_id,
        c.razorpay_payment_id, c.razorpay_invoice_id, s.razorpay_subscription_id,
        o.order_number, o.final_amount, o.payment_status, o.order_status, paid.payments
    FROM charged c FULL JOIN made o USING (subscription_id)
    LEFT JOIN subscriptions s ON s.id = subscription_id
    CROSS JOIN LATERAL (
        SELECT json_agg(
            json_build_array(razorpay_payment_id, CAST(amount * 100 AS bigint), status) ORDER BY razorpay_payment_id
        ) AS payments FROM (
            SELECT razorpay_payment_id, amount, status FROM payments WHERE razorpay_payment_id = c.razorpay_payment_id
            UNION
            SELECT razorpay_payment_id, amount, status FROM payments WHERE razorpay_order_id = c.razorpay_order_id
        ) AS of_charge
    ) AS paid
    ORDER BY subscription_id
"""
_CHARGED = """
    SELECT c.*, EXISTS (
        SELECT FROM tasks.charge_events e
        WHERE e.delivery_date = c.delivery_date AND e.subscription_id = c.subscription_id AND e.to_state = 'refused'
    ) AS was_refused
    FROM tasks.charges c WHERE c.delivery_date = :date
"""
_MADE = f"SELECT o.*, {SUBSCRIPTION_OF_ORDER_NUMBER} AS subscription_id FROM orders o"  # noqa: S608 -- our own words
# Reads all orders once: no index knows of a part of their numbers.
_OF_DATE = text(f"""
    WITH charged AS ({_CHARGED}), made AS (
        {_MADE}
        WHERE CASE WHEN order_number ~ :numbers THEN {SUBSCRIPTION_OF_ORDER_NUMBER} <= {GREATEST_ID} END
    ) {_COLUMNS}
""")
_OF_SUBSCRIPTIONS = text(f"""
    WITH charged AS ({_CHARGED} AND c.subscription_id = ANY(CAST(:ids AS integer[]))),
        made AS ({_MADE} WHERE o.order_number = ANY(CAST(:numbers AS text[]))) {_COLUMNS}
""")


@dataclass(frozen=True, slots=True)
class OurSides:
    """A delivery as ledger and shop have it, and the subscription's name at the gateway."""

    subscription_id: SubscriptionId
    ledger: LedgerSide | None
    shop: ShopSide | None
    gateway_subscription: str | None


async def our_sides(
    database: Database, day: date, ids: Sequence[SubscriptionId] | None = None
) -> AsyncIterator[OurSides]:
    """All deliveries of the date, or those of these subscriptions, by subscription id; one state of the database."""
    if ids is None:
        wanted, parameters = _OF_DATE, {"date": day, "numbers": order_numbers(day)}
    else:
        numbers = [order_number(day, each) for each in ids]
        wanted, parameters = _OF_SUBSCRIPTIONS, {"date": day, "ids": ids, "numbers": numbers}
    async with database.session() as session:
        await session.execute(ONE_STATE)
        async for row in (await session.stream(wanted, parameters)).mappings():
            yield OurSides(row["subscription_id"], _ledger(row), _shop(row), row["razorpay_subscription_id"])


def _ledger(row: RowMapping) -> LedgerSide | None:
    if row["state"] is None:
        return None
    return LedgerSide(
        state=row["state"],
        way=row["way"],
        paise=row["amount_paise"],
        reason=row["reason"],
        is_owed=row["is_owed"],
        was_refused=row["was_refused"],
        gateway_order=row["razorpay_order_id"],
        gateway_payment=row["razorpay_payment_id"],
        invoice=row["razorpay_invoice_id"],
    )


def _shop(row: RowMapping) -> ShopSide | None:
    if row["order_number"] is None:
        return None
    return ShopSide(
        order_number=row["order_number"],
        paise=round(row["final_amount"] * 100),
        payment_status=PaymentStatus(row["payment_status"]),
        order_status=OrderStatus(row["order_status"]),
        payments=[ShopPayment(id_, paise, PaymentStatus(status)) for id_, paise, status in row["payments"] or ()],
    )
