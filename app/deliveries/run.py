"""The run of a date: plans its deliveries page by page, however often it is stopped and whoever else is at it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.clock import database_time
from app.db.engine import Database, is_passing
from app.db.frozen import patience, unblock
from app.db.shop import Subscription, SubscriptionId
from app.db.subscription_runs import SubscriptionRun
from app.deliveries import runs, stock
from app.deliveries.brake import BrakeBounds, PlanningBrake
from app.deliveries.days import end_of_day
from app.deliveries.decisions import Terms
from app.deliveries.leftovers import Leftovers
from app.deliveries.notices import plan_notices
from app.deliveries.pages import PAGE, Page, free_of, next_due, next_page
from app.deliveries.planning import Planned, plan_deliveries
from app.deliveries.runs import Announcement
from app.deliveries.stock import StockSold
from app.errors import Unavailable

log = structlog.stdlib.get_logger(__name__)

# How often a page is tried that others were in the way of.
TRIES = 4
# A worker that stands still must not hold up the shop, nor somebody's open psql the run.
IDLE = timedelta(seconds=30)
LOCK_PATIENCE = timedelta(seconds=10)
PATIENCE = patience(idle=IDLE, lock=LOCK_PATIENCE)


class RunInterrupted(Unavailable):
    """The run stopped between two pages and can go on from there."""

    def __init__(self, day: date, reason: str) -> None:
        super().__init__(day, reason)
        self.day = day
        self.reason = reason

    def __str__(self) -> str:
        return f"the run of {self.day} stopped ({self.reason}) and will go on where it was"


class _OutOfBounds(Exception):
    """The page would take the run out of its bounds."""


async def _nobody_is_told(_session: AsyncSession, _run: SubscriptionRun, _now: datetime) -> None:
    """Nothing follows."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run goes about it.

    `charging` is the task that charges a delivery, `telling` the one that tells a customer of a skipped one,
    `announcing` the one that has a debit announced; `notice` is how long before a delivery that is. `at_begin`,
    `at_end` and `at_brake` write what follows in the transaction in which the run begins, finishes or pauses itself.
    `lock_patience` is how long a page waits for who holds one of its rows.
    """

    charging: str
    bounds: BrakeBounds
    notice: timedelta
    page: int = PAGE
    telling: str | None = None
    at_begin: Announcement = _nobody_is_told
    at_end: Announcement = _nobody_is_told
    at_brake: Announcement = _nobody_is_told
    announcing: str | None = None
    lock_patience: timedelta = LOCK_PATIENCE


class DeliveryRun:
    """Plans the deliveries of the terms' date. Each page is one transaction, with how far the run has come in it.

    Who holds a subscription is waited for once; from then on those that are held are passed over, and come at the end.
    """

    def __init__(self, database: Database, terms: Terms, options: RunOptions, *, by: str) -> None:
        self._database = database
        self._terms = terms
        self._options = options
        self._by = by
        self._patience = patience(idle=IDLE, lock=options.lock_patience)
        self._waits = True
        self._leftovers = Leftovers()

    async def run(self, note_position: Callable[[int, int | None], None] = lambda _done, _all: None) -> SubscriptionRun:
        """The run as it stands in the end: finished, or paused by its brake or a person.

        `note_position` is told the id of the last subscription looked at, and the last of all. Cancel it wherever it
        is, and call it again: it goes on from the last page. Raises RunInterrupted where others go on holding what it
        needs; what they hold when its day is over is left to the next date's run.
        """
        day = self._terms.date
        async with self._database.session() as session:
            run = await runs.begin(session, day, self._by)
            await self._options.at_begin(session, run, await database_time(session))
            brake = await PlanningBrake.of(session, day, self._options.bounds)
            last = await session.scalar(select(func.max(Subscription.id)))
        while run.finished_at is None and run.paused_at is None:
            try:
                run = await self._page(brake)
            except _OutOfBounds as reason:
                run = await self._brake(str(reason))
            note_position(run.position, last)
        return run

    async def _brake(self, reason: str) -> SubscriptionRun:
        run = await runs.pause(self._database, self._terms.date, reason, self._options.at_brake)
        log.error("subscriptions.run_paused", date=self._terms.date.isoformat(), reason=reason)
        return run

    async def _page(self, brake: PlanningBrake) -> SubscriptionRun:
        for tries_left in reversed(range(TRIES)):
            try:
                # The products of a page are locked from its beginning only where they were sold under its hands.
                return await self._plan_page(brake, locks_products=tries_left < TRIES - 1)
            except StockSold:
                if not tries_left:
                    raise
            except DBAPIError as error:
                if not is_passing(error):
                    raise
                if await unblock(self._database, error):
                    self._wait_no_more()
                if not tries_left:
                    raise RunInterrupted(self._terms.date, "others hold what it needs") from error
        raise AssertionError("the last try returns or raises")

    def _wait_no_more(self) -> None:
        """Who holds one row may well hold others, in each page to come."""
        if self._leftovers.are_reached:
            self._leftovers.waits = False
        else:
            self._waits = False

    async def _plan_page(self, brake: PlanningBrake, *, locks_products: bool) -> SubscriptionRun:
        async with self._database.session() as session:
            await session.execute(self._patience)
            # Whoever else plans this date waits here and takes the next page.
            run = await runs.lock(session, self._terms.date)
            if run.finished_at is not None or run.paused_at is not None:
                return run
            page = await self._next(session, run)
            if page is None and self._leftovers.begins_again():
                return run
            planned, held = Planned(), list[SubscriptionId]()
            if page is not None:
                planned, held = await self._plan(session, run, page, locks_products=locks_products)
            if reason := await brake.why(session, run, page.due if page else ()):
                raise _OutOfBounds(reason)
            if page is None:
                await self._finish(session, run)
            await session.flush()
            await stock.take(session, planned.units)
        if page is not None and self._leftovers.are_reached:
            self._leftovers.note(page, held)
        return run

    async def _next(self, session: AsyncSession, run: SubscriptionRun) -> Page | None:
        """What is behind the run's position; where that is nothing, what is due all the same. None: nothing is left."""
        page = await next_page(session, self._terms, run.position, self._options.page)
        self._leftovers.are_reached = page is None
        if page is not None:
            return page
        # Asked before they are looked for, which reads all subscriptions: on most nights there is nothing.
        if not await runs.is_anything_due(session, self._terms.date):
            self._leftovers.held = []
            return None
        return await next_due(session, self._terms, self._leftovers.after, self._options.page)

    async def _plan(
        self, session: AsyncSession, run: SubscriptionRun, page: Page, *, locks_products: bool
    ) -> tuple[Planned, list[SubscriptionId]]:
        """Plans the page and writes it down in the run; what others hold of it, if it does not wait for them."""
        leftovers = self._leftovers
        waits = leftovers.waits if leftovers.are_reached else self._waits
        ids = page.due if waits else await free_of(session, page.due)
        planned = await plan_deliveries(
            session,
            ids,
            self._terms,
            charging=self._options.charging,
            telling=self._options.telling,
            locks_products=locks_products,
        )
        run.charges += planned.charges
        run.charges_paise += planned.paise
        run.skipped = {**run.skipped, **{why: run.skipped.get(why, 0) + n for why, n in planned.skipped.items()}}
        if self._options.notice:
            run.notices += await plan_notices(
                session,
                run.position,
                page.last,
                self._terms,
                self._options.notice,
                among=ids if leftovers.are_reached else None,
                announcing=self._options.announcing,
            )
        if not leftovers.are_reached:
            run.position = page.last
        if held := sorted(set(page.due) - set(ids)):
            log.warning("subscriptions.held", date=self._terms.date.isoformat(), count=len(held), first=held[0])
        return planned, held

    async def _finish(self, session: AsyncSession, run: SubscriptionRun) -> None:
        """Raises RunInterrupted where others hold what is left, unless its day is over."""
        day, now, held = self._terms.date, await database_time(session), self._leftovers.held
        if held and now < end_of_day(day):
            raise RunInterrupted(day, f"others hold {len(held)} of its subscriptions, such as {held[0]}")
        if held:
            log.error("subscriptions.left_out", date=day.isoformat(), count=len(held), first=held[0])
        run.finished_at = now
        await self._options.at_end(session, run, now)
