"""Mail and SMS to customers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from app.errors import OutcomeUnknown, Refused, Unavailable
from app.jobs.context import Context
from app.jobs.failures import OverLimit
from app.jobs.queues import Queue
from app.notify.content import Address, Body, HtmlBody, Line, Name, OrderNumber, SmsText, Subject
from app.notify.effects import Messages
from app.notify.formats import CustomerDate, ExpectedDelivery, Rupees
from app.notify.messenger import Messenger, SentMessage
from app.notify.recipients import EmailAddress, PhoneNumber, normalise_phone
from app.notify.rendering import ContextIncomplete, NoSmsForType, render_mail, render_sms
from app.notify.types import NotificationType
from app.settings import Settings
from app.tasks.registry import task

if TYPE_CHECKING:
    # What callers may pass. Pydantic reads the other branch and makes one type of it.
    Amount = Decimal | int | str
    Day = date | str
    ExpectedDay = date | str
    Kind = NotificationType | str
else:
    Amount = Rupees
    Day = CustomerDate
    ExpectedDay = ExpectedDelivery
    Kind = NotificationType

Faults = Sequence[tuple[str, str]]
# A message that is rendered and checked, and sent when it is called.
Prepared = Callable[[], Awaitable[SentMessage]]

# To whoever can be reached, by the arguments that say how.
TO_CUSTOMER = Messages(email="email", sms="phone")
# Links are not needed to tell whether a context is complete.
NO_SITE = "https://example.invalid"


def _context_fits(render: Callable[[str, Mapping[str, object], str], object]) -> Callable[[Mapping[str, Any]], Faults]:
    """A check that a template's context is complete, made where the job is enqueued."""

    def check(arguments: Mapping[str, Any]) -> Faults:
        try:
            render(arguments["notification_type"], arguments["context"], NO_SITE)
        except ContextIncomplete as incomplete:
            return [(f"context.{key}", sentence) for key, sentence in incomplete.faults]
        except NoSmsForType as refusal:
            return [("notification_type", str(refusal))]
        return []

    return check


def _somebody(arguments: Mapping[str, Any]) -> Faults:
    if arguments["email"] is None and arguments["phone"] is None:
        return [("email", "is needed where there is no phone")]
    return []


@task(queue=Queue.NOTIFICATIONS, effects=Messages(email="to_email"))
async def send_email_task(
    ctx: Context, to_email: EmailAddress, subject: Subject, body: Body, html_body: HtmlBody | None = None
) -> SentMessage:
    """Send a mail with the given subject and text."""
    return await ctx[Messenger].send_mail(ctx, to=to_email, subject=subject, text=body, html=html_body)


@task(queue=Queue.NOTIFICATIONS, effects=Messages(sms="phone"))
async def send_sms_task(ctx: Context, phone: PhoneNumber, message: SmsText) -> SentMessage:
    """Send an SMS with the given text."""
    return await ctx[Messenger].send_sms(ctx, to=_allowed(ctx, phone), text=message)


# The context of a password reset or a verification has a link that lets whoever has it in.
@task(
    queue=Queue.NOTIFICATIONS,
    visible={"notification_type"},
    secret={"context"},
    check=_context_fits(render_mail),
    effects=Messages(email="to_email"),
)
async def send_templated_email_task(
    ctx: Context, to_email: EmailAddress, notification_type: Kind, context: dict[str, Any]
) -> SentMessage:
    """Send the mail of a notification type, filled in from its context."""
    return await _mail(ctx, to_email, notification_type, context)()


@task(
    queue=Queue.NOTIFICATIONS,
    visible={"notification_type"},
    secret={"context"},
    check=_context_fits(render_sms),
    effects=Messages(sms="phone"),
)
async def send_templated_sms_task(
    ctx: Context, phone: PhoneNumber, notification_type: Kind, context: dict[str, Any]
) -> SentMessage:
    """Send the SMS of a notification type, filled in from its context."""
    return await _sms(ctx, phone, notification_type, context)()


@task(queue=Queue.NOTIFICATIONS, visible={"order_number"}, check=_somebody, effects=TO_CUSTOMER)
async def send_order_confirmation_task(
    ctx: Context,
    email: EmailAddress | None,
    phone: PhoneNumber | None,
    order_number: OrderNumber,
    customer_name: Name,
    order_total: Amount,
    delivery_address: Address,
) -> dict[str, SentMessage]:
    """Tell the customer by mail and SMS that an order is confirmed."""
    facts = {
        "order_number": order_number,
        "customer_name": customer_name,
        "order_total": order_total,
        "delivery_address": delivery_address,
    }
    return await _tell(ctx, email, phone, NotificationType.ORDER_CONFIRMATION, facts)


@task(queue=Queue.NOTIFICATIONS, visible={"order_number", "expected_delivery"}, check=_somebody, effects=TO_CUSTOMER)
async def send_order_shipped_task(
    ctx: Context,
    email: EmailAddress | None,
    phone: PhoneNumber | None,
    order_number: OrderNumber,
    customer_name: Name,
    tracking_info: Line,
    expected_delivery: ExpectedDay,
) -> dict[str, SentMessage]:
    """Tell the customer by mail and SMS that an order is on its way."""
    facts = {
        "order_number": order_number,
        "customer_name": customer_name,
        "tracking_info": tracking_info,
        "expected_delivery": expected_delivery,
    }
    return await _tell(ctx, email, phone, NotificationType.ORDER_SHIPPED, facts)


@task(queue=Queue.NOTIFICATIONS, visible={"order_number"}, check=_somebody, effects=TO_CUSTOMER)
async def send_payment_failed_task(
    ctx: Context,
    email: EmailAddress | None,
    order_number: OrderNumber,
    customer_name: Name,
    order_total: Amount,
    failure_reason: Line,
    phone: PhoneNumber | None = None,
) -> dict[str, SentMessage]:
    """Tell the customer that a payment did not go through, why, and where to pay."""
    facts = {
        "order_number": order_number,
        "customer_name": customer_name,
        "order_total": order_total,
        "failure_reason": failure_reason,
    }
    return await _tell(ctx, email, phone, NotificationType.PAYMENT_FAILED, facts)


@task(queue=Queue.NOTIFICATIONS, visible={"subscription_id", "next_delivery_date"}, effects=Messages(email="email"))
async def send_subscription_renewal_reminder_task(
    ctx: Context,
    email: EmailAddress,
    customer_name: Name,
    product_name: Line,
    frequency: Line,
    next_delivery_date: Day,
    amount: Amount,
    subscription_id: int,
) -> SentMessage:
    """Remind the customer by mail of tomorrow's delivery and what it costs."""
    facts = {
        "customer_name": customer_name,
        "product_name": product_name,
        "frequency": frequency,
        "next_delivery_date": next_delivery_date,
        "amount": amount,
        "subscription_url": f"{ctx[Settings].frontend_url}/subscriptions/{subscription_id}",
    }
    return await _mail(ctx, email, NotificationType.SUBSCRIPTION_RENEWAL, facts)()


def _mail(ctx: Context, to: str, kind: str, facts: Mapping[str, Any]) -> Prepared:
    mail = render_mail(kind, facts, ctx[Settings].frontend_url)
    template = NotificationType(kind).value
    send = ctx[Messenger].send_mail
    return partial(send, ctx, to=to, subject=mail.subject, text=mail.text, html=mail.html, template=template)


def _sms(ctx: Context, to: str, kind: str, facts: Mapping[str, Any]) -> Prepared:
    sms = render_sms(kind, facts, ctx[Settings].frontend_url)
    template = NotificationType(kind).value
    send = ctx[Messenger].send_sms
    return partial(send, ctx, to=_allowed(ctx, to), text=sms.text, template=template, variables=sms.variables)


def _allowed(ctx: Context, phone: str) -> str:
    return normalise_phone(phone, ctx[Settings].sms_countries)


async def _tell(
    ctx: Context, email: str | None, phone: str | None, kind: NotificationType, facts: Mapping[str, Any]
) -> dict[str, SentMessage]:
    """Sends by each channel the customer has.

    Both are rendered and checked before either is sent, so that a wrong argument sends nothing at all. After that, one
    that fails does not keep the other back; a later try sends only what is missing.
    """
    prepared: dict[str, Prepared] = {}
    if email is not None:
        prepared["email"] = _mail(ctx, email, kind, facts)
    if phone is not None:
        prepared["sms"] = _sms(ctx, phone, kind, facts)
    results = await asyncio.gather(*(send() for send in prepared.values()), return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    if failures:
        raise min(failures, key=_what_comes_first)
    return dict(zip(prepared, results, strict=True))  # type: ignore[arg-type]  # none of them is an exception


def _what_comes_first(failure: BaseException) -> int:
    """Of two failures the one that lets the job be tried again, and uses up a try, decides; then waiting in line."""
    kinds: tuple[type[BaseException], ...] = (OverLimit, Unavailable, OutcomeUnknown, Refused)
    order = [index for index, kind in enumerate(kinds, start=1) if isinstance(failure, kind)]
    return order[0] if order else 0
