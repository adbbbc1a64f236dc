"""Sending a message once: ledger, provider and what to do when nobody knows."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, TypedDict

import structlog

from app.db.messages import Channel
from app.errors import NotDone, OutcomeUnknown, Refused
from app.jobs.context import Context
from app.notify.ledger import EarlierMessage, MessageEnd, MessageLedger, NewMessage, Resumption
from app.notify.recipients import mask_email, mask_phone
from app.providers.gate import Gate
from app.providers.mail import EmailProvider, Mail
from app.providers.sms import Sms, SmsProvider

log = structlog.stdlib.get_logger(__name__)


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


class SentElsewhere(NotDone):
    """Another worker is sending this message at this moment."""

    def __str__(self) -> str:
        return "another worker is sending this message"


@dataclass(frozen=True, slots=True)
class _Errand:
    """One message on its way: how to send it, how to ask about it, and whether to send it though nobody knows."""

    message: NewMessage
    send: Callable[[], Awaitable[str]]
    find: Callable[[datetime], Awaitable[str | None]] | None
    resend_unknown: bool


class Messenger:
    """Sends each message at most once a key (root job, channel), through one provider for mail and one for SMS."""

    def __init__(
        self,
        ledger: MessageLedger,
        email: EmailProvider,
        sms: SmsProvider,
        *,
        resend_unknown_mail: bool,
        resend_unknown_sms: bool,
    ) -> None:
        self._ledger = ledger
        self._email = email
        self._sms = sms
        self._email_gate = Gate()
        self._sms_gate = Gate()
        self._resend_unknown_mail = resend_unknown_mail
        self._resend_unknown_sms = resend_unknown_sms

    async def send_mail(
        self, context: Context, *, to: str, subject: str, text: str, html: str | None, template: str | None = None
    ) -> SentMessage:
        """The mail's fate. Raises Refused, NotDone or OutcomeUnknown where it was not sent."""
        message = _new_message(context, "email", template, mask_email(to), self._email.name)
        mail = Mail(to=to, subject=subject, text=text, html=html, key=_key(message))
        errand = _Errand(
            message,
            send=lambda: self._email_gate.call(self._email.send, mail),
            find=None,
            resend_unknown=self._resend_unknown_mail,
        )
        return await self._send_once(context, errand)

    async def send_sms(self, context: Context, *, to: str, text: str, template: str | None = None) -> SentMessage:
        """The SMS's fate. Raises Refused, NotDone or OutcomeUnknown where it was not sent."""
        message = _new_message(context, "sms", template, mask_phone(to), self._sms.name)
        sms = Sms(to=to, text=text, key=_key(message))
        errand = _Errand(
            message,
            send=lambda: self._sms_gate.call(self._sms.send, sms),
            find=lambda since: self._sms.find(sms, since=since),
            resend_unknown=self._resend_unknown_sms,
        )
        return await self._send_once(context, errand)

    async def _send_once(self, context: Context, errand: _Errand) -> SentMessage:
        earlier = await self._ledger.begin(errand.message)
        if earlier is not None:
            known = await self._settle_earlier(context, errand, earlier)
            if known is not None:
                return known
        try:
            # From here to the provider's answer lies what can't be undone.
            context.ensure_held()
            provider_id = await errand.send()
        except Refused as error:
            await self._end(errand, "refused", error=error)
            raise
        except NotDone as error:
            await self._end(errand, "failed", error=error)
            raise
        except OutcomeUnknown as error:
            await self._end(errand, "unknown", error=error)
            if errand.find is None and not errand.resend_unknown:
                raise
            # The next try asks first, or sends it again and says so.
            raise NotSettledYet(str(error)) from error
        await self._end(errand, "sent", provider_id=provider_id)
        return {"status": "sent", "provider": errand.message.provider, "message_id": provider_id}

    async def _settle_earlier(self, context: Context, errand: _Errand, earlier: EarlierMessage) -> SentMessage | None:
        """The message's fate where an earlier attempt or a look-up tells it; None when it is to be sent now."""
        if earlier.status == "sent":
            return _already(earlier.provider, earlier.provider_message_id)
        if earlier.status == "refused" and earlier.job_id == context.job_id:
            raise RefusedBefore(earlier.error or "refused before")
        possibly_twice = earlier.possibly_twice
        if earlier.status in ("sending", "unknown"):
            # Whoever was sending it died or never heard the answer.
            found, certainly_not = await self._look_up(context, errand, earlier)
            if found is not None:
                await self._end(errand, "sent", provider_id=found)
                return _already(errand.message.provider, found)
            if not certainly_not:
                if not errand.resend_unknown:
                    raise MayHaveBeenSent(errand.message.channel)
                possibly_twice = True
        if not await self._ledger.resume(Resumption(errand.message, earlier, possibly_twice)):
            raise SentElsewhere
        if possibly_twice:
            log.warning("message.possibly_twice", channel=errand.message.channel, provider=errand.message.provider)
        return None

    async def _look_up(self, context: Context, errand: _Errand, earlier: EarlierMessage) -> tuple[str | None, bool]:
        """The id of the message at the provider, and whether it certainly has none."""
        if errand.find is None or earlier.provider != errand.message.provider:
            return None, False
        since = datetime.now(UTC) - timedelta(seconds=earlier.age_seconds)
        try:
            found = await errand.find(since)
        except OutcomeUnknown as error:
            ask_again = getattr(error, "retry_after", None)
            if ask_again is not None and context.job_try < context.max_tries:
                raise NotSettledYet(str(error), retry_after=ask_again) from error
            return None, False
        return found, found is None

    async def _end(
        self,
        errand: _Errand,
        status: Literal["sent", "refused", "failed", "unknown"],
        *,
        provider_id: str | None = None,
        error: Exception | None = None,
    ) -> None:
        message = errand.message
        await self._ledger.end(MessageEnd(message, status, provider_id, None if error is None else str(error)))
        log.info(
            "message.ended",
            status=status,
            channel=message.channel,
            provider=message.provider,
            template=message.template,
            message_id=provider_id,
            reason=None if error is None else str(error),
        )


class MayHaveBeenSent(OutcomeUnknown):
    """The message may have been sent, nobody can tell, and the settings say not to send such a message again."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self.channel = channel

    def __str__(self) -> str:
        return f"the {self.channel} may have been sent before, and nobody can tell"


def _new_message(context: Context, channel: Channel, template: str | None, recipient: str, provider: str) -> NewMessage:
    return NewMessage(context.root_id, channel, context.job_id, template, recipient, provider)


def _key(message: NewMessage) -> str:
    return f"{message.root_job_id}:{message.channel}"


def _already(provider: str | None, message_id: str | None) -> SentMessage:
    return {"status": "already_sent", "provider": provider, "message_id": message_id}
