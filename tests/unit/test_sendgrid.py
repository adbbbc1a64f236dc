"""SendGrid: the request it is sent and what its answers mean."""

import json
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from pydantic import SecretStr

from app.errors import NotDone, OutcomeUnknown, Refused, Unavailable
from app.providers.failures import (
    Misconfigured,
    ProviderDeferred,
    ProviderFailure,
    ProviderNotDone,
    ProviderOutcomeUnknown,
    ProviderRefused,
)
from app.providers.http import http_client
from app.providers.mail import EmailProvider, Mail, Sender
from app.providers.sendgrid import SendGrid
from tests.contract_data import address, captured, faults, specification

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAIL = Mail(
    to="asha@example.com",
    subject="Payment of ₹1,00,000.00 received",
    text="hi",
    html="<p>hi</p>",
    key="ntf_01",
)
SENDER = Sender(email="billing@dairy.example", name="Dairy")
REACHABLE = Sender(
    email="billing@dairy.example",
    name="Dairy",
    reply_to="help@dairy.example",
    list_unsubscribe="<https://dairy.example/unsubscribe>",
)
ACCEPTED = httpx.Response(202, headers={"X-Message-Id": "m-1"})


def sendgrid(
    answer: httpx.Response | Callable[[httpx.Request], httpx.Response], sender: Sender = SENDER
) -> EmailProvider:
    handler = answer if callable(answer) else lambda _: answer
    return SendGrid(
        http_client(transport=httpx.MockTransport(handler)),
        base_url="https://api.sendgrid.com",
        api_key=SecretStr("SG.testkey"),
        sender=sender,
        now=lambda: NOW,
    )


async def sent(mail: Mail, sender: Sender = SENDER) -> httpx.Request:
    """The request that sending `mail` makes."""
    requests: list[httpx.Request] = []

    def accept(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return ACCEPTED

    await sendgrid(accept, sender).send(mail)
    (request,) = requests
    return request


async def failure(answer: httpx.Response) -> ProviderFailure:
    with pytest.raises(ProviderFailure) as caught:
        await sendgrid(answer).send(MAIL)
    return caught.value


async def test_the_id_is_that_of_the_header() -> None:
    assert await sendgrid(ACCEPTED).send(MAIL) == "m-1"


async def test_an_accepted_mail_without_id_was_sent() -> None:
    assert await sendgrid(httpx.Response(202)).send(MAIL) == ""


async def test_the_request_means_what_the_sdk_would_send() -> None:
    expected = captured("sendgrid_mail_send")
    body = json.loads(expected.content)
    # The SDK's request also had a recipient's name and a category, and carried our key for the whole mail.
    del body["personalizations"][0]["to"][0]["name"], body["categories"], body["custom_args"]
    body["personalizations"][0]["custom_args"] = {"message_key": "ntf_01"}

    request = await sent(MAIL)

    assert address(request) == address(expected)
    assert json.loads(request.content) == body


async def test_answers_go_where_the_shop_reads_them_and_mail_can_be_unsubscribed_from() -> None:
    body = json.loads((await sent(MAIL, REACHABLE)).content)

    assert body["reply_to"] == {"email": "help@dairy.example"}
    assert body["headers"] == {"List-Unsubscribe": "<https://dairy.example/unsubscribe>"}


@pytest.mark.parametrize("html", [None, "<p>hi</p>"])
@pytest.mark.parametrize("sender", [SENDER, REACHABLE])
async def test_the_request_satisfies_the_specification(html: str | None, sender: Sender) -> None:
    request = await sent(Mail(to="a@example.com", subject="s", text="t", html=html, key="k"), sender)

    body = json.loads(request.content)
    schema = "/paths/~1v3~1mail~1send/post/requestBody/content/application~1json/schema"
    assert faults(specification("sendgrid_mail_send.oas31.json"), schema, body) == []
    assert [part["type"] for part in body["content"]] == ["text/plain", "text/html"][: 1 + (html is not None)]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Misconfigured),
        (204, ProviderOutcomeUnknown),
        (302, Misconfigured),
        (400, ProviderRefused),
        (401, Misconfigured),
        (403, ProviderRefused),
        (404, ProviderRefused),
        (405, ProviderRefused),
        (408, ProviderNotDone),
        (413, ProviderRefused),
        (429, ProviderDeferred),
        (500, ProviderNotDone),
        (502, ProviderNotDone),
        (503, ProviderNotDone),
        (504, ProviderNotDone),
        (999, ProviderOutcomeUnknown),
    ],
)
async def test_what_a_status_means(status: int, outcome: type[ProviderFailure]) -> None:
    assert type(await failure(httpx.Response(status))) is outcome


async def test_a_refusal_has_the_providers_own_words_without_the_recipient() -> None:
    answer = httpx.Response(
        400,
        json={
            "errors": [
                {"message": "Asha@Example.com is no address.", "field": "personalizations.0.to", "help": None},
                {"message": "Bad Request"},
            ]
        },
    )

    refused = await failure(answer)

    assert str(refused) == (
        "sendgrid refused the request (400): <recipient> is no address. (personalizations.0.to); Bad Request"
    )
    assert refused.args == ("sendgrid", "400", str(refused).partition(": ")[2])


@pytest.mark.parametrize("body", [b"", b"<p>asha@example.com: hi</p>", b"[]", b'{"errors": "hi"}', b"\xff"])
async def test_a_failure_that_is_not_the_providers_is_not_quoted(body: bytes) -> None:
    unknown = await failure(httpx.Response(502, content=body))

    assert unknown.message == "Bad Gateway"


@pytest.mark.parametrize("status", [400, 401, 429, 503])
async def test_a_failure_tells_neither_recipient_nor_text_nor_key(status: int) -> None:
    error = await failure(httpx.Response(status, json={"errors": [{"message": MAIL.to}]}))

    told = "".join(traceback.format_exception(error)) + repr(error) + repr(MAIL)
    assert not [secret for secret in (MAIL.to, MAIL.subject, "<p>", "SG.testkey") if secret in told]


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_the_wait_that_it_asks_for_is_passed_on(status: int) -> None:
    reset = str(int(NOW.timestamp()) + 42)

    error = await failure(httpx.Response(status, headers={"X-RateLimit-Reset": reset}))

    assert isinstance(error, NotDone)
    assert error.retry_after == timedelta(seconds=42)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (httpx.ConnectTimeout("slow"), Unavailable),
        (httpx.LocalProtocolError("ValueError"), Unavailable),
        (httpx.ReadTimeout("slow"), OutcomeUnknown),
    ],
)
async def test_no_answer(error: httpx.TransportError, outcome: type[Exception]) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(outcome):
        await sendgrid(fail).send(MAIL)


def test_outcomes_are_sorted_for_what_happens_next() -> None:
    assert issubclass(ProviderRefused, Refused)
    assert issubclass(ProviderNotDone, NotDone)
    assert not issubclass(ProviderNotDone, Unavailable)
    assert issubclass(Misconfigured, Unavailable)
    assert issubclass(ProviderOutcomeUnknown, OutcomeUnknown)
