"""Twilio's Messages: create, list, fetch."""

import re
import uuid
from base64 import b64encode
from collections.abc import Container
from dataclasses import dataclass
from email.utils import format_datetime
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.dev.fakes.inbox import Inbox, Message, Provider
from app.dev.fakes.provider import Clock, Reply, media_type, telling_headers
from app.dev.fakes.twilio_list import ListQuery
from app.notify.segments import size_of

ACCOUNT_SID = "AC0123456789abcdef0123456789abcdef"
AUTH_TOKEN = "authtok"  # noqa: S105 -- opens nothing but this fake

# Status and message by code. Source: Twilio, Error and Warning Dictionary.
ERRORS = {
    20001: (400, "Parameter {} is unknown or not valid here"),
    20003: (401, "Authenticate"),
    20004: (405, "Method not allowed"),
    20404: (404, "The requested resource {} was not found"),
    20429: (429, "Too Many Requests"),
    20500: (500, "An internal server error has occurred"),
    21211: (400, "The 'To' number {} is not a valid phone number."),
    21212: (400, "The 'From' number {} is not a valid phone number, short code or sender ID."),
    21408: (400, "Permission to send an SMS has not been enabled for the region of the 'To' number {}."),
    21602: (400, "Message body is required."),
    21603: (400, "A 'From' phone number is required."),
    21604: (400, "A 'To' phone number is required."),
    21606: (400, "The 'From' phone number {} is not a valid, SMS-capable number of your account."),
    21608: (400, "The number {} is unverified. Trial accounts cannot send messages to unverified numbers."),
    21609: (400, "The 'StatusCallback' URL {} is not a valid URL."),
    21610: (400, "Attempt to send to unsubscribed recipient {}"),
    21611: (429, "The 'From' number {} has exceeded the maximum number of queued messages"),
    21612: (400, "Message cannot be sent to {} with the current combination of 'To' and 'From'."),
    21614: (400, "'To' number {} is not a valid mobile number"),
    21617: (400, "The concatenated message body exceeds the 1600 character limit"),
    21705: (400, "The Messaging Service Sid {} is invalid"),
    21901: (400, "The message to {} does not match a registered template"),
}
REFUSALS = frozenset({21211, 21408, 21606, 21608, 21610, 21612, 21614, 21901})

# Source: Twilio, Test Credentials, magic input.
_MAGIC_TO = {
    "+15005550001": 21211,
    "+15005550002": 21612,
    "+15005550003": 21408,
    "+15005550004": 21610,
    "+15005550009": 21614,
}
_MAGIC_FROM = {"+15005550001": 21212, "+15005550007": 21606, "+15005550008": 21611}

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_SENDER_ID = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}")
_MESSAGE = re.compile(r"/Messages/(SM[0-9a-f]{32})\.json")
_SERVICE_SID = re.compile(r"MG[0-9a-fA-F]{32}")

# The real one knows more parameters, and ignores names that it does not know (with a warning, 20001).
_PARAMETERS = frozenset({"To", "From", "MessagingServiceSid", "Body", "StatusCallback", "ValidityPeriod"})


class _Refused(Exception):
    def __init__(self, code: int, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


@dataclass
class FakeTwilio:
    """`numbers` are those that may send; None lets every number pass."""

    clock: Clock
    inbox: Inbox
    account_sid: str = ACCOUNT_SID
    auth_token: str = AUTH_TOKEN
    numbers: Container[str] | None = None

    @property
    def account(self) -> str:
        return f"/2010-04-01/Accounts/{self.account_sid}"

    async def reply(self, request: Request) -> Reply:
        try:
            return await self._reply(request)
        except _Refused as refused:
            return Reply(_error(refused.code, refused.detail))

    def failure(self, status: int) -> Response | None:
        code = {429: 20429, 500: 20500}.get(status)
        return _error(code) if code else None

    def refusal(self, code: str, recipient: str) -> Response:
        return _error(int(code), recipient)

    async def _reply(self, request: Request) -> Reply:
        path: str = request.scope["path"]
        credentials = b64encode(f"{self.account_sid}:{self.auth_token}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {credentials}" or not path.startswith(self.account):
            raise _Refused(20003)
        resource = path.removeprefix(self.account)
        message = _MESSAGE.fullmatch(resource)
        if resource != "/Messages.json" and not message:
            raise _Refused(20404, path)
        if request.method == "GET":
            return Reply(self._fetch(message[1], path) if message else self._list(request))
        if request.method == "POST" and not message:
            return await self._create(request)
        raise _Refused(20004)

    async def _create(self, request: Request) -> Reply:
        form = _form(request, await request.body())
        self._check_recipient(form.get("To", ""))
        self._check_sender(form.get("From", ""), form.get("MessagingServiceSid", ""))
        if not form.get("Body"):
            raise _Refused(21602)
        if len(form["Body"]) > 1600:
            raise _Refused(21617)
        if "StatusCallback" in form and not _is_url(form["StatusCallback"]):
            raise _Refused(21609, form["StatusCallback"])
        seconds = form.get("ValidityPeriod", "1")
        if not (re.fullmatch("[0-9]{1,5}", seconds) and 1 <= int(seconds) <= 36_000):
            raise _Refused(20001, "ValidityPeriod")
        message = Message(
            id=f"SM{uuid.uuid4().hex}",
            provider=Provider.TWILIO,
            sender=form.get("From") or form["MessagingServiceSid"],
            to=(form["To"],),
            text=form["Body"],
            details={name: value for name, value in form.items() if name not in ("To", "Body")},
            headers=telling_headers(request),
            received_at=self.clock(),
        )
        return Reply(JSONResponse(self._resource(message, sent=False), 201), (message,))

    def _check_recipient(self, to: str) -> None:
        if not to:
            raise _Refused(21604)
        if to in _MAGIC_TO:
            raise _Refused(_MAGIC_TO[to], to)
        if not _E164.fullmatch(to) or (to.startswith("+91") and len(to) != len("+919812345678")):
            raise _Refused(21211, to)
        # Indian mobile numbers begin with 6 to 9; the others are landlines.
        if to.startswith("+91") and to[3] < "6":
            raise _Refused(21614, to)

    def _check_sender(self, sender: str, service_sid: str) -> None:
        if not sender and not service_sid:
            raise _Refused(21603)
        if service_sid and not _SERVICE_SID.fullmatch(service_sid):
            raise _Refused(21705, service_sid)
        if sender in _MAGIC_FROM:
            raise _Refused(_MAGIC_FROM[sender], sender)
        if sender and not (_E164.fullmatch(sender) or _SENDER_ID.fullmatch(sender)):
            raise _Refused(21212, sender)
        if sender and self.numbers is not None and sender not in self.numbers:
            raise _Refused(21606, sender)

    def _fetch(self, sid: str, path: str) -> Response:
        message = self.inbox.get(sid)
        if message is None:
            raise _Refused(20404, path)
        return JSONResponse(self._resource(message, sent=True))

    def _list(self, request: Request) -> Response:
        try:
            query = ListQuery.model_validate(dict(request.query_params))
            page = query.page_of([m for m in self.inbox.find(Provider.TWILIO) if query.matches(m)])
        except ValidationError as invalid:
            raise _Refused(20001, str(invalid.errors()[0]["loc"][0])) from invalid
        except LookupError as unknown:
            raise _Refused(20001, "PageToken") from unknown
        filters = {name: value for name, value in request.query_params.items() if not name.startswith("Page")}

        def uri(number: int, token: str | None = None) -> str:
            paging = {"PageSize": query.page_size, "Page": number} | ({"PageToken": token} if token else {})
            return f"{self.account}/Messages.json?{urlencode(filters | paging)}"

        start = query.page * query.page_size
        return JSONResponse(
            {
                "end": start + max(0, len(page.messages) - 1),
                "first_page_uri": uri(0),
                "next_page_uri": page.next_token and uri(query.page + 1, page.next_token),
                "page": query.page,
                "page_size": query.page_size,
                "previous_page_uri": page.previous_token and uri(max(0, query.page - 1), page.previous_token),
                "messages": [self._resource(message, sent=True) for message in page.messages],
                "start": start,
                "uri": uri(query.page, query.token),
            }
        )

    def _resource(self, message: Message, *, sent: bool) -> dict[str, object]:
        """Queued, or as it is found once sent. A service has yet to choose the number, and so to count segments."""
        service_sid = message.details.get("MessagingServiceSid")
        date = format_datetime(message.received_at)
        uri = f"{self.account}/Messages/{message.id}"
        return {
            "account_sid": self.account_sid,
            "api_version": "2010-04-01",
            "body": message.text,
            "date_created": date,
            "date_sent": date if sent else None,
            "date_updated": date,
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
            "from": message.details.get("From"),
            "messaging_service_sid": service_sid,
            "num_media": "0",
            "num_segments": "0" if service_sid and not sent else str(size_of(message.text or "").segments),
            "price": None,
            "price_unit": None,
            "sid": message.id,
            "status": "sent" if sent else "accepted" if service_sid else "queued",
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": message.to[0],
            "uri": f"{uri}.json",
        }


def _form(request: Request, body: bytes) -> dict[str, str]:
    if media_type(request) != "application/x-www-form-urlencoded":
        raise _Refused(21604)  # the real one finds no parameter in anything else
    try:
        form = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=50))
    except ValueError as malformed:
        raise _Refused(20001, "encoding") from malformed
    for name in form.keys() - _PARAMETERS:
        raise _Refused(20001, name)
    return form


def _is_url(value: str) -> bool:
    """Source: Twilio, Messages resource (a valid hostname, without underscores)."""
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "_" not in parts.netloc


def _error(code: int, detail: str = "") -> Response:
    status, message = ERRORS[code]
    return JSONResponse(
        {
            "code": code,
            "message": message.format(detail),
            "more_info": f"https://www.twilio.com/docs/errors/{code}",
            "status": status,
        },
        status,
    )
