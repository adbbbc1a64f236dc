"""Taking up again the charges of a day that its jobs have left behind."""

from datetime import timedelta

from app import outbox
from app.billing.sweeping import sweep
from app.db.clock import database_time
from app.db.engine import Database
from app.deliveries.days import DeliveryDay, end_of_day
from app.jobs.context import Context
from app.jobs.queues import Queue
from app.tasks.registry import task

# How long a charge that stays open is taken up day by day; then it waits for a person.
SWEPT_FOR = timedelta(days=7)


@task(queue=Queue.SUBSCRIPTIONS, visible={"delivery_date"})
async def sweep_charges(ctx: Context, delivery_date: DeliveryDay) -> int:
    """Take up the charges that the jobs of a day have left behind, once it is over; returns how many there were."""
    database, ends_at = ctx[Database], end_of_day(delivery_date)
    async with database.session() as session:
        now = await database_time(session)
    if now < ends_at:
        return 0
    count = await sweep(database, delivery_date, now)
    if count and now < ends_at + SWEPT_FOR:
        # Their jobs can fail, too.
        again = now + timedelta(days=1)
        async with database.session() as session:
            await outbox.add(
                session,
                sweep_charges,
                key=f"sweep:{delivery_date}:{again:%Y-%m-%d}",
                not_before=again,
                delivery_date=delivery_date,
            )
    return count
