"""The fakes: an ASGI app with the providers under their own paths, the inbox and the faults; and a mail server."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from fastapi import Body, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates

from app.dev.fakes.exchange import Exchange
from app.dev.fakes.faults import Fault, Faults
from app.dev.fakes.inbox import MESSAGES_KEPT, Count, Inbox, Message, Provider
from app.dev.fakes.msg91 import FakeMsg91
from app.dev.fakes.provider import Clock, FakeProvider
from app.dev.fakes.razorpay import FakeRazorpay
from app.dev.fakes.razorpay_control import razorpay_control
from app.dev.fakes.sendgrid import FakeSendGrid
from app.dev.fakes.ses import FakeSes
from app.dev.fakes.smtp import FakeSmtp
from app.dev.fakes.twilio import FakeTwilio

_TEMPLATES = Jinja2Templates(Path(__file__).with_name("templates"))
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'"
# A mail is a stranger's HTML: it may show its own styles and pictures, and load or run nothing.
_MAIL_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"

Limit = Annotated[int, Query(ge=1, le=MESSAGES_KEPT)]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class InboxPage:
    """Newest first."""

    counts: dict[Provider, Count]
    messages: list[Message]


class Fakes:
    """All fake providers with their inbox and faults; `app` is for uvicorn or `httpx.ASGITransport`."""

    def __init__(self, clock: Clock = _now) -> None:
        self.url = "http://fakes"
        self.inbox = Inbox()
        self.faults = Faults()
        self.smtp_port = 0  # where it is served
        self.sendgrid = FakeSendGrid(clock)
        self.ses = FakeSes(clock)
        self.smtp = FakeSmtp(clock, self.inbox, self.faults)
        self.twilio = FakeTwilio(clock, self.inbox)
        self.msg91 = FakeMsg91(clock)
        self.razorpay = FakeRazorpay(clock)
        # The documentation pages load their scripts from elsewhere.
        self.app = FastAPI(title="Fake providers", docs_url=None, redoc_url=None)
        http: list[tuple[str, Provider, FakeProvider]] = [
            ("/v3", Provider.SENDGRID, self.sendgrid),
            ("/v2/email", Provider.SES, self.ses),
            ("/2010-04-01", Provider.TWILIO, self.twilio),
            ("/api/v5", Provider.MSG91, self.msg91),
            ("/v1", Provider.RAZORPAY, self.razorpay),
        ]
        for path, name, provider in http:
            self.app.mount(path, Exchange(name, provider, self.faults, self.inbox, clock))
        self.app.include_router(razorpay_control(self.razorpay))
        _add_control(self.app, self.inbox, self.faults, self.razorpay)


def _add_control(app: FastAPI, inbox: Inbox, faults: Faults, razorpay: FakeRazorpay) -> None:
    @app.get("/healthz")
    async def alive() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/faults")
    async def active_faults() -> list[Fault]:
        return faults.active()

    @app.post("/faults", status_code=201)
    async def add_fault(fault: Annotated[Fault, Body()]) -> Fault:
        faults.add(fault)
        return fault

    @app.delete("/faults", status_code=204)
    async def remove_faults() -> None:
        faults.clear()

    @app.get("/inbox")
    async def messages(provider: Provider | None = None, to: str | None = None, limit: Limit = 100) -> InboxPage:
        return InboxPage(inbox.counts, inbox.find(provider, to, limit))

    @app.delete("/inbox", status_code=204)
    async def empty_inbox() -> None:
        inbox.clear()

    @app.get("/inbox/{message_id}/html", response_class=HTMLResponse)
    async def mail_as_html(message_id: str) -> Response:
        message = inbox.get(message_id)
        if message is None or message.html is None:
            raise HTTPException(404, "no such mail with an HTML part is in the inbox")
        return HTMLResponse(message.html, headers={"Content-Security-Policy": _MAIL_POLICY})

    @app.get("/", response_class=HTMLResponse)
    async def page(
        request: Request, provider: Provider | None = None, to: str | None = None, limit: Limit = 100
    ) -> Response:
        return _TEMPLATES.TemplateResponse(
            request,
            "inbox.html",
            {
                "counts": inbox.counts,
                "messages": inbox.find(provider, to, limit),
                "faults": faults.active(),
                "payments": razorpay.newest_payments(limit) if provider in (None, Provider.RAZORPAY) else [],
            },
            headers={"Content-Security-Policy": _PAGE_POLICY},
        )
