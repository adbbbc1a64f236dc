"""What follows a midnight run: reminders of the next day's deliveries, and what the owner is told."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app import outbox
from app.billing.sweeping import have_swept
from app.db.subscription_runs import SubscriptionRun
from app.deliveries.days import ONE_DAY, end_of_day
from app.deliveries.figures import planned_by, short_stock
from app.money import rupees_of
from app.tasks.owner_mail import send_run_paused_task, send_stock_out_task, tell_owner
from app.tasks.reminders import send_subscription_renewal_reminders
from app.tasks.reports import closing_after, report_subscription_run
from app.tasks.run_watch import have_watched

# By then most charges have their outcome.
REPORT_AFTER = timedelta(hours=2)


class RunNews:
    """Writes the jobs of what follows into the transaction that begins a run, ends it or pauses it, each once.

    `owners` are the addresses that were configured; see `owner_addresses`. `follow_ups` are the waits between the looks
    at an open charge.
    """

    def __init__(self, owners: Sequence[str], follow_ups: Sequence[timedelta] = ()) -> None:
        self._owners = owners
        self._closing_after = closing_after(follow_ups)

    async def begun(self, session: AsyncSession, run: SubscriptionRun, now: datetime) -> None:
        """The run has begun, be it for the first time or again, however it goes on."""
        await have_swept(session, run.delivery_date)
        if run.finished_at is None:
            await have_watched(session, run.delivery_date, now)

    async def ended(self, session: AsyncSession, run: SubscriptionRun, now: datetime) -> None:
        """The run has finished, be it for the first time or again."""
        day = run.delivery_date
        for product in await short_stock(session, day):
            await tell_owner(
                session,
                self._owners,
                send_stock_out_task,
                f"stock_out:{day}:{product.product_id}",
                product_name=product.title,
                delivery_date=day,
                short=product.short,
                charged=product.charged,
            )
        tomorrow = day + ONE_DAY
        # Whoever was planned since the run finished last is to be reminded, too; the others have been.
        key = f"reminders:{tomorrow}:{planned_by(run)}"
        await outbox.add(session, send_subscription_renewal_reminders, key=key, delivery_date=tomorrow)
        await self._have_it_reported(session, run, now)

    async def braked(self, session: AsyncSession, run: SubscriptionRun, now: datetime) -> None:
        """The run has paused itself."""
        await tell_owner(
            session,
            self._owners,
            send_run_paused_task,
            f"run_paused:{run.delivery_date}:{now.isoformat()}",
            delivery_date=run.delivery_date,
            paused_because=run.paused_because,
            charges=run.charges,
            amount=rupees_of(run.charges_paise),
        )

    async def _have_it_reported(self, session: AsyncSession, run: SubscriptionRun, now: datetime) -> None:
        # Not by the first report: that may fail.
        await outbox.add(
            session,
            report_subscription_run,
            key=f"report:{run.delivery_date}:closing",
            not_before=max(now, end_of_day(run.delivery_date)) + self._closing_after,
            delivery_date=run.delivery_date,
            closing=True,
        )
        key = f"report:{run.delivery_date}"
        if run.reported is not None:
            if run.reported["planned"] == planned_by(run):
                return
            # It has planned more since it was reported.
            key = f"{key}:{now.isoformat()}"
        await outbox.add(
            session,
            report_subscription_run,
            key=key,
            not_before=now + REPORT_AFTER,
            delivery_date=run.delivery_date,
        )
