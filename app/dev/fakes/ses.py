"""SES's `POST /v2/email/outbound-emails`."""

import re
import uuid
from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parseaddr
from typing import Annotated, Final

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.dev.fakes.inbox import Message, Provider
from app.dev.fakes.provider import Clock, Reply, media_type, telling_headers

REGION = "ap-south-1"
ACCESS_KEY_ID = "AKIDEXAMPLE1"
SECRET_ACCESS_KEY = "secret-access-key"  # noqa: S105 -- opens nothing but this fake

# Error and message, by status; MessageRejected says why of all that is wrong with a message.
REFUSALS: Mapping[int, tuple[str, str]] = {
    400: ("MessageRejected", "Address {} is blacklisted."),
    403: ("AccessDeniedException", "User is not authorized to perform: ses:SendEmail"),
    404: ("NotFoundException", "Configuration set <events> does not exist."),
}

_AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>\w+)/(?P<day>\d{8})/(?P<region>[a-z0-9-]+)/ses/aws4_request, ?"
    r"SignedHeaders=(?P<signed>[a-z0-9;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_CLOCK_SKEW: Final = timedelta(minutes=5)

Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,256}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Content(_Strict):
    data: str = Field(alias="Data", min_length=1)
    charset: str = Field(default="us-ascii", alias="Charset")


class _Body(_Strict):
    text: _Content | None = Field(default=None, alias="Text")
    html: _Content | None = Field(default=None, alias="Html")


class _Header(_Strict):
    name: str = Field(alias="Name", pattern=r"^[!-9;-@A-~]{1,126}$")
    value: str = Field(alias="Value", pattern=r"^[ -~]{1,995}$")


class _Message(_Strict):
    subject: _Content = Field(alias="Subject")
    body: _Body = Field(alias="Body")
    headers: list[_Header] = Field(default=[], alias="Headers", max_length=15)


class _Simple(_Strict):
    simple: _Message = Field(alias="Simple")


class _Destination(_Strict):
    to: list[str] = Field(alias="ToAddresses", min_length=1, max_length=50)


class _Tag(_Strict):
    name: Tag = Field(alias="Name")
    value: Tag = Field(alias="Value")


class _Mail(_Strict):
    sender: str = Field(alias="FromEmailAddress", pattern="@")
    destination: _Destination = Field(alias="Destination")
    content: _Simple = Field(alias="Content")
    reply_to: list[str] = Field(default=[], alias="ReplyToAddresses")
    tags: list[_Tag] = Field(default=[], alias="EmailTags")
    configuration_set: str | None = Field(default=None, alias="ConfigurationSetName")

    def details(self) -> dict[str, str]:
        details = {f"tag.{tag.name}": tag.value for tag in self.tags}
        details |= {f"header.{header.name}": header.value for header in self.content.simple.headers}
        if self.reply_to:
            details["reply_to"] = ", ".join(self.reply_to)
        if self.configuration_set:
            details["configuration_set"] = self.configuration_set
        return details


@dataclass
class FakeSes:
    """`verified_senders` None lets every from address pass. Signatures are checked with Amazon's own library."""

    clock: Clock
    access_key_id: str = ACCESS_KEY_ID
    secret_access_key: str = SECRET_ACCESS_KEY
    region: str = REGION
    verified_senders: Container[str] | None = None

    async def reply(self, request: Request) -> Reply:
        body = await request.body()
        if problem := self._signature_problem(request, body):
            return Reply(_error(403, *problem))
        if request.scope["path"] != "/v2/email/outbound-emails" or request.method != "POST":
            return Reply(_error(404, "UnknownOperationException", "no such operation"))
        if media_type(request) != "application/json":
            return Reply(_error(400, "BadRequestException", "the body must be JSON"))
        try:
            mail = _Mail.model_validate_json(body)
        except ValidationError as invalid:
            first = invalid.errors()[0]
            where = ".".join(map(str, first["loc"]))
            return Reply(_error(400, "BadRequestException", f"{where}: {first['msg']}"))
        sender = parseaddr(mail.sender)[1]
        if self.verified_senders is not None and sender not in self.verified_senders:
            return Reply(_error(400, "MessageRejected", f"Email address is not verified: {sender}"))
        message = self._message(mail, sender, telling_headers(request))
        return Reply(JSONResponse({"MessageId": message.id}), (message,))

    def failure(self, status: int) -> Response:
        if status == 429:
            return _error(429, "TooManyRequestsException", "Maximum sending rate exceeded.")
        return _error(status, "InternalFailure", "An internal failure occurred.")

    def refusal(self, code: str, recipient: str) -> Response:
        status = int(code)
        kind, message = REFUSALS[status]
        return _error(status, kind, message.format(recipient))

    def _message(self, mail: _Mail, sender: str, headers: dict[str, str]) -> Message:
        content = mail.content.simple
        return Message(
            id=f"0109{uuid.uuid4()}-000000",
            provider=Provider.SES,
            sender=sender,
            to=tuple(mail.destination.to),
            subject=content.subject.data,
            text=content.body.text.data if content.body.text else None,
            html=content.body.html.data if content.body.html else None,
            details=mail.details(),
            headers=headers,
            received_at=self.clock(),
        )

    def _signature_problem(self, request: Request, body: bytes) -> tuple[str, str] | None:
        """The error's type and words."""
        given = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        stamp = request.headers.get("x-amz-date", "")
        if given is None or not re.fullmatch(r"\d{8}T\d{6}Z", stamp):
            return "MissingAuthenticationTokenException", "Missing Authentication Token"
        if given["key"] != self.access_key_id:
            return "UnrecognizedClientException", "The security token included in the request is invalid."
        signed = given["signed"].split(";")
        is_late = abs(datetime.strptime(stamp, "%Y%m%dT%H%M%S%z") - datetime.now(UTC)) > _CLOCK_SKEW
        if is_late or not {"host", "x-amz-date"} <= set(signed) or given["region"] != self.region:
            return "InvalidSignatureException", "Signature expired, or not for this service."
        theirs = AWSRequest(
            method=request.method,
            url=str(request.url),
            data=body,
            headers={name: request.headers.get(name, "") for name in signed},
        )
        theirs.context["timestamp"] = stamp
        signer = SigV4Auth(Credentials(self.access_key_id, self.secret_access_key), "ses", self.region)
        to_sign = signer.string_to_sign(theirs, signer.canonical_request(theirs))
        if signer.signature(to_sign, theirs) != given["signature"]:
            return "InvalidSignatureException", "The request signature we calculated does not match."
        return None


def _error(status: int, kind: str, message: str) -> Response:
    return JSONResponse({"message": message}, status, headers={"x-amzn-errortype": kind})
