"""The fake SendGrid takes what the real one takes, and refuses what it refuses."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from app.dev.fakes import Fakes
from app.dev.fakes.inbox import Message, Provider
from tests.contract_data import captured, faults, specification
from tests.unit.openapi_nulls import with_nulls

NOW = datetime(2026, 3, 1, 0, 30, tzinfo=UTC)
SEND = "/v3/mail/send"
BODY_SCHEMA = "/paths/~1v3~1mail~1send/post/requestBody/content/application~1json/schema"
ERROR_SCHEMA = "/components/schemas/global_error_response_schema"

ASHA = {"email": "asha@example.com", "name": "Asha"}
RAVI = {"email": "ravi@example.com"}
TEXT = {"type": "text/plain", "value": "Order 7 is on its way"}
HTML = {"type": "text/html", "value": "<p>Order 7 is on its way</p>"}
MAIL: dict[str, Any] = {
    "personalizations": [{"to": [ASHA]}],
    "from": {"email": "orders@dairy.example"},
    "subject": "Order 7",
    "content": [TEXT],
}


@pytest.fixture
def fakes() -> Fakes:
    return Fakes(clock=lambda: NOW)


@pytest.fixture
async def client(fakes: Fakes) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(fakes.app),
        base_url=fakes.url,
        headers={"Authorization": "Bearer SG.testkey"},
    ) as client:
        yield client


def mail_with(**fields: object) -> dict[str, Any]:
    """The mail with these fields, `from_` for "from"; None leaves one out."""
    mail = MAIL | {name.rstrip("_"): value for name, value in fields.items()}
    return {name: value for name, value in mail.items() if value is not None}


def to(**fields: object) -> dict[str, Any]:
    """The mail with these fields in its only personalization."""
    return mail_with(personalizations=[{"to": [ASHA]} | {name.rstrip("_"): value for name, value in fields.items()}])


def corrected_specification() -> dict[str, Any]:
    """SendGrid's document without its known faults, each of which denies what the real API does.

    Top-level `custom_args` is an object, a template brings subject and content, and `help` is null or a link.
    """
    document: dict[str, Any] = with_nulls(specification("sendgrid_mail_send.oas31.json"))
    mail = document["paths"][SEND]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert mail["properties"]["custom_args"]["type"] == "string"
    mail["properties"]["custom_args"]["type"] = "object"
    assert mail["required"] == ["personalizations", "from", "subject", "content"]
    mail["required"] = ["personalizations", "from"]
    mail["anyOf"] = [{"required": ["template_id"]}, {"required": ["content"]}]
    error = document["components"]["schemas"]["global_error_response_schema"]["properties"]["errors"]["items"]
    assert error["properties"]["help"]["type"] == "object"
    error["properties"]["help"]["type"] = ["string", "null"]
    return document


def assert_refused(answer: httpx.Response, status: int, fakes: Fakes) -> None:
    assert answer.status_code == status
    assert answer.json()["errors"]
    assert faults(corrected_specification(), ERROR_SCHEMA, answer.json()) == []
    assert len(fakes.inbox) == 0
    assert fakes.inbox.counts[Provider.SENDGRID].answers == {str(status): 1}


async def test_the_mail_of_the_official_sdk_is_accepted(client: httpx.AsyncClient, fakes: Fakes) -> None:
    request = captured("sendgrid_mail_send")

    answer = await client.post(SEND, headers=request.headers, content=request.content)

    assert (answer.status_code, answer.content) == (202, b"")
    assert list(fakes.inbox) == [
        Message(
            id=answer.headers["X-Message-Id"],
            provider=Provider.SENDGRID,
            sender="billing@dairy.example",
            to=("asha@example.com",),
            subject="Payment of ₹1,00,000.00 received",
            text="hi",
            html="<p>hi</p>",
            details={"custom_args.notification_id": "ntf_01", "categories": "receipt"},
            headers={"user-agent": "sendgrid/6.12.5;python", "content-type": "application/json"},
            received_at=NOW,
        )
    ]


async def test_a_template_of_the_official_sdk_is_accepted(client: httpx.AsyncClient, fakes: Fakes) -> None:
    request = captured("sendgrid_dynamic_template")

    answer = await client.post(SEND, headers=request.headers, content=request.content)

    assert answer.status_code == 202
    (message,) = fakes.inbox
    assert (message.subject, message.text) == (None, None)
    assert message.details == {"template_id": "d-0123456789abcdef0123456789abcdef"}


@pytest.mark.parametrize(
    "mail",
    [
        MAIL,
        mail_with(content=[TEXT, HTML, {"type": "text/calendar", "value": "BEGIN:VCALENDAR"}]),
        mail_with(content=[HTML]),
        mail_with(template_id="d-1", content=None, subject=None),
        mail_with(subject=None, personalizations=[{"to": [ASHA], "subject": "Order 7"}]),
        mail_with(reply_to=RAVI),
        mail_with(reply_to_list=[RAVI]),
        mail_with(headers={"X-Shop": "dairy"}, custom_args={"key": "7"}, categories=["order"], send_at=1772325000),
        mail_with(attachments=[{"content": "aGk=", "filename": "invoice.pdf", "type": "application/pdf"}]),
        mail_with(asm={"group_id": 1, "groups_to_display": [1]}, ip_pool_name="orders", batch_id="b"),
        mail_with(tracking_settings={"click_tracking": {"enable": False, "enable_text": False}}),
        mail_with(mail_settings={"footer": {"enable": True, "text": "IndoStar Naturals"}}),
        to(cc=[RAVI], bcc=[{"email": "owner@dairy.example"}], dynamic_template_data={"lines": [{"n": 1}]}),
    ],
)
async def test_what_is_accepted_keeps_to_the_specification(
    client: httpx.AsyncClient, fakes: Fakes, mail: dict[str, Any]
) -> None:
    answer = await client.post(SEND, json=mail)

    assert answer.status_code == 202
    assert len(fakes.inbox) == 1
    assert faults(corrected_specification(), BODY_SCHEMA, mail) == []


@pytest.mark.parametrize(
    ("mail", "field"),
    [
        ({}, "personalizations"),
        (mail_with(personalizations=None), "personalizations"),
        (mail_with(personalizations=[]), "personalizations"),
        (
            mail_with(personalizations=[{"to": [{"email": f"c{n}@example.com"}]} for n in range(1001)]),
            "personalizations",
        ),
        (to(cc=[{"email": f"c{n}@example.com"} for n in range(1000)]), "personalizations"),
        (to(to=[]), "personalizations.0.to"),
        (to(to=ASHA), "personalizations.0.to"),
        (to(to=[{"name": "Asha"}]), "personalizations.0.to.0.email"),
        (to(to=[{"email": "asha"}]), "personalizations.0.to.0.email"),
        (to(to=[{"email": "asha@example"}]), "personalizations.0.to.0.email"),
        (to(to=[{"email": "Asha <asha@example.com>"}]), "personalizations.0.to.0.email"),
        (to(to=[{"email": "asha@example.com\r\nBcc: eve@example.com"}]), "personalizations.0.to.0.email"),
        (to(to=[{"email": "आशा@example.com"}]), "personalizations.0.to.0.email"),
        (to(to=[{"email": ""}]), "personalizations.0.to.0.email"),
        (to(to=["asha@example.com"]), "personalizations.0.to.0"),
        (to(bcc=[{"email": "Asha@example.com"}]), "personalizations.0"),
        (to(custom_args={"order": 7}), "personalizations.0.custom_args.order"),
        (to(custom_args={"key": "x" * 10_000}), "personalizations.0.custom_args"),
        (to(colour="red"), "personalizations.0.colour"),
        (mail_with(from_=None), "from"),
        (mail_with(from_="orders@dairy.example"), "from"),
        (mail_with(from_={"email": "orders"}), "from.email"),
        (mail_with(subject=None), "subject"),
        (mail_with(subject=""), "subject"),
        (mail_with(subject=None, personalizations=[{"to": [ASHA], "subject": "7"}, {"to": [RAVI]}]), "subject"),
        (mail_with(content=None), "content"),
        (mail_with(content=[]), "content"),
        (mail_with(content=[HTML, TEXT]), "content"),
        (mail_with(content=[{"type": "text/calendar", "value": "x"}, HTML]), "content"),
        (mail_with(content=[{"type": "text/plain", "value": ""}]), "content.0.value"),
        (mail_with(content=[{"type": "text/plain; charset=utf-8", "value": "x"}]), "content.0.type"),
        (mail_with(content=[{"type": "text/plain"}]), "content.0.value"),
        (mail_with(reply_to=ASHA, reply_to_list=[RAVI]), "reply_to_list"),
        (mail_with(headers={"Reply-To": "eve@example.com"}), "headers"),
        (mail_with(categories=["a"] * 2), "categories"),
        (mail_with(categories=[str(n) for n in range(11)]), "categories"),
        (mail_with(categories=["x" * 256]), "categories.0"),
        (mail_with(send_at="soon"), "send_at"),
        (mail_with(mail_settings={"sandbox": {"enable": True}}), "mail_settings.sandbox.[key]"),
        (mail_with(personalisations=[]), "personalisations"),
        (mail_with(to="asha@example.com"), "to"),
        ([MAIL], ""),
    ],
)
async def test_a_faulty_mail_is_refused_at_the_field(
    client: httpx.AsyncClient, fakes: Fakes, mail: object, field: str
) -> None:
    answer = await client.post(SEND, json=mail)

    assert_refused(answer, 400, fakes)
    assert field in [error["field"] for error in answer.json()["errors"]]


@pytest.mark.parametrize(
    ("method", "path", "headers", "content", "status"),
    [
        ("POST", SEND, {"Authorization": "Bearer SG.other"}, json.dumps(MAIL), 401),
        ("POST", SEND, {"Authorization": "Basic SG.testkey"}, json.dumps(MAIL), 401),
        ("POST", SEND, {"Authorization": ""}, json.dumps(MAIL), 401),
        ("POST", "/v3/mail/sent", {}, json.dumps(MAIL), 404),
        ("POST", "/v3/mail/send/", {}, json.dumps(MAIL), 404),
        ("GET", SEND, {}, "", 405),
        ("PUT", SEND, {}, json.dumps(MAIL), 405),
        ("POST", SEND, {"Content-Type": "text/plain"}, json.dumps(MAIL), 415),
        ("POST", SEND, {"Content-Type": ""}, json.dumps(MAIL), 415),
        ("POST", SEND, {}, "", 400),
        ("POST", SEND, {}, "{", 400),
        ("POST", SEND, {}, json.dumps(MAIL).encode("utf-16"), 400),
        ("POST", SEND, {}, json.dumps(mail_with(subject="\ud83d")), 400),
        ("POST", SEND, {}, "[" * 100_000, 400),
        ("POST", SEND, {}, json.dumps(mail_with(subject="x" * 200_000)), 413),
    ],
)
async def test_a_request_that_is_no_mail_is_refused(
    client: httpx.AsyncClient, fakes: Fakes, method: str, path: str, headers: dict[str, str], content: str, status: int
) -> None:
    fakes.sendgrid.max_bytes = 150_000

    answer = await client.request(method, path, headers={"Content-Type": "application/json"} | headers, content=content)

    assert_refused(answer, status, fakes)


@pytest.mark.parametrize("mail", [mail_with(from_=RAVI), to(from_=RAVI)])
async def test_a_sender_who_is_not_verified_is_refused(
    client: httpx.AsyncClient, fakes: Fakes, mail: dict[str, Any]
) -> None:
    fakes.sendgrid.verified_senders = {"orders@dairy.example"}

    answer = await client.post(SEND, json=mail)

    assert_refused(answer, 403, fakes)


async def test_each_personalization_is_a_mail_under_the_same_id(client: httpx.AsyncClient, fakes: Fakes) -> None:
    mail = mail_with(
        custom_args={"key": "all", "shop": "dairy"},
        personalizations=[
            {"to": [ASHA], "cc": [{"email": "owner@dairy.example"}], "custom_args": {"key": "a"}},
            {"to": [RAVI], "subject": "Order 8", "from": {"email": "billing@dairy.example"}},
        ],
    )

    answer = await client.post(SEND, json=mail)

    first, second = fakes.inbox
    assert first.id == second.id == answer.headers["X-Message-Id"]
    assert (first.to, second.to) == (("asha@example.com", "owner@dairy.example"), ("ravi@example.com",))
    assert (first.subject, second.subject) == ("Order 7", "Order 8")
    assert (first.sender, second.sender) == ("orders@dairy.example", "billing@dairy.example")
    assert first.details == {"custom_args.key": "a", "custom_args.shop": "dairy"}
    assert second.details == {"custom_args.key": "all", "custom_args.shop": "dairy"}


async def test_a_mail_in_sandbox_mode_is_checked_and_goes_nowhere(client: httpx.AsyncClient, fakes: Fakes) -> None:
    sandbox = {"mail_settings": {"sandbox_mode": {"enable": True}}}

    good = await client.post(SEND, json=MAIL | sandbox)
    bad = await client.post(SEND, json=mail_with(content=None) | sandbox)

    assert (good.status_code, bad.status_code) == (200, 400)
    assert "X-Message-Id" not in good.headers
    assert len(fakes.inbox) == 0
