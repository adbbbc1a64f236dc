"""Sending a message once: ledger, providers and what to do when nobody knows."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from functools import partial
from typing import Final, Literal, TypedDict
from uuid import uuid4

import structlog

from app.db.messages import Channel
from app.errors import NotDone, OutcomeUnknown, Refused
from app.jobs.breaker import Breaker, BreakerOpen, Passage
from app.jobs.context import Context
from app.jobs.limits import Limit
from app.notify.errand import Errand, KeptTo
from app.notify.failures import BeingSent, MayHaveBeenSent, NotSettledYet, RefusedBefore
from app.notify.ledger import EarlierMessage, MessageEnd, MessageLedger, NewMessage
from app.notify.recipients import mask_email, mask_phone
from app.notify.segments import SmsSize, size_of
from app.notify.ways import Way, asked, called, first_open, until_usable
from app.providers.failures import ProviderFailure
from app.providers.http import TOTAL_SECONDS
from app.providers.mail import EmailProvider, Mail
from app.providers.sms import Sms, SmsProvider

log = structlog.stdlib.get_logger(__name__)

# A request that is under way has ended by then, one way or the other.
LONGEST_SEND: Final = timedelta(seconds=TOTAL_SECONDS + 2)


class SentMessage(TypedDict):
    """What a job's result says of a message. `already_sent`: an earlier attempt had sent it."""

    status: Literal["sent", "already_sent"]
    provider: str | None
    message_id: str | None


# Is told of each message that another provider sent: the channel, whose turn it was, and who sent it.
SwitchHook = Callable[[str, str, str], None]


class Messenger:
    """Sends each message at most once a key (root job, channel), through the first provider of its channel that works.

    What one provider may have sent is never given to another, but where it is not among the providers any more: then it
    is sent again, and counted as possibly twice. A provider keeps to the one of `limits` that has its
    name; `breaker` makes the breaker of each.
    """

    def __init__(
        self,
        ledger: MessageLedger,
        email: Sequence[EmailProvider],
        sms: Sequence[SmsProvider],
        *,
        resend_unknown_mail: bool,
        resend_unknown_sms: bool,
        longest_send: timedelta = LONGEST_SEND,
        limits: Iterable[Limit] = (),
        breaker: Callable[[str], Breaker] = Breaker,
        on_switch: SwitchHook | None = None,
    ) -> None:
        self._ledger = ledger
        self._email = email
        self._sms = sms
        names = {mailer.name for mailer in email} | {texter.name for texter in sms}
        self._breakers = {provider: breaker(provider) for provider in names}
        self._resend_unknown_mail = resend_unknown_mail
        self._resend_unknown_sms = resend_unknown_sms
        self._longest_send = longest_send
        self._limits = {limit.name: limit for limit in limits if limit}
        self._on_switch = on_switch

    def carries(self, template: str, locale: str) -> bool:
        """Whether any provider can send the SMS of this type in this language."""
        return any(provider.carries(template, locale) for provider in self._sms)

    async def send_mail(
        self, context: Context, *, to: str, subject: str, text: str, html: str | None, template: str | None = None
    ) -> SentMessage:
        """The mail's fate. Raises Refused, NotDone (OverLimit) or OutcomeUnknown where it was not sent."""
        message = _new_message(context, "email", template, mask_email(to), self._email[0].name)
        mail = Mail(to=to, subject=subject, text=text, html=html, key=_key(message))
        ways = [self._way(provider.name, partial(provider.send, mail)) for provider in self._email]
        return await self._send(context, Errand(message, ways, self._resend_unknown_mail))

    async def send_sms(
        self,
        context: Context,
        *,
        to: str,
        text: str,
        template: str | None = None,
        locale: str = "en",
        variables: Mapping[str, str] | None = None,
    ) -> SentMessage:
        """The SMS's fate. Raises Refused, NotDone (OverLimit) or OutcomeUnknown where it was not sent.

        `variables` are what the template's text in that language was filled in with, for a provider that has the text
        already.
        """
        message = _new_message(context, "sms", template, mask_phone(to), self._sms[0].name, size_of(text))
        key = _key(message)
        sms = Sms(to=to, text=text, key=key, template=template, locale=locale, variables=variables or {})
        ways = [
            self._way(provider.name, partial(provider.send, sms), partial(_found, provider, sms))
            for provider in self._sms
            if provider.carries(template, locale)
        ]
        if not ways:
            # It will refuse without a request, which tells nothing of how it is.
            provider = self._sms[0]
            ways = [Way(provider.name, Breaker(provider.name), None, partial(provider.send, sms))]
        return await self._send(context, Errand(message, ways, self._resend_unknown_sms))

    async def drained(self) -> None:
        """Returns when everything that became of messages is on record."""
        await self._ledger.drained()

    async def aclose(self) -> None:
        """Returns when the other workers can know what this one found."""
        for breaker in self._breakers.values():
            await breaker.aclose()

    async def _send(self, context: Context, errand: Errand) -> SentMessage:
        ways = errand.ways
        if not context.is_fresh and (len(ways) > 1 or ways[0].limit):
            # A mail that went out while its SMS had to wait must not wait for another turn.
            earlier = await self._ledger.find(errand.message)
            if earlier is not None and earlier.status == "sent":
                return _already_sent(_Sent(earlier.provider, earlier.provider_message_id))
            if earlier is not None and (only := errand.kept_to(earlier)):
                ways = [only]
        failure: NotDone | None = None
        while True:
            async with AsyncExitStack() as stack:
                try:
                    way, passage = await first_open(ways, stack)
                except BreakerOpen as closed:
                    raise failure or closed from None
                if not context.is_fresh:
                    # It may have waited for its turn at one that it does not go to now.
                    for other in errand.ways:
                        if other is not way and other.limit:
                            context.forgo(other.limit)
                if way.limit:
                    await stack.enter_async_context(context.within(way.limit))
                try:
                    return await self._send_once(context, errand, way, passage)
                except KeptTo as kept:
                    ways = [kept.way]
                except NotDone as not_done:
                    until_usable(way, not_done)
                    ways = [other for other in ways if other is not way]
                    # Where its provider is only having a bad moment, the next try is early enough.
                    if not ways or not isinstance(not_done, ProviderFailure) or not way.breaker.is_open:
                        raise
                    failure = not_done

    async def _send_once(self, context: Context, errand: Errand, way: Way, passage: Passage) -> SentMessage:
        context.ensure_held()
        message = errand.by(way)
        is_unsettled = False
        earlier = await self._ledger.begin(message)
        if earlier is not None:
            fate = await self._fate_of(context, errand, way, passage, earlier)
            if isinstance(fate, _Sent):
                return _already_sent(fate)
            is_unsettled = fate is _Fate.UNKNOWN
            if not await self._ledger.resume(message, earlier):
                raise BeingSent(message.channel, self._longest_send)
        try:
            # From here to the provider's answer lies what can't be undone.
            context.ensure_held()
            provider_id = await called(passage, way.send())
        except asyncio.CancelledError:
            self._ledger.end_soon(MessageEnd(message, "unknown", error="its job was ended while it was being sent"))
            raise
        except Refused as error:
            # That an earlier attempt may have sent it is still true.
            await self._end(message, "unknown" if is_unsettled else "refused", error=error)
            raise
        except NotDone as error:
            await self._end(message, "unknown" if is_unsettled else "failed", error=error)
            raise
        except OutcomeUnknown as error:
            await self._end(message, "unknown", error=error)
            if way.find is None and not errand.resend_unknown:
                raise
            raise NotSettledYet(str(error)) from error
        await self._end(message, "sent", provider_id=provider_id, twice=is_unsettled)
        if way is not errand.ways[0]:
            self._note_switch(message, errand.ways[0].provider)
        return {"status": "sent", "provider": message.provider, "message_id": provider_id}

    async def _fate_of(
        self, context: Context, errand: Errand, way: Way, passage: Passage, earlier: EarlierMessage
    ) -> "_Sent | _Fate":
        """What an earlier attempt or the provider tells. Raises what keeps it from being sent now."""
        channel = errand.message.channel
        match earlier.status:
            case "sent":
                return _Sent(earlier.provider, earlier.provider_message_id)
            case "refused" if earlier.job_id == context.job_id:
                raise RefusedBefore(earlier.error or "refused before")
            case "refused" | "failed":
                return _Fate.NOT_SENT
            case "sending" if earlier.unchanged_for < self._longest_send:
                raise BeingSent(channel, self._longest_send - earlier.unchanged_for)
            case "sending" | "unknown":
                # Whoever was sending it died or never heard the answer.
                only = errand.kept_to(earlier)
                if only is not None and only is not way:
                    raise KeptTo(only)
                fate = await self._look_up(way, passage, earlier)
        if isinstance(fate, _Sent):
            # It was the earlier attempt that sent it.
            theirs = replace(errand.message, attempt=earlier.attempt, provider=way.provider)
            await self._end(theirs, "sent", provider_id=fate.message_id)
        elif fate is _Fate.UNKNOWN:
            if not errand.resend_unknown:
                raise MayHaveBeenSent(channel)
            log.warning("message.possibly_twice", channel=channel, provider=way.provider)
        return fate

    async def _look_up(self, way: Way, passage: Passage, earlier: EarlierMessage) -> "_Sent | _Fate":
        if way.find is None or earlier.provider != way.provider:
            return _Fate.UNKNOWN
        now = datetime.now(UTC)
        last_news = now - earlier.unchanged_for
        until = last_news + self._longest_send if earlier.status == "sending" else last_news
        try:
            found = await asked(passage, way.find(now - earlier.age, until))
        except OutcomeUnknown:
            return _Fate.UNKNOWN
        return _Fate.NOT_SENT if found is None else _Sent(way.provider, found)

    def _way(
        self,
        provider: str,
        send: Callable[[], Awaitable[str]],
        find: Callable[[datetime, datetime], Awaitable[str | None]] | None = None,
    ) -> Way:
        return Way(provider, self._breakers[provider], self._limits.get(provider), send, find)

    def _note_switch(self, message: NewMessage, instead_of: str) -> None:
        log.warning("message.switched", channel=message.channel, provider=message.provider, instead_of=instead_of)
        if self._on_switch is not None:
            self._on_switch(message.channel, instead_of, message.provider)

    async def _end(
        self,
        message: NewMessage,
        status: Literal["sent", "refused", "failed", "unknown"],
        *,
        provider_id: str | None = None,
        error: Exception | None = None,
        twice: bool = False,
    ) -> None:
        reason = None if error is None else str(error)
        await self._ledger.end(MessageEnd(message, status, provider_id, reason, twice))
        log.info(
            "message.ended",
            status=status,
            channel=message.channel,
            provider=message.provider,
            template=message.template,
            message_id=provider_id,
            reason=reason,
        )


class _Fate(Enum):
    NOT_SENT = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class _Sent:
    provider: str | None
    message_id: str | None


async def _found(provider: SmsProvider, sms: Sms, since: datetime, until: datetime) -> str | None:
    return await provider.find(sms, since=since, until=until)


def _already_sent(sent: _Sent) -> SentMessage:
    return {"status": "already_sent", "provider": sent.provider, "message_id": sent.message_id}


def _new_message(
    context: Context,
    channel: Channel,
    template: str | None,
    recipient: str,
    provider: str,
    size: SmsSize | None = None,
) -> NewMessage:
    return NewMessage(context.root_id, channel, context.job_id, uuid4().hex, template, recipient, provider, size)


def _key(message: NewMessage) -> str:
    return f"{message.root_job_id}:{message.channel}"
