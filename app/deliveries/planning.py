"""Writing down what becomes of deliveries: their charges, jobs, stock and the subscriptions' next dates."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.shop import ProductId, SubscriptionId
from app.deliveries.decisions import DECISIONS, IS_DUE, NEXT_DATE, Terms
from app.deliveries.names import OWN, RECEIPT

# NO KEY: payments that refer to a subscription can be written meanwhile. The order is everybody's, so that two runs
# wait for each other instead of dying of it.
_LOCK_SUBSCRIPTIONS = text(
    "SELECT id FROM subscriptions WHERE id = ANY(CAST(:ids AS integer[])) ORDER BY id FOR NO KEY UPDATE"
)
_LOCK_PRODUCTS = text(
    """
    SELECT id FROM products
    WHERE id IN (SELECT product_id FROM subscriptions WHERE id = ANY(CAST(:ids AS integer[])))
    ORDER BY id FOR NO KEY UPDATE
    """
)
_WRITE = text(
    f"""
    WITH decided AS MATERIALIZED ({DECISIONS}), written AS (
        INSERT INTO tasks.charges (delivery_date, subscription_id, user_id, product_id, way, amount_paise, receipt,
            state, reason, units_held, razorpay_order_id, answer)
        SELECT delivery_date, subscription_id, user_id, product_id, way, amount_paise,
            -- A receipt finds one order. That of a notice for another mandate or product has the plain one already, or
            -- may have it without our having heard of it.
            {RECEIPT} || CASE
                WHEN state = 'planned' AND way = 'mandate' AND EXISTS (
                    SELECT FROM tasks.debit_notices n LEFT JOIN tasks.mandates m USING (subscription_id)
                    WHERE n.delivery_date = decided.delivery_date AND n.subscription_id = decided.subscription_id
                        AND n.token_id IS NOT NULL AND (n.token_id, n.product_id, n.amount_paise)
                            IS DISTINCT FROM (m.token_id, decided.product_id, decided.amount_paise)
                ) THEN '{OWN}' ELSE '' END,
            state, reason, CASE state WHEN 'skipped' THEN 0 ELSE 1 END,
            CASE state WHEN 'notified' THEN razorpay_order_id END,
            CASE WHEN made_up_on IS NOT NULL THEN jsonb_build_object('made_up_on', made_up_on) END
        FROM decided ORDER BY delivery_date, subscription_id
        ON CONFLICT (delivery_date, subscription_id) DO NOTHING
        RETURNING subscription_id, delivery_date, user_id, product_id, amount_paise, state, reason, way, answer
    ), enqueued AS (
        INSERT INTO tasks.outbox (task, kwargs, key)
        SELECT CAST(:task AS text),
            jsonb_build_object('subscription_id', subscription_id, 'delivery_date', delivery_date),
            concat_ws(':', 'delivery', subscription_id, delivery_date, CASE state WHEN 'skipped' THEN 'owed' END)
        -- What is skipped may be paid for by an invoice all the same, and is owed then, unless it is made up for.
        FROM written
        WHERE state <> 'skipped' OR way = 'invoice' AND reason <> 'mandate_missing' AND answer IS NULL
        ORDER BY subscription_id
        ON CONFLICT (key) DO NOTHING
    ), skips AS (
        SELECT subscription_id, user_id, product_id, reason, array_agg(delivery_date ORDER BY delivery_date) AS days
        FROM written WHERE state = 'skipped' AND CAST(:telling AS text) IS NOT NULL
        GROUP BY subscription_id, user_id, product_id, reason
    ), told AS (
        INSERT INTO tasks.outbox (task, kwargs, key)
        SELECT CAST(:telling AS text),
            jsonb_build_object('email', u.email, 'phone', u.phone, 'customer_name', u.name, 'product_name', p.title,
                'delivery_date', days[1], 'reason', reason, 'subscription_id', subscription_id)
                || CASE WHEN cardinality(days) > 1 THEN jsonb_build_object('dates', days[2:]) ELSE '{{}}' END,
            'delivery:' || subscription_id || ':' || days[1] || '\\:skipped'
        FROM skips JOIN users u ON u.id = user_id JOIN products p ON p.id = product_id
        WHERE u.is_active ORDER BY subscription_id, days[1]
        ON CONFLICT (key) DO NOTHING
    ), moved AS (
        UPDATE subscriptions s SET next_delivery_date = {NEXT_DATE}, updated_at = now()
        WHERE s.id = ANY(CAST(:ids AS integer[])) AND {IS_DUE}
    )
    SELECT product_id, reason, count(*), CAST(sum(amount_paise) AS bigint) FROM written GROUP BY product_id, reason
    """  # noqa: S608 -- our own statements
)


@dataclass(slots=True)
class Planned:
    """What was planned together: charges and their sum, skips by reason, units by product."""

    charges: int = 0
    paise: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    units: Counter[ProductId] = field(default_factory=Counter)


async def plan_deliveries(
    session: AsyncSession,
    ids: Sequence[SubscriptionId],
    terms: Terms,
    *,
    charging: str,
    telling: str | None = None,
    locks_products: bool = False,
) -> Planned:
    """Plans what of these subscriptions is due and has no charge yet, with a job of the task `charging` for each.

    There is one as well for what is skipped although Razorpay may have been paid for it.
    The task `telling` tells each customer who is active of what was skipped and why: one job for all dates that have
    the same reason, with addresses and names as the shop keeps them.

    The subscriptions stay locked until the transaction ends, and so do their products if that is asked for. Their
    stock is not taken yet: call `stock.take` at the end of the same transaction.
    """
    planned = Planned()
    if not ids:
        return planned
    await session.execute(_LOCK_SUBSCRIPTIONS, {"ids": ids})
    if locks_products:
        await session.execute(_LOCK_PRODUCTS, {"ids": ids})
    parameters = {
        **terms.parameters,
        "ids": ids,
        "task": charging,
        "telling": telling,
        "given_products": [],
        "given_units": [],
    }
    for product_id, reason, count, paise in await session.execute(_WRITE, parameters):
        if reason is not None:
            planned.skipped[reason] += count
        else:
            planned.charges += count
            planned.paise += paise
            planned.units[product_id] += count
    return planned
