"""What is known of the run of each date: begun, stopped by its brake, resumed, and how its charges ended."""

from collections.abc import Awaitable, Callable
from datetime import date, datetime
from typing import Final

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.clock import database_time
from app.db.engine import Database
from app.db.shop import SubscriptionId
from app.db.subscription_runs import SubscriptionRun
from app.errors import Refused

# The task that has a run planned; it stands above this package.
RUNNING: Final = "process_due_subscriptions"

_IS_ANYTHING_DUE = text(
    """
    SELECT EXISTS (
        SELECT FROM subscriptions
        WHERE status = 'active' AND isfinite(next_delivery_date) AND next_delivery_date <= :date
    )
    """
)


# Writes what others are to be told of a run, in the transaction that makes it so at that moment.
Announcement = Callable[[AsyncSession, SubscriptionRun, datetime], Awaitable[None]]


class UnknownRun(Refused):
    """No run has planned that date."""

    def __init__(self, day: date) -> None:
        super().__init__(day)
        self.day = day

    def __str__(self) -> str:
        return f"the deliveries of {self.day} were not planned by any run"


async def begin(session: AsyncSession, day: date, by: str) -> SubscriptionRun:
    """The date's run, locked: a new one, one to go on with, or a finished one.

    A finished run begins again only where something is due: what was resumed or added since then.
    """
    await session.execute(insert(SubscriptionRun).values(delivery_date=day, started_by=by).on_conflict_do_nothing())
    run = await lock(session, day)
    if run.finished_at is not None and await is_anything_due(session, day):
        run.finished_at, run.position = None, SubscriptionId(0)
    return run


async def is_anything_due(session: AsyncSession, day: date) -> bool:
    """Whether a run of that date would find anything to plan."""
    return bool(await session.scalar(_IS_ANYTHING_DUE, {"date": day}))


async def lock(session: AsyncSession, day: date) -> SubscriptionRun:
    """The date's run, for this transaction alone. Raises UnknownRun."""
    run = await session.scalar(select(SubscriptionRun).filter_by(delivery_date=day).with_for_update())
    if run is None:
        raise UnknownRun(day)
    return run


async def pause(database: Database, day: date, reason: str, announce: Announcement | None = None) -> SubscriptionRun:
    """Stops the run: nothing more of its date is planned until it is resumed. Raises UnknownRun."""
    async with database.session() as session:
        run = await lock(session, day)
        if run.paused_at is None:
            # Asked for first: the row is only right with both, and a query would write it with one.
            now = await database_time(session)
            run.paused_at, run.paused_because = now, reason
            if announce is not None:
                await announce(session, run, now)
        return run


async def resume(database: Database, day: date, by: str, announce: Announcement | None = None) -> bool:
    """Lets a paused run go on, past what paused it; `announce` is to start its task again. Raises UnknownRun.

    False where it was not paused.
    """
    async with database.session() as session:
        run = await lock(session, day)
        if run.paused_at is None:
            return False
        now = await database_time(session)
        run.paused_at = run.paused_because = None
        run.resumed_at, run.resumed_by = now, by
        if announce is not None:
            await announce(session, run, now)
        return True
