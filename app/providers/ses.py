"""Amazon SES, by version 2 of its HTTP API."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import formataddr
from typing import Any, Final

import httpx
from httpx_auth import AWS4Auth
from pydantic import AliasChoices, BaseModel, Field, SecretStr, ValidationError

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
from app.providers.mail import Mail, Sender

# What the error's type means, where it has none or an unlisted one the status, and else the status' hundred.
# Source: Amazon SES API v2, SendEmail and Common Errors.
_OUTCOMES: Mapping[str, type[ProviderFailure]] = {
    "TooManyRequestsException": ProviderDeferred,
    "ThrottlingException": ProviderDeferred,
    "Throttling": ProviderDeferred,
    "LimitExceededException": ProviderDeferred,
    "RequestTimeout": ProviderNotDone,
    "RequestTimeoutException": ProviderNotDone,
    "ServiceUnavailable": ProviderNotDone,
    "ServiceUnavailableException": ProviderNotDone,
    "MessageRejected": ProviderRefused,
    "MailFromDomainNotVerifiedException": ProviderRefused,
    "BadRequestException": ProviderRefused,
    "AccountSuspendedException": ProviderRefused,
    "SendingPausedException": ProviderRefused,
    "NotFoundException": Misconfigured,  # no such configuration set
    "AccessDeniedException": Misconfigured,
    "NotAuthorized": Misconfigured,
    "UnrecognizedClientException": Misconfigured,
    "InvalidClientTokenId": Misconfigured,
    "InvalidSignatureException": Misconfigured,  # a wrong secret, or a clock that is wrong by minutes
    "SignatureDoesNotMatch": Misconfigured,
    "IncompleteSignature": Misconfigured,
    "MissingAuthenticationTokenException": Misconfigured,
    "ExpiredTokenException": Misconfigured,
    "RequestExpired": Misconfigured,
    "OptInRequired": Misconfigured,
    "408": ProviderNotDone,
    "429": ProviderDeferred,
    "401": Misconfigured,
    "403": Misconfigured,
    "404": Misconfigured,
    "503": ProviderNotDone,
}
_OUTCOMES_BY_HUNDRED: Mapping[int, type[ProviderFailure]] = {
    3: Misconfigured,  # a redirect: the base URL is not that of SES
    4: ProviderRefused,
}
_MAX_TAG: Final = 256


class _Accepted(BaseModel):
    message_id: MessageId = Field(alias="MessageId")


class _Problem(BaseModel):
    """SES spells its words `message` or `Message`, depending on who says them."""

    message: str = Field(validation_alias=AliasChoices("message", "Message"))
    type: str = Field(default="", alias="__type")


class Ses:
    """SES's SendEmail. It knows no idempotency key, and can't be asked whether it has a message."""

    name = "ses"

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        base_url: str,
        region: str,
        access_key_id: str,
        secret_access_key: SecretStr,
        sender: Sender,
        configuration_set: str | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`configuration_set` is the one whose events SES publishes; without it, the tags of mails lead nowhere."""
        self._client = client
        self._url = httpx.URL(f"{base_url}/v2/email/outbound-emails")
        self._auth = AWS4Auth(access_key_id, secret_access_key.get_secret_value(), region, "ses")
        self._sender = sender
        self._configuration_set = configuration_set
        self._now = now

    async def send(self, mail: Mail) -> str:
        request = self._client.build_request("POST", self._url, json=self._body(mail))
        answer = await exchange(self._client, self.name, request, auth=self._auth)
        if not answer.is_success:
            raise self._failure(answer, mail)
        try:
            return _Accepted.model_validate_json(answer.content).message_id
        except ValidationError:  # not chained: it quotes the answer
            raise ProviderOutcomeUnknown(self.name, str(answer.status_code), "its answer can't be read") from None

    def _body(self, mail: Mail) -> dict[str, Any]:
        parts = {"Text": _utf8(mail.text)}
        if mail.html is not None:
            parts["Html"] = _utf8(mail.html)
        message: dict[str, Any] = {"Subject": _utf8(mail.subject), "Body": parts}
        if self._sender.list_unsubscribe:
            message["Headers"] = [{"Name": "List-Unsubscribe", "Value": self._sender.list_unsubscribe}]
        body: dict[str, Any] = {
            "FromEmailAddress": formataddr((self._sender.name, self._sender.email)),
            "Destination": {"ToAddresses": [mail.to]},
            "Content": {"Simple": message},
        }
        if self._sender.reply_to:
            body["ReplyToAddresses"] = [self._sender.reply_to]
        if len(tag := _tag_value(mail.key)) <= _MAX_TAG:
            body["EmailTags"] = [{"Name": "message_key", "Value": tag}]
        if self._configuration_set:
            body["ConfigurationSetName"] = self._configuration_set
        return body

    def _failure(self, answer: httpx.Response, mail: Mail) -> ProviderFailure:
        status = answer.status_code
        try:
            problem = _Problem.model_validate_json(answer.content)
        except ValidationError:  # not SES's words: a proxy's page might quote the mail
            problem = _Problem(message=answer.reason_phrase)
        kind = _kind(answer.headers.get("x-amzn-errortype", "") or problem.type)
        outcome = (
            _OUTCOMES.get(kind)
            or _OUTCOMES.get(str(status))
            or _OUTCOMES_BY_HUNDRED.get(status // 100, ProviderOutcomeUnknown)
        )
        return outcome(
            self.name,
            kind or str(status),
            masked(problem.message, mail.to),
            retry_after=retry_after(answer, self._now()),
        )


def _utf8(text: str) -> dict[str, str]:
    return {"Data": text, "Charset": "UTF-8"}


def _kind(error_type: str) -> str:
    """The name alone: the header may have a URL after a colon, the body a namespace before a hash."""
    name = error_type.partition(":")[0].rpartition("#")[2]
    return name if re.fullmatch("[A-Za-z]{1,100}", name) else ""


def _tag_value(key: str) -> str:
    """`key` in ASCII letters, digits, dashes and underscores; every other character, and `_` itself, as `_3A`.

    Source: Amazon SES API v2, MessageTag.
    """
    return "".join(
        character
        if character.isascii() and (character.isalnum() or character == "-")
        else "".join(f"_{byte:02X}" for byte in character.encode())
        for character in key
    )
