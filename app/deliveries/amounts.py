"""What subscriptions are to be charged, against what they were charged before: a mistyped price shows here."""

from collections.abc import Sequence
from datetime import date
from typing import Self

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.shop import SubscriptionId
from app.money import rupees_of

# How far back charges are looked at: the last two of what comes weekly.
DAYS_BACK = 14
# To fewer subscriptions it can happen on any night: a sample that costs its price now.
LEAST_UNUSUAL = 10

# Only on these days can there be anything to compare with.
_DAYS = text(
    f"""
    SELECT delivery_date FROM tasks.subscription_runs
    WHERE delivery_date < CAST(:date AS date) AND delivery_date >= CAST(:date AS date) - {DAYS_BACK}
    ORDER BY delivery_date DESC
    """  # noqa: S608 -- our own number
)
_CHARGED_BEFORE = """
    unnest(CAST(:days AS date[])) AS day
    JOIN tasks.charges e ON e.delivery_date = day AND e.subscription_id = c.subscription_id
    WHERE e.state <> 'skipped' AND e.product_id = c.product_id
"""
# Each is looked up by the ledger's key until one is found that is near enough, mostly that of the day before. LIMIT
# keeps the planner from hashing whole days instead, as it would by statistics that know nothing of today.
_UNUSUAL = text(
    f"""
    WITH c AS MATERIALIZED (
        SELECT c.subscription_id, c.product_id, c.amount_paise FROM tasks.charges c
        LEFT JOIN LATERAL (
            SELECT true AS is_there FROM {_CHARGED_BEFORE}
                AND c.amount_paise BETWEEN e.amount_paise / CAST(:factor AS double precision)
                    AND e.amount_paise * CAST(:factor AS double precision)
            LIMIT 1
        ) AS near ON true
        WHERE c.delivery_date = :date AND c.subscription_id = ANY(CAST(:ids AS integer[]))
            AND c.state <> 'skipped' AND near.is_there IS NULL
    )
    SELECT c.subscription_id, c.amount_paise, latest.amount_paise AS before
    FROM c CROSS JOIN LATERAL (
        SELECT e.amount_paise FROM {_CHARGED_BEFORE} ORDER BY e.delivery_date DESC LIMIT 1
    ) AS latest
    ORDER BY c.subscription_id
    """  # noqa: S608 -- our own statements
)


class PastAmounts:
    """What was charged on the days before a date, for the run of that date.

    A charge is unusual that is further than `factor` from every one that the same subscription was charged for the same
    product on these days. What was never charged before, a new customer's or of another product, is not compared: of
    whom and what a day consists says nothing of prices.
    """

    def __init__(self, day: date, factor: float, days: Sequence[date]) -> None:
        self._day = day
        self._factor = factor
        self._days = days
        # By id, so that what is planned a second time counts once.
        self._unusual: set[SubscriptionId] = set()

    @classmethod
    async def before(cls, session: AsyncSession, day: date, factor: float) -> Self:
        return cls(day, factor, (await session.scalars(_DAYS, {"date": day})).all())

    async def why_unusual(self, session: AsyncSession, planned: Sequence[SubscriptionId]) -> str | None:
        """A sentence for whoever has to look, where too many charges are unusual: of these subscriptions and of those
        that were asked about before."""
        if not self._days or not planned:
            return None
        page = {"date": self._day, "days": self._days, "factor": self._factor, "ids": planned}
        found = (await session.execute(_UNUSUAL, page)).all()
        self._unusual.update(row.subscription_id for row in found)
        if not found or len(self._unusual) < LEAST_UNUSUAL:
            return None
        first = found[0]
        now, before = rupees_of(first.amount_paise), rupees_of(first.before)
        return (
            f"{len(self._unusual)} subscriptions would be charged amounts more than a factor of {self._factor:g} "
            f"away from all that they were charged for the same product in the {DAYS_BACK} days before; "
            f"subscription {first.subscription_id}, for example, Rs {now} after Rs {before}"
        )
