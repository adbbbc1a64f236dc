"""What the run of a date would do, without doing it."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from sqlalchemy import text

from app.db.charges import Way
from app.db.engine import Database
from app.db.shop import ProductId, SubscriptionId
from app.deliveries.decisions import DECISIONS, Decision, Terms
from app.deliveries.pages import ONE_STATE, PAGE, next_page

_DECIDED = text(f"SELECT * FROM ({DECISIONS}) AS decided ORDER BY subscription_id, delivery_date")  # noqa: S608


@dataclass(slots=True)
class PreviewTotals:
    """Charges and their sum in paise by way, skips by reason, and how many units of each product are short."""

    charges: Counter[Way] = field(default_factory=Counter)
    paise: Counter[Way] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    short: Counter[ProductId] = field(default_factory=Counter)


class Preview:
    """What the run would do with the database as it is now, by the statement that the run itself decides with.

    `totals` are of the lines that were read so far. What was planned already is not planned again, and not shown.
    """

    def __init__(self, database: Database, terms: Terms, *, page: int = PAGE) -> None:
        self._database = database
        self._terms = terms
        self._page = page
        self._given: Counter[ProductId] = Counter()
        self.totals = PreviewTotals()

    async def lines(self) -> AsyncIterator[Decision]:
        """In the order of subscriptions and their dates; to be read once."""
        async with self._database.session() as session:
            await session.execute(ONE_STATE)
            after = SubscriptionId(0)
            while page := await next_page(session, self._terms, after, self._page):
                parameters = {
                    **self._terms.parameters,
                    "ids": page.due,
                    # What earlier pages would have taken from the stock.
                    "given_products": list(self._given),
                    "given_units": list(self._given.values()),
                }
                for row in await session.execute(_DECIDED, parameters):
                    line = Decision.of(row)
                    self._count(line)
                    yield line
                after = page.last

    def _count(self, line: Decision) -> None:
        if line.reason is None:
            self._given[line.product_id] += 1
            self.totals.charges[line.way] += 1
            self.totals.paise[line.way] += line.amount_paise
            return
        self.totals.skipped[line.reason] += 1
        if line.reason == "no_stock":
            self.totals.short[line.product_id] += 1
