"""SendGrid's v3 Mail Send."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
from pydantic import BaseModel, SecretStr, ValidationError

from app.providers.failures import (
    Misconfigured,
    ProviderDeferred,
    ProviderFailure,
    ProviderNotDone,
    ProviderOutcomeUnknown,
    ProviderRefused,
    masked,
)
from app.providers.http import exchange, retry_after
from app.providers.mail import Mail, Sender

# What a status other than 202 means, and where it is not listed, its hundred.
# A 200 answers sandbox requests, which we don't make: "valid, but not queued to be delivered". Who answers so, or
# with a redirect, is not SendGrid as it should be set up. Source: SendGrid, v3 Mail Send, responses.
_OUTCOMES: Mapping[int, type[ProviderFailure]] = {
    200: Misconfigured,
    401: Misconfigured,
    408: ProviderNotDone,
    429: ProviderDeferred,
}
_OUTCOMES_BY_HUNDRED: Mapping[int, type[ProviderFailure]] = {
    2: ProviderOutcomeUnknown,
    3: Misconfigured,
    4: ProviderRefused,
    5: ProviderNotDone,
}


class SendGrid:
    """SendGrid's v3 Mail Send."""

    name = "sendgrid"

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        base_url: str,
        api_key: SecretStr,
        sender: Sender,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._url = httpx.URL(f"{base_url}/v3/mail/send")
        self._headers = httpx.Headers({"Authorization": f"Bearer {api_key.get_secret_value()}"})
        self._sender = sender
        self._now = now

    async def send(self, mail: Mail) -> str:
        """As `EmailProvider.send`; empty if SendGrid accepts the mail without naming an id."""
        request = self._client.build_request("POST", self._url, headers=self._headers, json=self._body(mail))
        answer = await exchange(self._client, self.name, request)
        if answer.status_code == httpx.codes.ACCEPTED:
            return str(answer.headers.get("X-Message-Id", ""))
        raise self._failure(answer, mail)

    def _body(self, mail: Mail) -> dict[str, Any]:
        content = [{"type": "text/plain", "value": mail.text}]
        if mail.html is not None:
            content.append({"type": "text/html", "value": mail.html})
        body: dict[str, Any] = {
            "personalizations": [{"to": [{"email": mail.to}], "custom_args": {"message_key": mail.key}}],
            "from": {"email": self._sender.email, "name": self._sender.name},
            "subject": mail.subject,
            "content": content,
        }
        if self._sender.reply_to:
            body["reply_to"] = {"email": self._sender.reply_to}
        if self._sender.list_unsubscribe:
            body["headers"] = {"List-Unsubscribe": self._sender.list_unsubscribe}
        return body

    def _failure(self, answer: httpx.Response, mail: Mail) -> ProviderFailure:
        status = answer.status_code
        outcome = _OUTCOMES.get(status) or _OUTCOMES_BY_HUNDRED.get(status // 100, ProviderOutcomeUnknown)
        return outcome(
            self.name,
            str(status),
            masked(_words(answer), mail.to),
            retry_after=retry_after(answer, self._now()),
        )


class _Problem(BaseModel):
    message: str
    field: str | None = None

    def __str__(self) -> str:
        return f"{self.message} ({self.field})" if self.field else self.message


class _Problems(BaseModel):
    errors: list[_Problem]


def _words(answer: httpx.Response) -> str:
    """SendGrid's own words; for an answer that is not SendGrid's (which might quote the mail), the status'."""
    try:
        problems = _Problems.model_validate_json(answer.content)
    except ValidationError:
        return answer.reason_phrase
    return "; ".join(map(str, problems.errors)) or answer.reason_phrase
