"""MSG91: the request it is sent, and what its answers mean."""

import json
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.providers.failures import (
    Misconfigured,
    ProviderDeferred,
    ProviderFailure,
    ProviderNotDone,
    ProviderOutcomeUnknown,
    ProviderRefused,
    ProviderUnreachable,
)
from app.providers.http import http_client
from app.providers.msg91 import Msg91
from app.providers.sms import Sms, SmsProvider
from app.setting_values import DltTemplate

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TEMPLATES = {
    ("order_confirmation", "en"): DltTemplate("65f0c1d2", {"order_number": ("VAR1",), "order_total": ("total",)}),
    ("order_confirmation", "hi"): DltTemplate(
        "65f0c1d3", {"order_number": ("V1", "V2", "V3"), "order_total": ("order_total",)}
    ),
}
SMS = Sms(
    to="+919812345678",
    text="Your order ORD-7 is confirmed.",
    key="ntf_01",
    template="order_confirmation",
    variables={"order_number": "ORD-7", "order_total": "Rs 45.00"},
)
ACCEPTED = httpx.Response(200, json={"type": "success", "message": "3763646c3058373530393938"})

Handler = Callable[[httpx.Request], httpx.Response]


def msg91(answer: httpx.Response | Handler, *, sender_id: str | None = None) -> SmsProvider:
    return Msg91(
        http_client(transport=httpx.MockTransport(answer if callable(answer) else lambda _: answer)),
        base_url="https://control.msg91.com",
        auth_key=SecretStr("authkey-secret"),
        templates=TEMPLATES,
        sender_id=sender_id,
        now=lambda: NOW,
    )


async def sent(sms: Sms, *, sender_id: str | None = None) -> httpx.Request:
    requests: list[httpx.Request] = []

    def accept(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return ACCEPTED

    assert await msg91(accept, sender_id=sender_id).send(sms) == "3763646c3058373530393938"
    (request,) = requests
    return request


async def failure(answer: httpx.Response) -> ProviderFailure:
    with pytest.raises(ProviderFailure) as caught:
        await msg91(answer).send(SMS)
    return caught.value


def error(status: int = 200, **fields: Any) -> httpx.Response:
    return httpx.Response(status, json={"type": "error", "message": "no"} | fields)


async def test_the_request_names_the_registered_text_and_its_variables() -> None:
    request = await sent(SMS)

    assert (request.method, str(request.url)) == ("POST", "https://control.msg91.com/api/v5/flow")
    assert request.headers["authkey"] == "authkey-secret"
    assert json.loads(request.content) == {
        "template_id": "65f0c1d2",
        "short_url": "0",
        "recipients": [{"mobiles": "919812345678", "VAR1": "ORD-7", "total": "Rs 45.00"}],
    }


@pytest.mark.parametrize(
    ("order_number", "parts"),
    [
        ("ORD-20260305-000042", ["ORD-202", "60305-", "000042"]),
        ("x" * 90, ["x" * 30] * 3),
        ("ORD", ["O", "R", "D"]),
        ("O", ["O", "", ""]),
    ],
)
async def test_a_text_in_hindi_has_its_own_template_and_a_variable_may_be_spread_over_several(
    order_number: str, parts: list[str]
) -> None:
    variables = {"order_number": order_number, "order_total": "₹45.00"}
    request = await sent(replace(SMS, locale="hi", variables=variables))

    body = json.loads(request.content)
    assert body["template_id"] == "65f0c1d3"
    assert body["recipients"] == [
        {"mobiles": "919812345678", "V1": parts[0], "V2": parts[1], "V3": parts[2], "order_total": "₹45.00"}
    ]


def test_only_what_is_registered_in_a_language_is_carried_in_it() -> None:
    provider = msg91(ACCEPTED)

    assert provider.carries("order_confirmation", "hi")
    assert not provider.carries("order_confirmation", "mr")
    assert not provider.carries("order_shipped", "en")
    assert not provider.carries(None, "en")


async def test_a_sender_of_our_own_is_named() -> None:
    assert json.loads((await sent(SMS, sender_id="INDSTR")).content)["sender"] == "INDSTR"


@pytest.mark.parametrize(
    ("template", "says"),
    [(None, "free text has no DLT template"), ("order_eaten", r"order_eaten \(en\) has no DLT template")],
)
async def test_what_is_not_registered_is_refused_without_a_request(template: str | None, says: str) -> None:
    def never(request: httpx.Request) -> httpx.Response:
        pytest.fail("asked all the same")

    with pytest.raises(ProviderRefused, match=says):
        await msg91(never).send(Sms(to=SMS.to, text="Hello", key="k", template=template))


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("001", ProviderNotDone),
        ("002", ProviderNotDone),
        ("101", ProviderRefused),
        ("102", ProviderRefused),
        ("103", Misconfigured),
        ("106", Misconfigured),
        ("107", Misconfigured),
        ("201", Misconfigured),
        ("202", ProviderRefused),
        ("203", Misconfigured),
        ("205", Misconfigured),
        ("207", Misconfigured),
        ("208", Misconfigured),
        ("209", Misconfigured),
        ("210", Misconfigured),
        ("301", Misconfigured),
        ("302", Misconfigured),
        ("303", Misconfigured),
        ("306", ProviderDeferred),
        ("310", ProviderRefused),
        ("311", ProviderDeferred),
        ("418", Misconfigured),
        ("505", Misconfigured),
        ("506", ProviderDeferred),
        ("601", ProviderOutcomeUnknown),
    ],
)
@pytest.mark.parametrize("status", [200, 400])
async def test_what_a_code_means(code: str, outcome: type[ProviderFailure], status: int) -> None:
    failed = await failure(error(status, code=code))

    assert (type(failed), failed.code, failed.message) == (outcome, code, "no")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, ProviderRefused),
        (302, Misconfigured),
        (400, ProviderRefused),
        (401, Misconfigured),
        (403, Misconfigured),
        (404, Misconfigured),
        (408, ProviderNotDone),
        (422, ProviderRefused),
        (429, ProviderDeferred),
        (500, ProviderOutcomeUnknown),
        (502, ProviderOutcomeUnknown),
        (503, ProviderOutcomeUnknown),
        (504, ProviderOutcomeUnknown),
    ],
)
async def test_what_an_error_without_a_code_means(status: int, outcome: type[ProviderFailure]) -> None:
    failed = await failure(error(status, message="template id missing"))

    assert (type(failed), failed.code, failed.message) == (outcome, str(status), "template id missing")


@pytest.mark.parametrize("code", ["418", 418])
async def test_the_code_of_whoever_guards_the_api_counts_before_its_status(code: str | int) -> None:
    answer = {"status": "fail", "hasError": True, "errors": "Unauthorized", "code": "401", "apiError": code}

    failed = await failure(httpx.Response(401, json=answer))

    assert (type(failed), failed.code, failed.message) == (Misconfigured, "418", "Unauthorized")


async def test_a_discarded_repetition_is_tried_again_when_it_no_longer_is_one() -> None:
    assert (await failure(error(code="311"))).retry_after == timedelta(seconds=10)


async def test_the_wait_that_it_asks_for_is_passed_on() -> None:
    assert (await failure(httpx.Response(429, headers={"Retry-After": "7"}))).retry_after == timedelta(seconds=7)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'"success"',
        b'{"type": "success"}',
        b'{"type": "success", "message": ""}',
        b'{"type": "success", "message": {"id": 7}}',
        b'{"type": "success", "message": "two words"}',
        b'{"type": "success", "message": "nul\\u0000"}',
        b'{"type": "maybe", "message": "x"}',
        b'{"type": ["success"], "message": "x"}',
        b"\xff",
    ],
)
async def test_an_answer_that_can_not_be_read_may_have_taken_the_message(body: bytes) -> None:
    assert type(await failure(httpx.Response(200, content=body))) is ProviderOutcomeUnknown


async def test_success_with_the_status_of_a_failure_is_none() -> None:
    answer = httpx.Response(500, json={"type": "success", "message": "3763646c3058373530393938"})

    assert type(await failure(answer)) is ProviderOutcomeUnknown


@pytest.mark.parametrize("number", ["+919812345678", "919812345678"])
async def test_a_refusal_has_the_providers_own_words_without_the_number(number: str) -> None:
    refused = await failure(error(message=f"{number} is\nwrong\0", code=202))

    assert str(refused) == "msg91 refused the request (202): <recipient> is wrong "


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
async def test_a_failure_tells_neither_number_nor_text_nor_key(status: int) -> None:
    failed = await failure(httpx.Response(status, content=f"{SMS.to}: {SMS.text}".encode()))

    told = "".join(traceback.format_exception(failed)) + repr(failed) + repr(SMS)
    assert not [secret for secret in ("9812345678", "ORD-7", "authkey-secret") if secret in told]


@pytest.mark.parametrize(
    ("lost", "outcome"),
    [(httpx.ConnectError("down"), ProviderUnreachable), (httpx.ReadTimeout("slow"), ProviderOutcomeUnknown)],
)
async def test_no_answer(lost: httpx.TransportError, outcome: type[ProviderFailure]) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise lost

    with pytest.raises(outcome):
        await msg91(fail).send(SMS)


async def test_nobody_can_tell_what_became_of_a_message_without_an_id() -> None:
    with pytest.raises(ProviderOutcomeUnknown):
        await msg91(ACCEPTED).find(SMS, since=NOW, until=NOW)
