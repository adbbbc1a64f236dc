"""Sending a message once: ledger, provider and what to do when nobody knows."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Final, Literal, TypedDict
from uuid import uuid4

import structlog

from app.db.messages import Channel
from app.errors import NotDone, OutcomeUnknown, Refused, Unavailable
from app.jobs.context import Context
from app.jobs.limits import Limit
from app.notify.ledger import EarlierMessage, MessageEnd, MessageLedger, NewMessage
from app.notify.recipients import mask_email, mask_phone
from app.notify.segments import SmsSize, size_of
from app.providers.gate import Gate
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


class RefusedBefore(Refused):
    """An earlier attempt of this job had this message refused."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class NotSettledYet(NotDone):
    """The message may have been sent. The next try asks the provider, or sends it again and says so."""


class BeingSent(Unavailable):
    """Another attempt may be sending this message at this moment; waiting for it costs no try."""

    def __init__(self, channel: Channel, retry_after: timedelta) -> None:
        super().__init__(channel, retry_after=retry_after)
        self.channel = channel

    def __str__(self) -> str:
        return f"another attempt may be sending this {self.channel} at this moment"


class MayHaveBeenSent(OutcomeUnknown):
    """The message may have been sent, nobody can tell, and the settings say not to send such a message again."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self.channel = channel

    def __str__(self) -> str:
        return f"the {self.channel} may have been sent before, and nobody can tell"


@dataclass(frozen=True, slots=True)
class _Errand:
    """One message on its way: how to send it, how to ask about it (since when, and sent until when at the latest),
    and whether to send it though nobody knows."""

    message: NewMessage
    send: Callable[[], Awaitable[str]]
    find: Callable[[datetime, datetime], Awaitable[str | None]] | None
    resend_unknown: bool


class Messenger:
    """Sends each message at most once a key (root job, channel), through one provider for mail and one for SMS.

    A provider keeps to the one of `limits` that has its name.
    """

    def __init__(
        self,
        ledger: MessageLedger,
        email: EmailProvider,
        sms: SmsProvider,
        *,
        resend_unknown_mail: bool,
        resend_unknown_sms: bool,
        longest_send: timedelta = LONGEST_SEND,
        limits: Iterable[Limit] = (),
    ) -> None:
        self._ledger = ledger
        self._email = email
        self._sms = sms
        self._email_gate = Gate()
        self._sms_gate = Gate()
        self._resend_unknown_mail = resend_unknown_mail
        self._resend_unknown_sms = resend_unknown_sms
        self._longest_send = longest_send
        self._limits = {limit.name: limit for limit in limits if limit}

    async def send_mail(
        self, context: Context, *, to: str, subject: str, text: str, html: str | None, template: str | None = None
    ) -> SentMessage:
        """The mail's fate. Raises Refused, NotDone (OverLimit) or OutcomeUnknown where it was not sent."""
        message = _new_message(context, "email", template, mask_email(to), self._email.name)
        mail = Mail(to=to, subject=subject, text=text, html=html, key=_key(message))
        errand = _Errand(
            message,
            send=lambda: self._email_gate.call(self._email.send, mail),
            find=None,
            resend_unknown=self._resend_unknown_mail,
        )
        return await self._send_in_turn(context, errand)

    async def send_sms(
        self,
        context: Context,
        *,
        to: str,
        text: str,
        template: str | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> SentMessage:
        """The SMS's fate. Raises Refused, NotDone (OverLimit) or OutcomeUnknown where it was not sent.

        `variables` are what the template's text was filled in with, for a provider that has the text already.
        """
        message = _new_message(context, "sms", template, mask_phone(to), self._sms.name, size_of(text))
        sms = Sms(to=to, text=text, key=_key(message), template=template, variables=variables or {})
        errand = _Errand(
            message,
            send=lambda: self._sms_gate.call(self._sms.send, sms),
            find=lambda since, until: self._sms.find(sms, since=since, until=until),
            resend_unknown=self._resend_unknown_sms,
        )
        return await self._send_in_turn(context, errand)

    async def drained(self) -> None:
        """Returns when everything that became of messages is on record."""
        await self._ledger.drained()

    async def _send_in_turn(self, context: Context, errand: _Errand) -> SentMessage:
        limit = self._limits.get(errand.message.provider)
        if limit is None:
            return await self._send_once(context, errand)
        if not context.is_fresh:
            # A mail that went out while its SMS had to wait must not wait for another turn.
            earlier = await self._ledger.find(errand.message)
            if earlier is not None and earlier.status == "sent":
                return _already_sent(_Sent(earlier.provider, earlier.provider_message_id))
        async with context.within(limit):
            return await self._send_once(context, errand)

    async def _send_once(self, context: Context, errand: _Errand) -> SentMessage:
        context.ensure_held()
        message = errand.message
        is_unsettled = False
        earlier = await self._ledger.begin(message)
        if earlier is not None:
            fate = await self._fate_of(context, errand, earlier)
            if isinstance(fate, _Sent):
                return _already_sent(fate)
            is_unsettled = fate is _Fate.UNKNOWN
            if not await self._ledger.resume(message, earlier):
                raise BeingSent(message.channel, self._longest_send)
        try:
            # From here to the provider's answer lies what can't be undone.
            context.ensure_held()
            provider_id = await errand.send()
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
            if errand.find is None and not errand.resend_unknown:
                raise
            raise NotSettledYet(str(error)) from error
        await self._end(message, "sent", provider_id=provider_id, twice=is_unsettled)
        return {"status": "sent", "provider": message.provider, "message_id": provider_id}

    async def _fate_of(self, context: Context, errand: _Errand, earlier: EarlierMessage) -> "_Sent | _Fate":
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
                fate = await self._look_up(errand, earlier)
        if isinstance(fate, _Sent):
            # It was the earlier attempt that sent it.
            theirs = replace(errand.message, attempt=earlier.attempt)
            await self._end(theirs, "sent", provider_id=fate.message_id)
        elif fate is _Fate.UNKNOWN:
            if not errand.resend_unknown:
                raise MayHaveBeenSent(channel)
            log.warning("message.possibly_twice", channel=channel, provider=errand.message.provider)
        return fate

    async def _look_up(self, errand: _Errand, earlier: EarlierMessage) -> "_Sent | _Fate":
        if errand.find is None or earlier.provider != errand.message.provider:
            return _Fate.UNKNOWN
        now = datetime.now(UTC)
        last_news = now - earlier.unchanged_for
        until = last_news + self._longest_send if earlier.status == "sending" else last_news
        try:
            found = await errand.find(now - earlier.age, until)
        except OutcomeUnknown:
            return _Fate.UNKNOWN
        return _Fate.NOT_SENT if found is None else _Sent(errand.message.provider, found)

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
