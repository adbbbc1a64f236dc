"""What the run of a date would do, without doing it."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
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

    It is read page by page, as the run works: each page is as of its own moment, and of a shop in motion a later page
    may know what an earlier one could not. Nothing is held between pages, however slowly they are read.
    `totals` are of the pages that were read so far. What was planned already is not planned again, and not shown.
    Of a day that is yet to come (see Terms) it shows what that day brings, with the stock that there is today.
    """

    def __init__(self, database: Database, terms: Terms, *, page: int = PAGE) -> None:
        self._database = database
        self._terms = terms
        self._page = page
        self._given: Counter[ProductId] = Counter()
        self.totals = PreviewTotals()

    async def pages(self) -> AsyncIterator[Sequence[Decision]]:
        """Lines in the order of subscriptions and their dates, none of the pages empty; to be read once."""
        after = SubscriptionId(0)
        while page := await self._read(after):
            after, lines = page
            for line in lines:
                self._count(line)
            if lines:
                yield lines

    async def lines(self) -> AsyncIterator[Decision]:
        """The same one by one."""
        async for page in self.pages():
            for line in page:
                yield line

    async def _read(self, after: SubscriptionId) -> tuple[SubscriptionId, Sequence[Decision]] | None:
        """The next page's last subscription, and its lines; None where there is none."""
        async with self._database.session() as session:
            await session.execute(ONE_STATE)
            page = await next_page(session, self._terms, after, self._page)
            if page is None:
                return None
            parameters = {
                **self._terms.parameters,
                "ids": page.due,
                # What earlier pages would have taken from the stock.
                "given_products": list(self._given),
                "given_units": list(self._given.values()),
            }
            return page.last, [Decision.of(row) for row in await session.execute(_DECIDED, parameters)]

    def _count(self, line: Decision) -> None:
        if line.reason is None:
            self._given[line.product_id] += 1
            self.totals.charges[line.way] += 1
            self.totals.paise[line.way] += line.amount_paise
            return
        self.totals.skipped[line.reason] += 1
        if line.reason == "no_stock":
            self.totals.short[line.product_id] += 1
