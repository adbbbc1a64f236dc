"""Taking up again the charges of a day that its jobs have left behind."""

from collections.abc import Sequence
from datetime import timedelta

from app import outbox
from app.billing.settling import LATE_AUTHORISATION
from app.billing.sweeping import is_left, sweep
from app.db.clock import database_time
from app.db.engine import Database
from app.deliveries.days import DeliveryDay, end_of_day
from app.jobs.context import Context
from app.jobs.queues import Queue
from app.settings import Settings
from app.tasks.registry import task

# For looks that are lost, each of which puts off those after it.
_LEEWAY = timedelta(days=2)


def swept_for(follow_ups: Sequence[timedelta]) -> timedelta:
    """How long after the end of its day a charge is taken up day by day: while there are looks by these waits, and at
    what was refused by the last of them. Then it waits for a person."""
    return sum(follow_ups, LATE_AUTHORISATION + _LEEWAY)


@task(queue=Queue.SUBSCRIPTIONS, visible={"delivery_date"})
async def sweep_charges(ctx: Context, delivery_date: DeliveryDay) -> int:
    """Take up the charges that the jobs of a day have left behind, once it is over; returns how many there were."""
    database, ends_at = ctx[Database], end_of_day(delivery_date)
    async with database.session() as session:
        now = await database_time(session)
    if now < ends_at:
        return 0
    if now < ends_at + swept_for(ctx[Settings].charge_follow_ups) and await is_left(database, delivery_date):
        # Before anything else, as this job can fail, too.
        again = now + timedelta(days=1)
        async with database.session() as session:
            await outbox.add(
                session,
                sweep_charges,
                key=f"sweep:{delivery_date}:{again:%Y-%m-%d}",
                not_before=again,
                delivery_date=delivery_date,
            )
    return await sweep(database, delivery_date, now)
