"""Twilio's Messages."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import httpx
from pydantic import BaseModel, BeforeValidator, Field, SecretStr, ValidationError

from app.providers.failures import (
    Misconfigured,
    NotListedYet,
    ProviderDeferred,
    ProviderFailure,
    ProviderNotDone,
    ProviderOutcomeUnknown,
    ProviderRefused,
    masked,
)
from app.providers.http import MessageId, exchange, retry_after, rfc5322_date
from app.providers.sms import Sms

# What Twilio's error code means, where it has none or an unlisted one the status, and else the status' hundred.
# Source: Twilio, Error and Warning Dictionary.
_OUTCOMES: Mapping[int, type[ProviderFailure]] = {
    20003: Misconfigured,  # wrong credentials, or the account is suspended
    20404: Misconfigured,  # no such account
    20429: ProviderDeferred,
    21211: ProviderRefused,  # not a number
    21212: Misconfigured,  # our own number is none
    21408: ProviderRefused,  # a country we may not send to
    21606: ProviderRefused,  # the sender can't send SMS
    21608: ProviderRefused,  # a trial account and a number that is not verified
    21610: ProviderRefused,  # unsubscribed
    21611: ProviderDeferred,  # the sender's queue at Twilio is full
    21614: ProviderRefused,  # not a mobile number
    21701: Misconfigured,  # no such messaging service
    21901: ProviderRefused,  # not a registered template
    401: Misconfigured,
    408: ProviderNotDone,
    429: ProviderDeferred,
}
_OUTCOMES_BY_HUNDRED: Mapping[int, type[ProviderFailure]] = {
    3: Misconfigured,  # a redirect: the base URL is not Twilio's
    4: ProviderRefused,
}

_NOT_SENT: Final = frozenset({"failed", "undelivered", "canceled"})
_PAGE_SIZE: Final = 400  # about 0.4 MB, and most customers' whole history
_MAX_PAGES: Final = 3
# Twilio promises nothing about how soon a message is on the list, and users have seen it lag.
_LISTED_AFTER: Final = timedelta(minutes=1)
_CLOCK_SKEW: Final = timedelta(seconds=5)


class _Problem(BaseModel):
    code: int
    message: str


class _Accepted(BaseModel):
    sid: MessageId


class _Listed(BaseModel):
    sid: MessageId
    to: str
    body: str | None
    status: str
    date_created: Annotated[
        datetime, BeforeValidator(lambda value: rfc5322_date(value) if isinstance(value, str) else value)
    ]


class _Page(BaseModel):
    messages: list[_Listed]
    # A path: joined to the base URL, it can't lead our credentials to another host.
    next_page_uri: Annotated[str, Field(pattern="^/")] | None


class Twilio:
    """Twilio's Messages, sent from a number or by a messaging service."""

    name = "twilio"

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        base_url: str,
        account_sid: str,
        auth_token: SecretStr,
        phone_number: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`phone_number` is a sender's number or the SID of a messaging service."""
        self._client = client
        self._base_url = base_url
        self._messages_url = httpx.URL(f"{base_url}/2010-04-01/Accounts/{account_sid}/Messages.json")
        self._auth = httpx.BasicAuth(account_sid, auth_token.get_secret_value())
        self._sender = {"MessagingServiceSid" if phone_number.startswith("MG") else "From": phone_number}
        self._now = now

    def carries(self, template: str | None, locale: str) -> bool:  # noqa: ARG002 -- any
        return True

    async def send(self, sms: Sms) -> str:
        form = {"To": sms.to, **self._sender, "Body": sms.text}
        request = self._client.build_request("POST", self._messages_url, data=form)
        answer = await exchange(self._client, self.name, request, auth=self._auth)
        if not answer.is_success:
            raise self._failure(answer, sms)
        try:
            return _Accepted.model_validate_json(answer.content).sid
        except ValidationError:  # not chained: it quotes the answer
            raise ProviderOutcomeUnknown(self.name, str(answer.status_code), "its answer can't be read") from None

    async def find(self, sms: Sms, *, since: datetime, until: datetime) -> str | None:
        """As `SmsProvider.find`: a message with this number and text that has not failed.

        Reads the whole list of the number. Twilio's DateSent filter would shorten it, but a message still queued has
        no such date: it could be left out, and then sent again.
        """
        url = self._messages_url.copy_with(params={"To": sms.to, "PageSize": _PAGE_SIZE})
        for _ in range(_MAX_PAGES):
            page = await self._page(url, sms)
            for message in page.messages:
                if (
                    (message.to, message.body) == (sms.to, sms.text)
                    and message.date_created >= since - _CLOCK_SKEW
                    and message.status not in _NOT_SENT
                ):
                    return message.sid
            if page.next_page_uri is None:
                break
            url = httpx.URL(f"{self._base_url}{page.next_page_uri}")
        else:
            raise ProviderOutcomeUnknown(self.name, "list", "its list of messages is too long to read")
        too_early = until + _LISTED_AFTER - self._now()
        if too_early > timedelta(0):
            raise NotListedYet(self.name, "list", "the message is not on its list, or not yet", retry_after=too_early)
        return None

    async def _page(self, url: httpx.URL, sms: Sms) -> _Page:
        request = self._client.build_request("GET", url)
        try:
            answer = await exchange(self._client, self.name, request, auth=self._auth)
        except ProviderOutcomeUnknown as failure:
            # A question that was not answered can be asked again.
            raise ProviderNotDone(self.name, failure.code, failure.message) from failure
        if answer.status_code != httpx.codes.OK:
            problem = self._failure(answer, sms)
            if isinstance(problem, ProviderOutcomeUnknown):
                raise ProviderNotDone(self.name, problem.code, problem.message, retry_after=problem.retry_after)
            raise problem
        try:
            return _Page.model_validate_json(answer.content)
        except ValidationError:  # not chained: it quotes the answer
            raise ProviderOutcomeUnknown(self.name, "list", "its list of messages can't be read") from None

    def _failure(self, answer: httpx.Response, sms: Sms) -> ProviderFailure:
        status = answer.status_code
        try:
            problem = _Problem.model_validate_json(answer.content)
        except ValidationError:  # not Twilio's words: a proxy's page might quote the message
            problem = _Problem(code=status, message=answer.reason_phrase)
        outcome = (
            _OUTCOMES.get(problem.code)
            or _OUTCOMES.get(status)
            or _OUTCOMES_BY_HUNDRED.get(status // 100, ProviderOutcomeUnknown)
        )
        return outcome(
            self.name,
            str(problem.code),
            masked(problem.message, sms.to),
            retry_after=retry_after(answer, self._now()),
        )
