"""What became of the deliveries of a date: the figures that its owner is told."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.charges import DAYS_BACK_EACH, IS_ANSWERED, OPEN_STATES, ChargeState
from app.db.engine import Database
from app.db.shop import ProductId
from app.db.subscription_runs import SubscriptionRun
from app.deliveries.names import order_number
from app.deliveries.pages import ONE_STATE
from app.deliveries.runs import UnknownRun
from app.money import rupees_of
from app.notify.run_report import (
    MOST_NAMED,
    STATE_WORDS,
    Named,
    NamedDelivery,
    OutcomeTotal,
    RunFigures,
    ShortProduct,
    SkipTotal,
)

T = TypeVar("T")

_TOTALS = text(
    """
    SELECT state, CASE WHEN state = 'skipped' OR reason = 'not_charged_in_time' THEN reason END AS reason,
        count(*) AS deliveries, CAST(sum(amount_paise) AS bigint) AS paise
    FROM tasks.charges WHERE delivery_date = :date GROUP BY 1, 2
    """
)
_SHORT = text(
    """
    SELECT product_id, p.title, short, charged FROM (
        SELECT product_id, count(*) FILTER (WHERE reason = 'no_stock') AS short,
            count(*) FILTER (WHERE state <> 'skipped') AS charged
        FROM tasks.charges WHERE delivery_date = :date GROUP BY product_id
    ) AS products JOIN products p ON p.id = product_id
    WHERE short > 0 ORDER BY short DESC, product_id
    """
)
_NAMED = """
    SELECT subscription_id, state, amount_paise, count(*) OVER () AS there_are
    FROM tasks.charges WHERE delivery_date = :date AND {which}
    ORDER BY state = 'unknown' DESC, subscription_id LIMIT :most
"""
_OPEN = text(_NAMED.format(which=f"state IN {OPEN_STATES}"))
_OWED = text(_NAMED.format(which="is_owed"))
# Whether they go on by now or not.
_PAUSED = text(
    "SELECT subscription_id FROM tasks.charges WHERE delivery_date = :date AND has_paused ORDER BY subscription_id"
)
# Of those that were refused on that date. Each earlier day is looked up by the ledger's key, which begins with it.
_BILLED_ON = text(
    f"""
    SELECT c.subscription_id FROM tasks.charges c
    CROSS JOIN LATERAL (
        SELECT count(*) AS refusals FROM (
            SELECT state FROM generate_series(0, CAST(:refusals AS integer) * {DAYS_BACK_EACH}) AS ago
            JOIN tasks.charges e ON e.delivery_date = c.delivery_date - ago AND e.subscription_id = c.subscription_id
            WHERE {IS_ANSWERED}
            ORDER BY ago LIMIT :refusals
        ) AS latest WHERE state = 'refused'
    ) AS before
    WHERE c.delivery_date = :date AND c.state = 'refused' AND c.way = 'invoice'
        AND before.refusals = CAST(:refusals AS integer)
    ORDER BY c.subscription_id
    """  # noqa: S608 -- our own words
)


class ShortStock(NamedTuple):
    """How many deliveries of a product were skipped for lack of it, and how many got theirs."""

    product_id: ProductId
    title: str
    short: int
    charged: int


async def short_stock(session: AsyncSession, day: date) -> Sequence[ShortStock]:
    """The products that were not enough for the deliveries of that date, the shortest first."""
    return [ShortStock(*row) for row in await session.execute(_SHORT, {"date": day})]


async def figures_of(database: Database, day: date, *, refusals: int) -> RunFigures:
    """The figures of that date's deliveries as they are at one moment. Raises UnknownRun.

    `refusals` in a row are what a subscription is named for that Razorpay bills on; 0: none is.
    """
    _run, figures = await run_with_figures(database, day, refusals=refusals)
    return figures


async def run_with_figures(database: Database, day: date, *, refusals: int) -> tuple[SubscriptionRun, RunFigures]:
    """The run as well, of the same moment."""
    async with database.session() as session:
        await session.execute(ONE_STATE)
        run = await session.get(SubscriptionRun, day)
        if run is None:
            raise UnknownRun(day)
        totals = (await session.execute(_TOTALS, {"date": day})).all()
        short = await short_stock(session, day)
        paused = (await session.scalars(_PAUSED, {"date": day})).all()
        again = {"date": day, "refusals": refusals}
        billed_on = (await session.scalars(_BILLED_ON, again)).all() if refusals else []
        given_up = [row for row in totals if _is_given_up(row)]
        return run, RunFigures(
            planned=planned_by(run),
            missed=run.skipped.get("missed", 0),
            on_hold=run.paused_because,
            outcomes=_outcomes(totals),
            not_charged_in_time=sum(row.deliveries for row in given_up),
            amount_not_charged_in_time=rupees_of(sum(row.paise for row in given_up)),
            skipped=_skips(totals),
            short=_named([ShortProduct(product_name=each.title, deliveries=each.short) for each in short]),
            open=await _deliveries(session, day, _OPEN),
            owed=await _deliveries(session, day, _OWED),
            paused=_named(paused),
            billed_on=_named(billed_on),
        )


def planned_by(run: SubscriptionRun) -> int:
    """How many deliveries the run has planned and skipped by now, missed ones of days before among them."""
    return run.charges + sum(run.skipped.values())


def by_state(figures: RunFigures) -> Mapping[str, Any]:
    """As a run keeps its outcomes."""
    given_up = figures.not_charged_in_time
    return {
        total.state: {"charges": total.deliveries, "paise": int(total.amount.scaleb(2))}
        | ({"not_charged_in_time": given_up} if total.state == "refused" and given_up else {})
        for total in figures.outcomes
    }


def _is_given_up(row: Row[Any]) -> bool:
    return (row.state, row.reason) == ("refused", "not_charged_in_time")


def _outcomes(totals: Sequence[Row[Any]]) -> tuple[OutcomeTotal, ...]:
    """By state, in the order in which they have their words."""
    sums: dict[ChargeState, tuple[int, int]] = {}
    for row in totals:
        deliveries, paise = sums.get(row.state, (0, 0))
        sums[row.state] = (deliveries + row.deliveries, paise + row.paise)
    return tuple(
        OutcomeTotal(state=state, deliveries=sums[state][0], amount=rupees_of(sums[state][1]))
        for state in STATE_WORDS
        if state in sums
    )


def _skips(totals: Sequence[Row[Any]]) -> tuple[SkipTotal, ...]:
    skips = [SkipTotal(reason=row.reason, deliveries=row.deliveries) for row in totals if row.state == "skipped"]
    return tuple(sorted(skips, key=lambda skip: (-skip.deliveries, skip.reason)))


async def _deliveries(session: AsyncSession, day: date, which: Any) -> Named[NamedDelivery]:
    rows = (await session.execute(which, {"date": day, "most": MOST_NAMED})).all()
    named = tuple(
        NamedDelivery(
            order_number=order_number(day, row.subscription_id),
            subscription_id=row.subscription_id,
            state=row.state,
            amount=rupees_of(row.amount_paise),
        )
        for row in rows
    )
    return Named(first=named, more=rows[0].there_are - len(named) if rows else 0)


def _named(everything: Sequence[T]) -> Named[T]:
    return Named(first=tuple(everything[:MOST_NAMED]), more=len(everything[MOST_NAMED:]))
