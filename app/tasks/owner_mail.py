"""Mail to the owner of the shop."""

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from app.jobs.context import Context
from app.jobs.queues import Queue
from app.notify.content import Line, ProductName
from app.notify.effects import Messages
from app.notify.formats import CustomerDate, RupeeTotal
from app.notify.messenger import SentMessage
from app.notify.recipients import EmailAddress
from app.notify.run_report import Count, RunFigures, headline, sections
from app.notify.types import NotificationType
from app.tasks.registry import task
from app.tasks.sending import mail_of

if TYPE_CHECKING:
    # What callers may pass. Pydantic reads the other branch and makes one type of it.
    Amount = Decimal | int | str
    Day = date | str
else:
    Amount = RupeeTotal
    Day = CustomerDate

TO_OWNER = Messages(email="email")


@task(queue=Queue.NOTIFICATIONS, visible={"delivery_date"}, effects=TO_OWNER)
async def send_stock_out_task(
    ctx: Context,
    email: EmailAddress,
    product_name: ProductName,
    delivery_date: Day,
    short: Count,
    charged: Count,
) -> SentMessage:
    """Tell the owner that a product ran out, how many deliveries were short of it and how many got theirs."""
    facts = {"product_name": product_name, "delivery_date": delivery_date, "short": short, "charged": charged}
    return await mail_of(ctx, email, NotificationType.STOCK_OUT, facts)()


@task(queue=Queue.NOTIFICATIONS, visible={"delivery_date", "is_closing"}, effects=TO_OWNER)
async def send_run_report_task(
    ctx: Context, email: EmailAddress, delivery_date: Day, figures: RunFigures, is_closing: bool = False
) -> SentMessage:
    """Report to the owner what became of the deliveries of a date."""
    facts = {
        "delivery_date": delivery_date,
        "headline": headline(figures),
        "sections": sections(figures),
        "is_closing": is_closing,
    }
    return await mail_of(ctx, email, NotificationType.RUN_REPORT, facts)()


@task(queue=Queue.NOTIFICATIONS, visible={"delivery_date"}, effects=TO_OWNER)
async def send_run_paused_task(
    ctx: Context, email: EmailAddress, delivery_date: Day, paused_because: Line, charges: Count, amount: Amount
) -> SentMessage:
    """Tell the owner that the run of a date has paused itself, why, and how it goes on."""
    facts = {
        "delivery_date": delivery_date,
        "paused_because": paused_because,
        "charges": charges,
        "amount": amount,
    }
    return await mail_of(ctx, email, NotificationType.RUN_PAUSED, facts)()
