"""SendGrid's `POST /v3/mail/send`."""

import secrets
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.dev.fakes.inbox import Message, Provider
from app.dev.fakes.provider import Clock, Reply, media_type, telling_headers
from app.dev.fakes.sendgrid_mail import Mail

API_KEY = "SG.testkey"

# Message and field, by status.
REFUSALS: Mapping[int, tuple[str, str | None]] = {
    400: ("{} is not a valid address.", "personalizations.0.to.0.email"),
    401: ("Maximum credits exceeded", None),
    403: ("The from address does not match a verified Sender Identity.", "from"),
}


@dataclass
class FakeSendGrid:
    """`verified_senders` None lets every from address pass."""

    clock: Clock
    api_key: str = API_KEY
    verified_senders: Container[str] | None = None
    max_bytes: int = 30 * 1024 * 1024  # Source: SendGrid, v3 Mail Send, limitations

    async def reply(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {self.api_key}":
            return Reply(_error(401, "The provided authorization grant is invalid, expired, or revoked"))
        if request.scope["path"] != "/v3/mail/send":
            return Reply(_error(404, "not found"))
        if request.method != "POST":
            return Reply(_error(405, "method not allowed"))
        if media_type(request) != "application/json":
            return Reply(_error(415, "Content-Type should be application/json."))
        body = await request.body()
        if len(body) > self.max_bytes:
            return Reply(_error(413, "The JSON payload you have included in your request is too large."))
        try:
            mail = Mail.model_validate_json(body)
        except ValidationError as invalid:
            return Reply(_errors(400, [_problem(error) for error in invalid.errors()]))
        if self.verified_senders is not None and any(sender not in self.verified_senders for sender in mail.senders()):
            return Reply(_error(403, *REFUSALS[403]))
        if (sandbox := mail.mail_settings.get("sandbox_mode")) and sandbox.enable:
            return Reply(Response(status_code=200))
        message_id = secrets.token_urlsafe(16)
        answer = Response(status_code=202, headers={"X-Message-Id": message_id})
        return Reply(answer, tuple(self._messages(mail, message_id, telling_headers(request))))

    def failure(self, status: int) -> Response | None:
        message = {429: "too many requests", 500: "internal error"}.get(status)
        return _error(status, message) if message else None

    def refusal(self, code: str, recipient: str) -> Response:
        status = int(code)
        message, field = REFUSALS[status]
        return _error(status, message.format(recipient), field)

    def _messages(self, mail: Mail, message_id: str, headers: dict[str, str]) -> Iterator[Message]:
        """One for each personalization, all under the same id."""
        for personalization in mail.personalizations:
            details = {
                f"custom_args.{name}": value for name, value in (mail.custom_args | personalization.custom_args).items()
            }
            if mail.categories:
                details["categories"] = ", ".join(mail.categories)
            if mail.reply_to:
                details["reply_to"] = mail.reply_to.email
            if mail.template_id:
                details["template_id"] = mail.template_id
            yield Message(
                id=message_id,
                provider=Provider.SENDGRID,
                sender=(personalization.from_ or mail.from_).email,
                to=personalization.recipients(),
                subject=personalization.subject or mail.subject,
                text=mail.part("text/plain"),
                html=mail.part("text/html"),
                details=details,
                headers=headers,
                received_at=self.clock(),
            )


def _error(status: int, message: str, field: str | None = None) -> Response:
    return _errors(status, [(message, field)])


def _errors(status: int, problems: list[tuple[str, str | None]]) -> Response:
    """`problems` are (message, field)."""
    errors = [{"message": message, "field": field, "help": None} for message, field in problems]
    return JSONResponse({"errors": errors}, status)


def _problem(error: ErrorDetails) -> tuple[str, str | None]:
    # pydantic prefixes what a validator raised; the provider would not.
    return error["msg"].removeprefix("Value error, "), ".".join(map(str, error["loc"]))
