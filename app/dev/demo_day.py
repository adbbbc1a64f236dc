"""One day of the demo shop: its midnight run, and notifications from enqueue to provider."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
from arq.jobs import Job
from rich.console import Console
from rich.table import Table
from sqlalchemy import ColumnElement, Row, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.engine import Database
from app.db.shop import (
    Address,
    DistributorStatus,
    Order,
    OrderStatus,
    PaymentStatus,
    Product,
    Subscription,
    SubscriptionStatus,
    User,
)
from app.dev.demo_midnight import run_demo_midnight
from app.errors import Refused
from app.jobs.lookup import find_job
from app.jobs.pool import JobPool
from app.notify.types import NotificationType
from app.tasks import TASKS

# What the shop would enqueue within a few minutes of a morning; enough to see every kind.
ORDERS_CONFIRMED = 3
ORDERS_SHIPPED = 2
REMINDERS = 5
WITHIN_SECONDS = 60

# Where mail and SMS go, whichever is chosen, and who is asked for money.
PROVIDERS = ("SENDGRID_BASE_URL", "SES_BASE_URL", "SMTP_HOST", "TWILIO_BASE_URL", "MSG91_BASE_URL", "RAZORPAY_BASE_URL")


class RealProvider(Refused):
    """The demo's customers are invented, and a provider on another machine would write to them all the same."""

    def __str__(self) -> str:
        return f"{self.args[0]} is not on this machine, and the demo shop's customers are invented: unset it"


@dataclass(frozen=True, slots=True)
class Planned:
    """A notification of the day, before it is enqueued."""

    what: str
    task: str
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message of it: at which provider, under which id; or why not."""

    planned: Planned
    channel: str
    provider: str | None
    message_id: str | None
    failure: str | None = None


async def run_demo_day(environment: Mapping[str, str]) -> bool:
    """Runs the day's deliveries, enqueues its notifications and prints what became of them; whether all went well.

    Raises RealProvider rather than write to invented customers, whose numbers may be somebody's.
    """
    for name in PROVIDERS:
        address = environment[name]
        if (urlsplit(address).hostname or address) not in ("127.0.0.1", "localhost", "::1"):
            raise RealProvider(name)
    database = Database(environment["DATABASE_URL"], application_name="indostar demo day")
    pool = JobPool.from_dsn(environment["REDIS_URL"], TASKS)
    try:
        adds_up = await run_demo_midnight(pool, database, environment)
        async with database.session() as session:
            day = await _notifications(session, datetime.now(UTC).date(), environment["FRONTEND_URL"])
        outcomes = await asyncio.gather(*(_send(pool, planned) for planned in day))
        arrived = await _inboxes(environment)
    finally:
        await pool.aclose()
        await database.close()
    return _show([outcome for job in outcomes for outcome in job], arrived) and adds_up


async def _notifications(session: AsyncSession, today: date, site: str) -> list[Planned]:
    has_mail, is_paid = User.email.is_not(None), Order.payment_status == PaymentStatus.PAID
    confirmed = await _orders(session, ORDERS_CONFIRMED, is_paid, has_mail)
    by_sms_only = await _orders(session, 1, is_paid, ~has_mail)
    shipped = await _orders(session, ORDERS_SHIPPED, Order.order_status == OrderStatus.OUT_FOR_DELIVERY)
    failed = await _orders(session, 1, Order.payment_status == PaymentStatus.FAILED, has_mail)
    subscribed = await session.execute(
        select(Subscription, User, Product)
        .join(User, Subscription.user_id == User.id)
        .join(Product, Subscription.product_id == Product.id)
        .where(Subscription.status == SubscriptionStatus.ACTIVE, User.is_active, User.email.is_not(None))
        .order_by(Subscription.next_delivery_date.desc(), Subscription.id)
        .limit(REMINDERS)
    )
    reminded = subscribed.all()
    readers = await session.scalars(select(User).where(User.email.is_not(None), User.is_active).order_by(User.id))
    reader = readers.first()
    distributors = await session.scalars(
        select(User).where(User.distributor_status == DistributorStatus.APPROVED, User.email.is_not(None))
    )
    distributor = distributors.first()
    everything = (confirmed, by_sms_only, shipped, failed, reminded, reader, distributor)
    if not all(everything) or reader is None or distributor is None:
        raise LookupError("the demo shop lacks what a day needs: remove .indostar and start again")
    [(failed_order, payer, _)] = failed
    product = reminded[0][2]
    return [
        *(_confirmation(order, user, address) for order, user, address in (*confirmed, *by_sms_only)),
        *(_shipped(order, user, today) for order, user, _ in shipped),
        Planned(
            "payment failed",
            "send_payment_failed_task",
            {
                "email": payer.email,
                "phone": payer.phone,
                "order_number": failed_order.order_number,
                "customer_name": payer.name,
                "order_total": failed_order.final_amount,
                "failure_reason": "the bank declined the payment",
            },
        ),
        # The shop's dates stand still; the day goes on.
        *(_reminder(*subscribed, today + timedelta(days=1)) for subscribed in reminded),
        _templated_mail(reader, NotificationType.PASSWORD_RESET, reset_url=f"{site}/reset/demo"),
        _templated_mail(reader, NotificationType.EMAIL_VERIFICATION, verification_url=f"{site}/verify/demo"),
        _templated_mail(distributor, NotificationType.DISTRIBUTOR_APPROVED, distributor_name=distributor.name),
        Planned(
            "templated SMS",
            "send_templated_sms_task",
            {
                "phone": reader.phone,
                "notification_type": NotificationType.SUBSCRIPTION_RENEWAL,
                "context": {"product_name": product.title, "amount": product.consumer_price},
            },
        ),
        Planned(
            "mail",
            "send_email_task",
            {"to_email": reader.email, "subject": "The dairy is open", "body": "Fresh milk from six o'clock."},
        ),
        Planned("SMS", "send_sms_task", {"phone": reader.phone, "message": "The dairy is open from six o'clock."}),
    ]


async def _orders(
    session: AsyncSession, most: int, *wanted: ColumnElement[bool]
) -> Sequence[Row[Order, User, Address]]:
    """The newest such orders, with their customers and addresses."""
    rows = await session.execute(
        select(Order, User, Address)
        .join(User, Order.user_id == User.id)
        .join(Address, Order.delivery_address_id == Address.id)
        .where(User.is_active, *wanted)
        .order_by(Order.created_at.desc(), Order.id)
        .limit(most)
    )
    return rows.all()


def _confirmation(order: Order, user: User, address: Address) -> Planned:
    kwargs = {
        "email": user.email,
        "phone": user.phone,
        "order_number": order.order_number,
        "customer_name": user.name,
        "order_total": order.final_amount,
        "delivery_address": f"{address.address_line1}\n{address.city} {address.postal_code}",
    }
    return Planned(f"order confirmation {order.order_number}", "send_order_confirmation_task", kwargs)


def _shipped(order: Order, user: User, today: date) -> Planned:
    kwargs = {
        "email": user.email,
        "phone": user.phone,
        "order_number": order.order_number,
        "customer_name": user.name,
        "tracking_info": "Morning van, route 4",
        "expected_delivery": today + timedelta(days=1),
    }
    return Planned(f"order shipped {order.order_number}", "send_order_shipped_task", kwargs)


def _reminder(subscription: Subscription, user: User, product: Product, day: date) -> Planned:
    kwargs = {
        "email": user.email,
        "customer_name": user.name,
        "product_name": product.title,
        "frequency": subscription.plan_frequency.value,
        "next_delivery_date": day,
        "amount": product.consumer_price,
        "subscription_id": subscription.id,
    }
    return Planned(f"renewal reminder {subscription.id}", "send_subscription_renewal_reminder_task", kwargs)


def _templated_mail(user: User, kind: NotificationType, **context: str) -> Planned:
    kwargs = {"to_email": user.email, "notification_type": kind, "context": context}
    return Planned(kind.replace("_", " "), "send_templated_email_task", kwargs)


async def _send(pool: JobPool, planned: Planned) -> list[Outcome]:
    job = await pool.enqueue_job(planned.task, **planned.kwargs)
    if job is None:
        raise RuntimeError("a job without an id of its own was refused")
    channel = "sms" if "sms" in planned.task else "email"
    try:
        result = await _result(job)
    except TimeoutError:
        found = await find_job(pool, job.job_id)
        why = f": {found.error.message}" if found and found.error else ""
        return [Outcome(planned, channel, None, None, f"not done within {WITHIN_SECONDS} s{why}")]
    except Exception as error:  # noqa: BLE001 -- whatever the job raised is what the table shows
        return [Outcome(planned, channel, None, None, str(error))]
    messages = result if "message_id" not in result else {channel: result}
    return [
        Outcome(planned, channel, message["provider"], message["message_id"]) for channel, message in messages.items()
    ]


async def _result(job: Job) -> dict[str, Any]:
    result: dict[str, Any] = await job.result(timeout=WITHIN_SECONDS, poll_delay=0.05)
    return result


async def _inboxes(environment: Mapping[str, str]) -> set[str] | None:
    """Ids of all messages in the fakes' inbox; None where the providers are not our fakes."""
    ids: set[str] = set()
    async with httpx.AsyncClient(trust_env=False) as client:
        for url in {environment[name] for name in PROVIDERS if name.endswith("_BASE_URL")}:
            try:
                answer = await client.get(f"{url}/inbox", params={"limit": 10_000})
                ids |= {message["id"] for message in answer.raise_for_status().json()["messages"]}
            except (httpx.HTTPError, ValueError, KeyError):
                return None
    return ids


def _show(outcomes: list[Outcome], arrived: set[str] | None) -> bool:
    table = Table(title="What reached which provider")
    for column in ("Notification", "Channel", "Provider", "Provider's id", "In its inbox"):
        table.add_column(column, overflow="fold")
    complete = True
    for outcome in outcomes:
        if outcome.failure is not None or not outcome.message_id:
            complete = False
            table.add_row(outcome.planned.what, outcome.channel, "[red]failed", outcome.failure, "")
            continue
        is_there = arrived is None or outcome.message_id in arrived
        complete &= is_there
        seen = "not our fake" if arrived is None else "yes" if is_there else "[red]no"
        table.add_row(outcome.planned.what, outcome.channel, outcome.provider, outcome.message_id, seen)
    # Wide enough for the ids, also where the output is a file.
    console = Console(width=130)
    console.print(table)
    verdict = "all of it reached its provider" if complete else "[red]not everything reached its provider"
    console.print(f"{len(outcomes)} messages; {verdict}")
    return complete
