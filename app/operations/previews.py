"""What the run of a date would do, as it is shown."""

from collections.abc import AsyncIterator, Mapping
from datetime import date
from datetime import date as Date  # noqa: N812 -- beside a field of that name
from decimal import Decimal
from typing import Literal, Self

from pydantic import BaseModel

from app.db.charges import SkipReason, Way
from app.db.engine import Database
from app.deliveries.decisions import Decision, MissedDeliveries, Terms
from app.deliveries.preview import Preview, PreviewTotals
from app.money import rupees_of


class PlannedDeliveryView(BaseModel):
    """A delivery that would be charged, or skipped for a reason; its amount in rupees."""

    subscription_id: int
    delivery_date: date
    customer_id: int
    product_id: int
    action: Literal["charge", "skip"]
    way: Way
    amount: Decimal
    reason: SkipReason | None

    @classmethod
    def of(cls, line: Decision) -> Self:
        return cls(
            subscription_id=line.subscription_id,
            delivery_date=line.delivery_date,
            customer_id=line.user_id,
            product_id=line.product_id,
            action="charge" if line.reason is None else "skip",
            way=line.way,
            amount=rupees_of(line.amount_paise),
            reason=line.reason,
        )


class PreviewTotalsView(BaseModel):
    """Charges and their sum in rupees by way, skips by reason, and how many units of each product are short."""

    charges: Mapping[Way, int]
    amount: Mapping[Way, Decimal]
    skipped: Mapping[str, int]
    short: Mapping[int, int]

    @classmethod
    def of(cls, totals: PreviewTotals) -> Self:
        return cls(
            charges=totals.charges,
            amount={way: rupees_of(paise) for way, paise in totals.paise.items()},
            skipped=totals.skipped,
            short=totals.short,
        )


class PreviewView(BaseModel):
    """What the run of a date would do: each delivery, and the totals.

    `is_stock_known` is false for a day that is yet to come: what earlier days will take from the stock, and what comes
    in until then, is not known. What is short and skipped for it is then told by today's stock.
    """

    date: Date
    is_stock_known: bool
    items: list[PlannedDeliveryView]
    totals: PreviewTotalsView


class DeliveryPreview:
    """The deliveries of a date as the run would decide them now, page by page. Nothing is written.

    `today` is the latest day that has begun; dates between it and a later one have runs of their own, and are not told.
    """

    def __init__(self, database: Database, day: date, missed: MissedDeliveries, today: date) -> None:
        self._day = day
        self._preview = Preview(database, Terms(day, missed, today))
        self.is_stock_known = day <= today

    async def as_json(self) -> AsyncIterator[str]:
        """One PreviewView in pieces, however many lines there are. As `lines`.

        The first piece comes once something has been read.
        """
        is_known = "true" if self.is_stock_known else "false"
        head = between = f'{{"date":"{self._day}","is_stock_known":{is_known},"items":['
        async for page in self._preview.pages():
            yield between + ",".join(PlannedDeliveryView.of(line).model_dump_json() for line in page)
            between = ","
        tail = f'],"totals":{self.totals.model_dump_json()}}}'
        yield head + tail if between == head else tail

    async def lines(self) -> AsyncIterator[PlannedDeliveryView]:
        """In the order of subscriptions; to be read once. Raises DatabaseUnavailable."""
        async for line in self._preview.lines():
            yield PlannedDeliveryView.of(line)

    @property
    def totals(self) -> PreviewTotalsView:
        """Of the lines that were read so far."""
        return PreviewTotalsView.of(self._preview.totals)
