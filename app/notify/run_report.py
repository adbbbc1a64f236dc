"""The report on the deliveries of a date: its figures, and the words in which the owner reads them."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Final, Generic, NamedTuple, TypeVar

from pydantic import Field

from app.db.charges import ChargeState
from app.notify.content import Context, Line, OrderNumber, ProductName
from app.notify.formats import CustomerDate, RupeeTotal, counted, rupees

T = TypeVar("T")

Count = Annotated[int, Field(ge=0)]
# What a mail names of a kind; the rest it counts.
MOST_NAMED = 20

NOT_CHARGED_IN_TIME: Final = "not_charged_in_time"
STATE_WORDS: Mapping[ChargeState, str] = {
    "captured": "paid",
    "pending": "payment pending",
    "unknown": "outcome unknown",
    "submitting": "being charged",
    "planned": "not charged yet",
    "notified": "announced and not charged yet",
    "refused": "refused",
    "skipped": "skipped",
}


class Named(Context, Generic[T]):
    """The first of a kind, and how many more there are."""

    first: Annotated[tuple[T, ...], Field(max_length=MOST_NAMED)] = ()
    more: Count = 0


class OutcomeTotal(Context):
    state: ChargeState
    deliveries: Count
    amount: RupeeTotal


class SkipTotal(Context):
    reason: Line
    deliveries: Count


class NamedDelivery(Context):
    """A delivery for a person to look at; `order_number` is the one that its order has or would have."""

    order_number: OrderNumber
    subscription_id: int
    state: ChargeState
    amount: RupeeTotal


class ShortProduct(Context):
    product_name: ProductName
    deliveries: Count


class RunFigures(Context):
    """What became of the deliveries of a date by now.

    `planned` counts what its run has planned and skipped, deliveries `missed` on days before among them; `on_hold` says
    why the run stands still. Of the refused, those `not_charged_in_time` were given up at the end of their day, with
    that amount. `paused` and `billed_on` are subscriptions that were refused several times in a row: paused for it,
    whether they go on by now or not, or billed on by Razorpay.
    """

    planned: Count = 0
    missed: Count = 0
    on_hold: Line | None = None
    outcomes: tuple[OutcomeTotal, ...] = ()
    not_charged_in_time: Count = 0
    amount_not_charged_in_time: RupeeTotal = Decimal(0)
    skipped: tuple[SkipTotal, ...] = ()
    short: Named[ShortProduct] = Named()
    open: Named[NamedDelivery] = Named()
    owed: Named[NamedDelivery] = Named()
    paused: Named[int] = Named()
    billed_on: Named[int] = Named()


class Row(NamedTuple):
    label: Line
    value: Line


class Section(Context):
    """A part of the report; `more` is how many rows there would be beyond those that it shows."""

    title: Line
    rows: tuple[Row, ...]
    more: Count = 0


class RunReportMail(Context):
    """`is_closing`: what was open has been asked about for as long as it is, and came to other outcomes than those of
    the report before."""

    delivery_date: CustomerDate
    headline: Line
    sections: tuple[Section, ...]
    is_closing: bool = False


class Outcome(NamedTuple):
    """`kind` is a state, or NOT_CHARGED_IN_TIME; the amount is in rupees."""

    kind: str
    words: Line
    deliveries: int
    amount: Decimal


def outcomes(figures: RunFigures) -> Iterator[Outcome]:
    """As people are told of them: what no bank was asked for is not called refused."""
    given_up, its_amount = figures.not_charged_in_time, figures.amount_not_charged_in_time
    for total in figures.outcomes:
        if total.state != "refused" or not given_up:
            yield Outcome(total.state, STATE_WORDS[total.state], total.deliveries, total.amount)
            continue
        if refused := total.deliveries - given_up:
            yield Outcome(total.state, STATE_WORDS[total.state], refused, total.amount - its_amount)
        yield Outcome(NOT_CHARGED_IN_TIME, "not charged in time", given_up, its_amount)


def headline(figures: RunFigures) -> str:
    """`950 paid, 3 refused, 12 skipped`."""
    return ", ".join(f"{counted(each.deliveries)} {each.words}" for each in outcomes(figures)) or "none"


def sections(figures: RunFigures) -> list[Section]:
    """Those that have something to tell."""
    return [section for section in _sections(figures) if section.rows]


def _sections(figures: RunFigures) -> Iterator[Section]:
    yield Section(title="On hold", rows=(Row("Why", figures.on_hold),) if figures.on_hold else ())
    ends = [
        Row(each.words.capitalize(), f"{counted(each.deliveries)}, {rupees(each.amount)}")
        for each in outcomes(figures)
        if each.kind != "skipped"
    ]
    yield Section(title="Outcomes", rows=tuple(ends))
    skips = [Row(skip.reason.replace("_", " ").capitalize(), counted(skip.deliveries)) for skip in figures.skipped]
    if figures.missed:
        skips.append(Row("Missed on days before", counted(figures.missed)))
    yield Section(title="Skipped", rows=tuple(skips))
    short = [Row(product.product_name, f"{counted(product.deliveries)} skipped") for product in figures.short.first]
    yield Section(title="Out of stock", rows=tuple(short), more=figures.short.more)
    yield _deliveries("Still open", figures.open)
    yield _deliveries("Paid and not delivered, to be settled with the customer", figures.owed)
    yield _subscriptions("Paused after refused payments", figures.paused)
    yield _subscriptions("Refused several times in a row, and billed on by Razorpay", figures.billed_on)


def _deliveries(title: str, named: Named[NamedDelivery]) -> Section:
    rows = [
        Row(each.order_number, f"{STATE_WORDS[each.state]}, {rupees(each.amount)}, subscription {each.subscription_id}")
        for each in named.first
    ]
    return Section(title=title, rows=tuple(rows), more=named.more)


def _subscriptions(title: str, named: Named[int]) -> Section:
    rows = (Row("Subscriptions", ", ".join(map(str, named.first))),) if named.first else ()
    return Section(title=title, rows=rows, more=named.more)
