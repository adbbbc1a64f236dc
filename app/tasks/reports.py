"""Reporting to the owner what became of a day's deliveries."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal, TypedDict

from app import outbox
from app.db.clock import database_time
from app.db.engine import Database
from app.deliveries import runs
from app.deliveries.days import DeliveryDay
from app.deliveries.figures import by_state, figures_of
from app.jobs.context import Context
from app.jobs.queues import Queue
from app.notify.owners import owner_addresses
from app.notify.run_report import outcomes
from app.settings import Settings
from app.tasks.owner_mail import send_run_report_task
from app.tasks.registry import task
from app.tasks.sweeping import swept_for

# Its outcomes are what a report is sent for: not that a product has another name by now, or a run is held.
_OUTCOMES = ("outcomes", "not_charged_in_time", "skipped", "open", "owed", "paused", "billed_on")


def closing_after(follow_ups: Sequence[timedelta]) -> timedelta:
    """How long after the end of a day its open charges have been asked about: by the looks that `follow_ups` leave to
    them and, where those failed, by the sweeps; a day more for what was late."""
    return swept_for(follow_ups) + timedelta(days=1)


class ReportResult(TypedDict):
    """`report` tells whether the owner was told; `mails` is to how many addresses. `deliveries` are by outcome."""

    delivery_date: date
    report: Literal["sent", "unchanged", "nobody to tell"]
    mails: int
    deliveries: Mapping[str, int]
    amount_paid: Decimal


@task(queue=Queue.SUBSCRIPTIONS, visible={"delivery_date", "closing"})
async def report_subscription_run(ctx: Context, delivery_date: DeliveryDay, closing: bool = False) -> ReportResult:
    """Report to the owner what became of the deliveries of a date, unless that is the same as in the last report."""
    database = ctx[Database]
    settings = ctx[Settings]
    figures = await figures_of(database, delivery_date, refusals=settings.max_failed_deliveries)
    told = figures.model_dump(mode="json")
    async with database.session() as session:
        # Two reports at once: the second finds what the first has told.
        run = await runs.lock(session, delivery_date)
        now = await database_time(session)
        run.outcomes, run.outcomes_at = dict(by_state(figures)), now
        is_new = run.reported is None or any(run.reported.get(part) != told[part] for part in _OUTCOMES)
        # Of a first report that failed the closing one takes the place.
        is_closing = closing and run.reported is not None
        addresses = await owner_addresses(session, settings.owner_email) if is_new else ()
        if addresses:
            run.reported, run.reported_at = told, now
        for address in addresses:
            await outbox.add(
                session,
                send_run_report_task,
                email=address,
                delivery_date=delivery_date,
                figures=figures,
                is_closing=is_closing,
            )
    return ReportResult(
        delivery_date=delivery_date,
        report="unchanged" if not is_new else "sent" if addresses else "nobody to tell",
        mails=len(addresses),
        deliveries={each.kind: each.deliveries for each in outcomes(figures)},
        amount_paid=sum((total.amount for total in figures.outcomes if total.state == "captured"), Decimal(0)),
    )
