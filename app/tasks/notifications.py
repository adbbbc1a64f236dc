"""Mail and SMS to customers."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, Strict

from app.jobs.context import Context
from app.jobs.queues import Queue
from app.notify.content import (
    Address,
    Body,
    HtmlBody,
    Line,
    Name,
    OptionalWebLink,
    OrderNumber,
    ProductAsKept,
    SmsText,
    Subject,
)
from app.notify.effects import Messages
from app.notify.formats import MOST_DATES, CustomerDate, ExpectedDelivery, Rupees
from app.notify.locales import Locale
from app.notify.messenger import Messenger, SentMessage
from app.notify.recipients import EmailAddress, EmailAsKept, PhoneAsKept, PhoneNumber
from app.notify.rendering import ContextIncomplete, NoSmsForType, render_mail, render_sms
from app.notify.types import MOST_DELIVERIES, NotificationType, OtherDelivery
from app.settings import Settings
from app.tasks.registry import task
from app.tasks.sending import allowed, mail_of, sms_of, tell, tell_once

if TYPE_CHECKING:
    # What callers may pass. Pydantic reads the other branch and makes one type of it.
    Amount = Decimal | int | str
    Day = date | str
    Days = Sequence[date | str]
    ExpectedDay = date | str
    Others = Sequence[Mapping[str, Any]]
    Kind = NotificationType | str
    Language = Locale | str
else:
    Amount = Rupees
    Day = CustomerDate
    Days = Annotated[list[CustomerDate], Field(max_length=MOST_DATES - 1)]
    ExpectedDay = ExpectedDelivery
    Others = Annotated[list[OtherDelivery], Field(max_length=MOST_DELIVERIES - 1)]
    Kind = NotificationType
    Language = Locale

Refusals = Annotated[int, Strict(), Field(ge=1)]
Faults = Sequence[tuple[str, str]]

# To whoever can be reached, by the arguments that say how.
TO_CUSTOMER = Messages(email="email", sms="phone")
# What is written for a page of deliveries at once is not checked before: a task that is declared with it takes address
# and number as the shop keeps them.
TO_CUSTOMER_ONCE = Messages(email="email", sms="phone", sms_instead=True)
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
    return await ctx[Messenger].send_sms(ctx, to=allowed(ctx, phone), text=message)


# The context of a password reset or a verification has a link that lets whoever has it in.
@task(
    queue=Queue.NOTIFICATIONS,
    visible={"notification_type", "locale"},
    secret={"context"},
    check=_context_fits(render_mail),
    effects=Messages(email="to_email"),
)
async def send_templated_email_task(
    ctx: Context, to_email: EmailAddress, notification_type: Kind, context: dict[str, Any], locale: Language = "en"
) -> SentMessage:
    """Send the mail of a notification type, filled in from its context."""
    return await mail_of(ctx, to_email, notification_type, context, locale)()


@task(
    queue=Queue.NOTIFICATIONS,
    visible={"notification_type", "locale"},
    secret={"context"},
    check=_context_fits(render_sms),
    effects=Messages(sms="phone"),
)
async def send_templated_sms_task(
    ctx: Context, phone: PhoneNumber, notification_type: Kind, context: dict[str, Any], locale: Language = "en"
) -> SentMessage:
    """Send the SMS of a notification type, filled in from its context."""
    return await sms_of(ctx, phone, notification_type, context, locale)()


@task(queue=Queue.NOTIFICATIONS, visible={"order_number", "locale"}, check=_somebody, effects=TO_CUSTOMER)
async def send_order_confirmation_task(
    ctx: Context,
    email: EmailAddress | None,
    phone: PhoneNumber | None,
    order_number: OrderNumber,
    customer_name: Name,
    order_total: Amount,
    delivery_address: Address,
    locale: Language = "en",
) -> dict[str, SentMessage]:
    """Tell the customer by mail and SMS that an order is confirmed."""
    facts = {
        "order_number": order_number,
        "customer_name": customer_name,
        "order_total": order_total,
        "delivery_address": delivery_address,
    }
    return await tell(ctx, email, phone, NotificationType.ORDER_CONFIRMATION, facts, locale)


@task(
    queue=Queue.NOTIFICATIONS,
    visible={"order_number", "expected_delivery", "locale"},
    check=_somebody,
    effects=TO_CUSTOMER,
)
async def send_order_shipped_task(
    ctx: Context,
    email: EmailAddress | None,
    phone: PhoneNumber | None,
    order_number: OrderNumber,
    customer_name: Name,
    tracking_info: Line,
    expected_delivery: ExpectedDay,
    locale: Language = "en",
) -> dict[str, SentMessage]:
    """Tell the customer by mail and SMS that an order is on its way."""
    facts = {
        "order_number": order_number,
        "customer_name": customer_name,
        "tracking_info": tracking_info,
        "expected_delivery": expected_delivery,
    }
    return await tell(ctx, email, phone, NotificationType.ORDER_SHIPPED, facts, locale)


@task(queue=Queue.NOTIFICATIONS, visible={"order_number", "locale"}, check=_somebody, effects=TO_CUSTOMER)
async def send_payment_failed_task(
    ctx: Context,
    email: EmailAddress | None,
    order_number: OrderNumber,
    customer_name: Name,
    order_total: Amount,
    failure_reason: Line,
    phone: PhoneNumber | None = None,
    retry_payment_url: OptionalWebLink = None,
    locale: Language = "en",
) -> dict[str, SentMessage]:
    """Tell the customer that a payment did not go through, why, and where to pay."""
    facts = {
        "order_number": order_number,
        "customer_name": customer_name,
        "order_total": order_total,
        "failure_reason": failure_reason,
        # Absent it is the page on which the order is paid.
        "retry_payment_url": retry_payment_url,
    }
    return await tell(ctx, email, phone, NotificationType.PAYMENT_FAILED, facts, locale)


@task(
    queue=Queue.NOTIFICATIONS,
    visible={"subscription_id", "next_delivery_date", "locale"},
    effects=Messages(email="email"),
)
async def send_subscription_renewal_reminder_task(
    ctx: Context,
    email: EmailAddress,
    customer_name: Name,
    product_name: Line,
    frequency: Line,
    next_delivery_date: Day,
    amount: Amount,
    subscription_id: int,
    others: Others | None = None,
    locale: Language = "en",
) -> SentMessage:
    """Remind the customer by mail of tomorrow's delivery, and of others on that day, and what each costs."""
    facts = {
        "customer_name": customer_name,
        "product_name": product_name,
        "frequency": frequency,
        "next_delivery_date": next_delivery_date,
        "amount": amount,
        "others": others or (),
        "subscription_url": None if others else _subscription_url(ctx, subscription_id),
    }
    return await mail_of(ctx, email, NotificationType.SUBSCRIPTION_RENEWAL, facts, locale)()


@task(
    queue=Queue.NOTIFICATIONS,
    visible={"subscription_id", "delivery_date", "reason", "dates", "locale"},
    effects=TO_CUSTOMER_ONCE,
)
async def send_delivery_skipped_task(
    ctx: Context,
    email: EmailAsKept | None,
    phone: PhoneAsKept | None,
    customer_name: Name,
    product_name: ProductAsKept,
    delivery_date: Day,
    reason: Line,
    subscription_id: int,
    dates: Days | None = None,
    locale: Language = "en",
) -> dict[str, SentMessage | str]:
    """Tell the customer by mail, else by SMS, that a delivery (and those of further `dates`) was skipped, and why."""
    facts = {
        "customer_name": customer_name,
        "product_name": product_name,
        "delivery_dates": [delivery_date, *(dates or ())],
        "reason": reason,
        "subscription_url": _subscription_url(ctx, subscription_id),
    }
    return await tell_once(ctx, email, phone, NotificationType.DELIVERY_SKIPPED, facts, locale)


@task(queue=Queue.NOTIFICATIONS, visible={"subscription_id", "refusals", "locale"}, effects=TO_CUSTOMER_ONCE)
async def send_subscription_paused_task(
    ctx: Context,
    email: EmailAsKept | None,
    phone: PhoneAsKept | None,
    customer_name: Name,
    product_name: ProductAsKept,
    refusals: Refusals,
    subscription_id: int,
    locale: Language = "en",
) -> dict[str, SentMessage | str]:
    """Tell the customer by mail, else by SMS, that a subscription is paused after so many refused payments in a row."""
    facts = {
        "customer_name": customer_name,
        "product_name": product_name,
        "refusals": refusals,
        "subscription_url": _subscription_url(ctx, subscription_id),
    }
    return await tell_once(ctx, email, phone, NotificationType.SUBSCRIPTION_PAUSED, facts, locale)


def _subscription_url(ctx: Context, subscription_id: int) -> str:
    return f"{ctx[Settings].frontend_url}/subscriptions/{subscription_id}"
