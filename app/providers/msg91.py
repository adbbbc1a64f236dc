"""MSG91's flow API, which sends registered (DLT) texts only."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from app.providers.failures import (
    Misconfigured,
    ProviderDeferred,
    ProviderFailure,
    ProviderNotDone,
    ProviderOutcomeUnknown,
    ProviderRefused,
    masked,
)
from app.providers.http import MessageId, exchange, retry_after
from app.providers.sms import Sms
from app.setting_values import DltTemplate

# What an error code means, where it has none or an unlisted one the status, and else the status' hundred.
# Source: MSG91, Error Codes.
_OUTCOMES: Mapping[str, type[ProviderFailure]] = {
    "001": ProviderNotDone,  # their database can't be reached
    "002": ProviderNotDone,
    "101": ProviderRefused,  # no number
    "102": ProviderRefused,  # no text
    "103": Misconfigured,  # no sender
    "106": Misconfigured,  # no key
    "107": Misconfigured,  # no route
    "201": Misconfigured,  # a wrong key
    "202": ProviderRefused,  # not a number
    "203": Misconfigured,  # not a sender
    "205": Misconfigured,  # a route for bulk only
    "207": Misconfigured,  # a wrong key
    "208": Misconfigured,  # our address is on a black list
    "209": Misconfigured,  # no route
    "210": Misconfigured,
    "301": Misconfigured,  # no credit left
    "302": Misconfigured,  # the account has expired
    "303": Misconfigured,  # the account is banned
    "306": ProviderDeferred,  # a route for the day, and it is night
    "310": ProviderRefused,  # too long
    "311": ProviderDeferred,  # discarded: the same was sent seconds ago
    "418": Misconfigured,  # our address is not on their list
    "505": Misconfigured,  # a demo account
    "506": ProviderDeferred,  # too many small sendings today
    "601": ProviderOutcomeUnknown,  # an internal error
    "401": Misconfigured,
    "403": Misconfigured,
    "404": Misconfigured,
    "408": ProviderNotDone,
    "429": ProviderDeferred,
}
_OUTCOMES_BY_HUNDRED: Mapping[int, type[ProviderFailure]] = {
    2: ProviderRefused,  # most of its refusals come with status 200
    3: Misconfigured,  # a redirect: the base URL is not that of MSG91
    4: ProviderRefused,
}
# How long MSG91 takes the same text to the same number for one sent by mistake.
_DISCARDS: Final = "311"
_DISCARDED_FOR: Final = timedelta(seconds=10)

_MESSAGE_ID: TypeAdapter[str] = TypeAdapter(MessageId)


class _Answer(BaseModel):
    """What `message` says depends on `type`: the id of what was taken, or why it was not.

    Whoever guards the API answers in another form, with `errors` and `apiError`.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)

    type: str = ""
    message: str = ""
    code: str = ""
    api_error: str = Field(default="", alias="apiError")
    errors: Any = None

    @property
    def words(self) -> str:
        return self.message or (self.errors if isinstance(self.errors, str) else "")


class Msg91:
    """MSG91's flows: texts that were registered before, by their id, with named variables.

    It has no idempotency key, and can't be asked for a message whose id it did not tell.
    """

    name = "msg91"

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        base_url: str,
        auth_key: SecretStr,
        templates: Mapping[tuple[str, str], DltTemplate],
        sender_id: str | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`templates` by type of notification and language. `sender_id` None leaves the sender to the flow."""
        self._client = client
        self._url = httpx.URL(f"{base_url}/api/v5/flow")
        self._headers = httpx.Headers({"authkey": auth_key.get_secret_value(), "Accept": "application/json"})
        self._templates = templates
        self._sender_id = sender_id
        self._now = now

    def carries(self, template: str | None, locale: str) -> bool:
        """Only what has a registered text."""
        return (template, locale) in self._templates

    async def send(self, sms: Sms) -> str:
        """As `SmsProvider.send`. Refuses what has no registered text, free text among it, without a request."""
        request = self._client.build_request("POST", self._url, headers=self._headers, json=self._body(sms))
        answer = await exchange(self._client, self.name, request)
        try:
            said = _Answer.model_validate_json(answer.content)
        except ValidationError:  # not MSG91's words: a proxy's page might quote the message
            if answer.is_success:
                raise self._unreadable(answer) from None
            raise self._failure(answer, _Answer(), sms) from None
        if said.type == "success" and answer.is_success:
            return self._message_id(said, answer)
        if answer.is_success and said.type != "error" and not said.code and not said.api_error:
            raise self._unreadable(answer)
        raise self._failure(answer, said, sms)

    async def find(self, sms: Sms, *, since: datetime, until: datetime) -> str | None:  # noqa: ARG002 -- none of it helps
        """Raises ProviderOutcomeUnknown, always: MSG91 finds messages by the id that we were not told."""
        raise ProviderOutcomeUnknown(self.name, "report", "it can't be asked for a message without its id")

    def _body(self, sms: Sms) -> dict[str, Any]:
        template = self._templates.get((sms.template or "", sms.locale))
        if template is None:
            what = "free text" if sms.template is None else f"{sms.template} ({sms.locale})"
            words = f"it sends registered texts only, and {what} has no DLT template"
            raise ProviderRefused(self.name, "no template", words)
        variables = {
            name: part
            for ours, names in template.names.items()
            for name, part in zip(names, _in_parts(sms.variables[ours], len(names)), strict=True)
        }
        body: dict[str, Any] = {
            "template_id": template.template_id,
            "short_url": "0",
            "recipients": [{**variables, "mobiles": sms.to.removeprefix("+")}],
        }
        if self._sender_id:
            body["sender"] = self._sender_id
        return body

    def _message_id(self, said: _Answer, answer: httpx.Response) -> str:
        try:
            return _MESSAGE_ID.validate_python(said.message)
        except ValidationError:
            raise self._unreadable(answer) from None

    def _unreadable(self, answer: httpx.Response) -> ProviderFailure:
        return ProviderOutcomeUnknown(self.name, str(answer.status_code), "its answer can't be read")

    def _failure(self, answer: httpx.Response, said: _Answer, sms: Sms) -> ProviderFailure:
        status = str(answer.status_code)
        code = next((code for code in (said.api_error, said.code) if code in _OUTCOMES), status)
        outcome = _OUTCOMES.get(code) or _OUTCOMES_BY_HUNDRED.get(answer.status_code // 100, ProviderOutcomeUnknown)
        wait = _DISCARDED_FOR if code == _DISCARDS else retry_after(answer, self._now())
        return outcome(self.name, code, masked(said.words or answer.reason_phrase, sms.to), retry_after=wait)


def _in_parts(words: str, number: int) -> Iterator[str]:
    """The words in so many parts of the same length, give or take one character: none is empty that needn't be."""
    length, longer = divmod(len(words), number)
    start = 0
    for part in range(number):
        end = start + length + (part < longer)
        yield words[start:end]
        start = end
