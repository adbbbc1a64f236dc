"""SendGrid and Twilio as servers made from their own OpenAPI documents, which are none of ours."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.providers.failures import ProviderRefused
from app.providers.http import http_client
from app.providers.mail import Mail, Sender
from app.providers.sendgrid import SendGrid
from app.providers.sms import Sms
from app.providers.twilio import Twilio
from tests.contract_data import specification
from tests.openapi_server import Mock, mocking

ACCOUNT = "AC0123456789abcdef0123456789abcdef"
SERVICE = "MG0123456789abcdef0123456789abcdef"
LATER = datetime(2026, 3, 5, tzinfo=UTC)
SENDER = Sender(
    email="orders@dairy.example",
    name="Śri Dairy",
    reply_to="help@dairy.example",
    list_unsubscribe="<https://dairy.example/unsubscribe>",
)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with http_client() as client:
        yield client


@pytest.fixture
async def sendgrid_api() -> AsyncIterator[Mock]:
    async with mocking(specification("sendgrid_mail_send.oas31.json")) as mock:
        yield mock


@pytest.fixture
async def twilio_api() -> AsyncIterator[Mock]:
    async with mocking(specification("twilio_messages.oas3.json")) as mock:
        yield mock


def sendgrid(api: Mock, client: httpx.AsyncClient, **others: Any) -> SendGrid:
    values: dict[str, Any] = {"api_key": SecretStr("SG.key"), "sender": SENDER} | others
    return SendGrid(client, base_url=api.url, **values)


def twilio(api: Mock, client: httpx.AsyncClient, **others: Any) -> Twilio:
    values: dict[str, Any] = {
        "account_sid": ACCOUNT,
        "auth_token": SecretStr("token"),
        "phone_number": "+15005550006",
        "now": lambda: LATER,
    }
    return Twilio(client, base_url=api.url, **(values | others))


@pytest.mark.parametrize("html", [None, "<p>दूध</p>"])
@pytest.mark.parametrize("sender", [SENDER, Sender(email="orders@dairy.example")])
async def test_sendgrid_takes_our_mails(
    sendgrid_api: Mock, client: httpx.AsyncClient, html: str | None, sender: Sender
) -> None:
    mail = Mail(to="asha@example.com", subject="Receipt ₹45", text="दूध", html=html, key="outbox:7:email")

    await sendgrid(sendgrid_api, client, sender=sender).send(mail)

    assert sendgrid_api.faults == [[]]


async def test_sendgrids_document_tells_wrong_requests_from_right_ones(
    sendgrid_api: Mock, client: httpx.AsyncClient
) -> None:
    url, key = f"{sendgrid_api.url}/v3/mail/send", {"Authorization": "Bearer SG.key"}

    answers = [
        await client.post(url, json={}),
        await client.post(url, json={"subject": 7}, headers=key),
        await client.post(url, content=b"subject=7", headers=key | {"Content-Type": "text/plain"}),
        await client.post(f"{sendgrid_api.url}/v2/mail/send", json={}, headers=key),
    ]

    assert [answer.status_code for answer in answers] == [401, 422, 422, 404]
    assert "$.subject: 7 is not of type 'string'" in sendgrid_api.faults[1]


@pytest.mark.parametrize("phone_number", ["+15005550006", SERVICE, "INDOSTAR"])
async def test_twilio_takes_our_sms(twilio_api: Mock, client: httpx.AsyncClient, phone_number: str) -> None:
    sms = Sms(to="+919812345678", text="₹45.00 paid & thanks", key="k")

    sid = await twilio(twilio_api, client, phone_number=phone_number).send(sms)

    assert sid.startswith("SM")
    assert twilio_api.faults == [[]]


async def test_twilios_list_is_asked_for_as_its_document_says(twilio_api: Mock, client: httpx.AsyncClient) -> None:
    # Of the document's own example.
    sms = Sms(to="+18182008801", text="testing", key="k")

    found = await twilio(twilio_api, client).find(sms, since=datetime(2010, 1, 1, tzinfo=UTC), until=LATER)

    assert found == "SMded05904ccb347238880ca9264e8fe1c"
    assert twilio_api.faults == [[]]


async def test_twilios_document_tells_wrong_requests_from_right_ones(
    twilio_api: Mock, client: httpx.AsyncClient
) -> None:
    sms = Sms(to="+919812345678", text="Hello", key="k")

    with pytest.raises(ProviderRefused):
        await twilio(twilio_api, client, account_sid="AC1").send(sms)
    with pytest.raises(ProviderRefused):
        await twilio(twilio_api, client, phone_number="MG1").send(sms)

    assert [len(faults) > 0 for faults in twilio_api.faults] == [True, True]
