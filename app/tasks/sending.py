"""One notification to one customer: rendered and checked for each channel, then sent."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import structlog

from app.errors import OutcomeUnknown, Refused, Unavailable
from app.jobs.context import Context
from app.jobs.failures import OverLimit
from app.notify.locales import Locale
from app.notify.messenger import Messenger, SentMessage
from app.notify.recipients import normalise_phone, usable_email, usable_phone
from app.notify.rendering import render_mail, render_sms
from app.notify.types import NotificationType
from app.settings import Settings

log = structlog.stdlib.get_logger(__name__)

# A message that is rendered and checked, and sent when it is called.
Prepared = Callable[[], Awaitable[SentMessage]]


def mail_of(ctx: Context, to: str, kind: str, facts: Mapping[str, Any], locale: str = Locale.EN) -> Prepared:
    mail = render_mail(kind, facts, ctx[Settings].frontend_url, Locale(locale))
    template = NotificationType(kind).value
    send = ctx[Messenger].send_mail
    return partial(send, ctx, to=to, subject=mail.subject, text=mail.text, html=mail.html, template=template)


def sms_of(ctx: Context, to: str, kind: str, facts: Mapping[str, Any], locale: str = Locale.EN) -> Prepared:
    """Where no provider has a registered text in the language it is in English, which is better than none at all."""
    template, send = NotificationType(kind).value, ctx[Messenger].send_sms
    spoken = Locale(locale) if ctx[Messenger].carries(template, locale) else Locale.EN
    sms = render_sms(kind, facts, ctx[Settings].frontend_url, spoken)
    to = allowed(ctx, to)
    return partial(send, ctx, to=to, text=sms.text, template=template, locale=sms.locale, variables=sms.variables)


def allowed(ctx: Context, phone: str) -> str:
    return normalise_phone(phone, ctx[Settings].sms_countries)


async def tell(
    ctx: Context,
    email: str | None,
    phone: str | None,
    kind: NotificationType,
    facts: Mapping[str, Any],
    locale: str = Locale.EN,
) -> dict[str, SentMessage]:
    """Sends by each channel the customer has.

    Both are rendered and checked before either is sent, so that a wrong argument sends nothing at all. After that, one
    that fails does not keep the other back; a later try sends only what is missing.
    """
    prepared: dict[str, Prepared] = {}
    if email is not None:
        prepared["email"] = mail_of(ctx, email, kind, facts, locale)
    if phone is not None:
        prepared["sms"] = sms_of(ctx, phone, kind, facts, locale)
    results = await asyncio.gather(*(send() for send in prepared.values()), return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    if failures:
        raise min(failures, key=_what_comes_first)
    return dict(zip(prepared, results, strict=True))  # type: ignore[arg-type]  # none of them is an exception


async def tell_once(
    ctx: Context,
    email: str | None,
    phone: str | None,
    kind: NotificationType,
    facts: Mapping[str, Any],
    locale: str = Locale.EN,
) -> dict[str, SentMessage | str]:
    """Sends a mail, or an SMS where no mail can go to the customer, as the shop keeps address and number.

    Where neither can, `{"unreachable": why}`: trying again would not help, and nothing is wrong with the rest.
    """
    if address := usable_email(email):
        return {"email": await mail_of(ctx, address, kind, facts, locale)()}
    if number := usable_phone(phone, ctx[Settings].sms_countries):
        return {"sms": await sms_of(ctx, number, kind, facts, locale)()}
    log.warning("message.unreachable", template=kind.value)
    return {"unreachable": "the customer has no e-mail address and no mobile number that a message can go to"}


def _what_comes_first(failure: BaseException) -> int:
    """Of two failures the one that lets the job be tried again, and uses up a try, decides; then waiting in line."""
    kinds: tuple[type[BaseException], ...] = (OverLimit, Unavailable, OutcomeUnknown, Refused)
    order = [index for index, kind in enumerate(kinds, start=1) if isinstance(failure, kind)]
    return order[0] if order else 0
