"""Debits that banks announce days before: which deliveries get their notice in a run."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.shop import SubscriptionId
from app.deliveries.decisions import EXPECTED, IS_DELIVERED, Terms

# The charges of today go first: of what waits in a queue, that is taken which has been due for longest.
BEHIND_CHARGES = timedelta(minutes=15)
_DELIVERED = text(
    f"""
    SELECT s.id FROM tasks.mandates m JOIN subscriptions s ON s.id = m.subscription_id
    WHERE m.subscription_id > :after AND m.subscription_id <= :last AND s.id > :after AND s.id <= :last
        AND {IS_DELIVERED}
    ORDER BY s.id
    """  # noqa: S608 -- our own statements
)
_DELIVERED_AMONG = text(
    f"""
    SELECT s.id FROM tasks.mandates m JOIN subscriptions s ON s.id = m.subscription_id
    WHERE m.subscription_id = ANY(CAST(:among AS integer[])) AND {IS_DELIVERED}
    ORDER BY s.id
    """  # noqa: S608
)
_WRITE = text(
    f"""
    WITH written AS (
        INSERT INTO tasks.debit_notices (delivery_date, subscription_id, product_id, amount_paise)
        SELECT delivery_date, subscription_id, product_id, amount_paise
        FROM ({EXPECTED}) AS expected WHERE way = 'mandate'
        ORDER BY subscription_id
        ON CONFLICT (delivery_date, subscription_id) DO NOTHING
        RETURNING subscription_id, delivery_date
    ), enqueued AS (
        INSERT INTO tasks.outbox (task, kwargs, key, not_before)
        SELECT CAST(:task AS text),
            jsonb_build_object('subscription_id', subscription_id, 'delivery_date', delivery_date),
            'notice:' || subscription_id || ':' || delivery_date, now() + CAST(:behind AS interval)
        FROM written WHERE CAST(:task AS text) IS NOT NULL ORDER BY subscription_id
        ON CONFLICT (key) DO NOTHING
    )
    SELECT count(*) FROM written
    """  # noqa: S608
)


async def plan_notices(
    session: AsyncSession,
    after: SubscriptionId,
    last: SubscriptionId,
    terms: Terms,
    ahead: timedelta,
    *,
    among: Sequence[SubscriptionId] | None = None,
    announcing: str | None = None,
) -> int:
    """Plans the notices of deliveries so many days after the terms' date; returns how many are new.

    With a job of the task `announcing` for each, if one is named.

    Of subscriptions with `after < id <= last`, or `among` those named: those with a mandate whose cadence brings them
    that day, as far as can be told by now. The amount is today's and holds for the charge, if that is of the same
    product.
    """
    then = Terms(terms.date + ahead)
    statement = _DELIVERED if among is None else _DELIVERED_AMONG
    which = {"after": after, "last": last} if among is None else {"among": among}
    delivered = list(await session.scalars(statement, {**then.parameters, **which}))
    if not delivered:
        return 0
    parameters = {
        **then.parameters,
        "ids": delivered,
        "given_products": [],
        "given_units": [],
        "task": announcing,
        "behind": BEHIND_CHARGES,
    }
    return await session.scalar(_WRITE, parameters) or 0
