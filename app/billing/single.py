"""Planning one delivery that no run has planned yet, by the run's own rules."""

from dataclasses import dataclass
from datetime import date
from functools import partial

from sqlalchemy import Row, text
from sqlalchemy.exc import DBAPIError

from app.billing.failures import ChargeLater, UnknownSubscription
from app.billing.record import ChargeKey
from app.billing.sweeping import have_swept
from app.db.engine import Database, is_passing
from app.db.frozen import unblock
from app.db.shop import SubscriptionId
from app.deliveries import stock
from app.deliveries.decisions import IS_DUE, Terms
from app.deliveries.planning import plan_deliveries
from app.deliveries.run import PATIENCE
from app.deliveries.stock import StockSold

_STANDS = text(f"SELECT {IS_DUE} AS is_due, s.next_delivery_date FROM subscriptions s WHERE s.id = :id")  # noqa: S608


@dataclass(frozen=True, slots=True)
class NotDue:
    """There is no delivery of that date, and the next one is on that."""

    next_delivery_date: date


async def plan_single(
    database: Database, terms: Terms, subscription_id: SubscriptionId, *, charging: str, telling: str | None
) -> NotDue:
    """Plans what is due of it by the terms' date, as `plan_deliveries` does; when the next delivery is then.

    Raises UnknownSubscription, and ChargeLater where others hold what it needs.
    """
    stands = await _stands(database, terms, subscription_id)
    if not stands.is_due:
        return NotDue(stands.next_delivery_date)
    plan = partial(_plan, database, terms, subscription_id, charging, telling)
    try:
        try:
            await plan(locks_products=False)
        except StockSold:
            await plan(locks_products=True)
    except DBAPIError as error:
        await unblock(database, error)
        if not is_passing(error):
            raise
        raise ChargeLater(
            ChargeKey(terms.date, subscription_id), "others hold what it needs in the database"
        ) from error
    return NotDue((await _stands(database, terms, subscription_id)).next_delivery_date)


async def _stands(database: Database, terms: Terms, subscription_id: SubscriptionId) -> "Row[tuple[bool, date]]":
    """Whether it is due, and when its next delivery is."""
    async with database.session() as session:
        row = (await session.execute(_STANDS, {"date": terms.date, "id": subscription_id})).one_or_none()
    if row is None:
        raise UnknownSubscription(subscription_id)
    return row


async def _plan(
    database: Database,
    terms: Terms,
    subscription_id: SubscriptionId,
    charging: str,
    telling: str | None,
    *,
    locks_products: bool,
) -> None:
    async with database.session() as session:
        await session.execute(PATIENCE)
        planned = await plan_deliveries(
            session, [subscription_id], terms, charging=charging, telling=telling, locks_products=locks_products
        )
        await have_swept(session, terms.date)
        await stock.take(session, planned.units)
