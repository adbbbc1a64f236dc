"""Mail to the owner of the shop."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy.ext.asyncio import AsyncSession

from app import outbox
from app.jobs.context import Context
from app.jobs.queues import Queue
from app.jobs.task import Task
from app.notify.content import Line, ProductName
from app.notify.effects import Messages
from app.notify.formats import CustomerDate, RupeeTotal
from app.notify.messenger import SentMessage
from app.notify.owners import owner_addresses
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


async def tell_owner(session: AsyncSession, owners: Sequence[str], mail: Task[..., Any], key: str, **facts: Any) -> int:
    """Writes a mail's job for each of the owner's addresses, once for a key; how many are new.

    `owners` are the addresses that were configured; see `owner_addresses`.
    """
    # The further ones have keys of their own.
    addresses = enumerate(await owner_addresses(session, owners), start=1)
    keys = [(key if number == 1 else f"{key}:{number}", address) for number, address in addresses]
    jobs = [await outbox.add(session, mail, key=each, email=address, **facts) for each, address in keys]
    return len(jobs) - jobs.count(None)


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


@task(queue=Queue.NOTIFICATIONS, visible={"delivery_date"}, effects=TO_OWNER)
async def send_run_unfinished_task(
    ctx: Context, email: EmailAddress, delivery_date: Day, why: Line, charges: Count, amount: Amount
) -> SentMessage:
    """Tell the owner that the run of a date has not finished, why, and how it goes on."""
    facts = {"delivery_date": delivery_date, "why": why, "charges": charges, "amount": amount}
    return await mail_of(ctx, email, NotificationType.RUN_UNFINISHED, facts)()
