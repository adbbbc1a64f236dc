"""Debits that banks announce days before: which deliveries get their notice in a run."""

from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.shop import SubscriptionId
from app.deliveries.decisions import DECISIONS, IS_DUE, Terms, is_delivered_on

_DELIVERED = text(
    f"""
    SELECT s.id FROM tasks.mandates m JOIN subscriptions s ON s.id = m.subscription_id
    WHERE m.subscription_id > :after AND m.subscription_id <= :last AND s.id > :after AND s.id <= :last
        AND CASE WHEN {IS_DUE} THEN {is_delivered_on(":date")} END
    ORDER BY s.id
    """  # noqa: S608 -- our own statements
)
# Stock is a matter of the day itself: milk that is not there yet is no reason not to announce it.
_WRITE = text(
    f"""
    INSERT INTO tasks.debit_notices (delivery_date, subscription_id, amount_paise)
    SELECT delivery_date, subscription_id, amount_paise FROM ({DECISIONS}) AS decided
    WHERE delivery_date = :date AND way = 'mandate' AND (reason IS NULL OR reason = 'no_stock')
    ORDER BY subscription_id
    ON CONFLICT (delivery_date, subscription_id) DO NOTHING
    RETURNING subscription_id
    """  # noqa: S608
)


async def plan_notices(
    session: AsyncSession, after: SubscriptionId, last: SubscriptionId, terms: Terms, ahead: timedelta
) -> int:
    """Plans the notices of deliveries so many days after the terms' date; returns how many are new.

    Of subscriptions with `after < id <= last`: those with a mandate whose cadence brings them that day, as far as
    can be told by now. The amount is today's and holds for the charge.
    """
    then = Terms(terms.date + ahead)
    delivered = list(await session.scalars(_DELIVERED, {**then.parameters, "after": after, "last": last}))
    if not delivered:
        return 0
    parameters = {**then.parameters, "ids": delivered, "given_products": [], "given_units": []}
    return len((await session.scalars(_WRITE, parameters)).all())
