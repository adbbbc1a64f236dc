"""Twilio: the request it is sent, what its answers mean, and how a lost message is found."""

import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, TypeVar

import httpx
import pytest
from pydantic import SecretStr

from app.providers.failures import (
    Misconfigured,
    NotListedYet,
    ProviderDeferred,
    ProviderFailure,
    ProviderNotDone,
    ProviderOutcomeUnknown,
    ProviderRefused,
    ProviderUnreachable,
)
from app.providers.http import http_client
from app.providers.sms import Sms, SmsProvider
from app.providers.twilio import Twilio
from tests.contract_data import address, captured, faults, form, specification

ACCOUNT = "AC0123456789abcdef0123456789abcdef"
SERVICE = "MG0123456789abcdef0123456789abcdef"
SINCE = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW = SINCE + timedelta(minutes=2)
SMS = Sms(to="+919812345678", text="₹45.00 paid & thanks", key="ntf_01")
PATH = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"

CREATE_SCHEMA = (
    "/paths/~12010-04-01~1Accounts~1%7BAccountSid%7D~1Messages.json/post"
    "/requestBody/content/application~1x-www-form-urlencoded/schema"
)

Handler = Callable[[httpx.Request], httpx.Response]


def twilio(answer: httpx.Response | Handler, *, phone_number: str = "+15005550006", now: datetime = NOW) -> SmsProvider:
    return Twilio(
        http_client(transport=httpx.MockTransport(answer if callable(answer) else lambda _: answer)),
        base_url="https://api.twilio.com",
        account_sid=ACCOUNT,
        auth_token=SecretStr("authtok"),
        phone_number=phone_number,
        now=lambda: now,
    )


def problem(status: int, code: int | None = None, message: str = "no", **headers: str) -> httpx.Response:
    body = {"code": code, "message": message, "more_info": "https://twilio.example", "status": status}
    return httpx.Response(status, json=body, headers={name.replace("_", "-"): headers[name] for name in headers})


async def sent(sms: Sms, *, phone_number: str) -> httpx.Request:
    """The request that sending `sms` makes."""
    requests: list[httpx.Request] = []

    def accept(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(201, json={"sid": "SM1", "status": "queued"})

    assert await twilio(accept, phone_number=phone_number).send(sms) == "SM1"
    (request,) = requests
    return request


async def failure(answer: httpx.Response) -> ProviderFailure:
    with pytest.raises(ProviderFailure) as caught:
        await twilio(answer).send(SMS)
    return caught.value


@pytest.mark.parametrize(
    ("capture", "sms", "phone_number", "surplus"),
    [
        ("twilio_message_from", SMS, "+15005550006", "StatusCallback"),
        ("twilio_message_service", Sms(to=SMS.to, text="Hi", key="k"), SERVICE, "ValidityPeriod"),
    ],
)
async def test_the_request_means_what_the_sdk_would_send(
    capture: str, sms: Sms, phone_number: str, surplus: str
) -> None:
    expected = captured(capture)
    fields = form(expected)
    del fields[surplus]

    request = await sent(sms, phone_number=phone_number)

    assert address(request) == address(expected)
    assert form(request) == fields
    assert faults(specification("twilio_messages.oas3.json"), CREATE_SCHEMA, form(request)) == []


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (400, 21211, ProviderRefused),
        (400, 21408, ProviderRefused),
        (400, 21606, ProviderRefused),
        (400, 21608, ProviderRefused),
        (400, 21610, ProviderRefused),
        (400, 21614, ProviderRefused),
        (400, 21901, ProviderRefused),
        (400, 21617, ProviderRefused),
        (401, 20003, Misconfigured),
        (403, 20003, Misconfigured),
        (404, 20404, Misconfigured),
        (404, 21701, Misconfigured),
        (429, 20429, ProviderDeferred),
        (400, 21611, ProviderDeferred),
        (429, 21611, ProviderDeferred),
        (500, 20500, ProviderOutcomeUnknown),
        (503, 20503, ProviderOutcomeUnknown),
        (302, None, Misconfigured),
        (400, None, ProviderRefused),
        (401, None, Misconfigured),
        (408, None, ProviderNotDone),
        (429, None, ProviderDeferred),
        (500, None, ProviderOutcomeUnknown),
        (502, None, ProviderOutcomeUnknown),
        (504, None, ProviderOutcomeUnknown),
    ],
)
async def test_what_a_code_means(status: int, code: int | None, outcome: type[ProviderFailure]) -> None:
    error = await failure(problem(status, code))

    assert type(error) is outcome
    assert error.code == str(code or status)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(201),
        httpx.Response(201, content=b"<html>"),
        httpx.Response(201, json={"status": "queued"}),
        httpx.Response(201, json=[]),
    ],
)
async def test_an_answer_that_can_not_be_read_may_have_taken_the_message(answer: httpx.Response) -> None:
    assert type(await failure(answer)) is ProviderOutcomeUnknown


@pytest.mark.parametrize("number", ["+919812345678", "919812345678", "+91981234XXXX"])
async def test_a_refusal_has_the_providers_own_words_without_the_number(number: str) -> None:
    refused = await failure(problem(400, 21211, f"The 'To' number {number} is not a valid phone number."))

    assert str(refused) == (
        "twilio refused the request (21211): The 'To' number <recipient> is not a valid phone number."
    )


@pytest.mark.parametrize("status", [400, 401, 429, 500])
async def test_a_failure_tells_neither_number_nor_text_nor_token(status: int) -> None:
    error = await failure(httpx.Response(status, content=f"{SMS.to}: {SMS.text}".encode()))

    told = "".join(traceback.format_exception(error)) + repr(error) + repr(SMS)
    assert not [secret for secret in ("9812345678", "thanks", "authtok") if secret in told]


async def test_the_wait_that_it_asks_for_is_passed_on() -> None:
    error = await failure(problem(429, 20429, Retry_After="7"))

    assert error.retry_after == timedelta(seconds=7)


def listed(**changes: Any) -> dict[str, Any]:
    message = {
        "sid": "SM1",
        "to": SMS.to,
        "body": SMS.text,
        "status": "queued",
        "date_created": format_datetime(SINCE + timedelta(seconds=1)),
        "date_sent": None,
    }
    return message | changes


def page(*messages: dict[str, Any], next_page_uri: str | None = None) -> httpx.Response:
    return httpx.Response(200, json={"messages": messages, "next_page_uri": next_page_uri})


OTHERS = [
    listed(body="₹45.00 paid & thanks "),
    listed(body=None),
    listed(to="+919812345679"),
    listed(date_created=format_datetime(SINCE - timedelta(minutes=1))),
    listed(status="failed"),
    listed(status="undelivered"),
    listed(status="canceled"),
]


@pytest.mark.parametrize("status", ["accepted", "scheduled", "queued", "sending", "sent", "delivered", "read"])
async def test_a_message_that_was_taken_is_found(status: str) -> None:
    answer = page(*OTHERS, listed(sid="SM2", status=status))

    assert await twilio(answer).find(SMS, since=SINCE, until=SINCE) == "SM2"


async def test_a_message_of_the_second_in_which_sending_began_is_found() -> None:
    answer = page(listed(date_created=format_datetime(SINCE)))

    assert await twilio(answer).find(SMS, since=SINCE + timedelta(milliseconds=900), until=SINCE) == "SM1"


@pytest.mark.parametrize("other", OTHERS)
async def test_another_message_is_not_taken_for_it(other: dict[str, Any]) -> None:
    assert await twilio(page(other)).find(SMS, since=SINCE, until=SINCE) is None


async def test_the_list_is_asked_for_as_the_sdk_would() -> None:
    expected = captured("twilio_messages_list")
    requests: list[httpx.Request] = []

    def empty(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return page()

    await twilio(empty).find(SMS, since=SINCE, until=SINCE)

    (request,) = requests
    assert address(request)[:3] == address(expected)[:3]
    assert request.url.params["To"] == expected.url.params["To"]
    assert set(request.url.params) == {"To", "PageSize"}


async def test_the_specifications_own_list_is_understood() -> None:
    get = specification("twilio_messages.oas3.json")["paths"]["/2010-04-01/Accounts/{AccountSid}/Messages.json"]["get"]
    first = get["responses"]["200"]["content"]["application/json"]["examples"]["readFullPage1"]["value"]
    answers = iter([httpx.Response(200, json=first), page()])
    sms = Sms(to="+18182008801", text="testing", key="k")

    found = await twilio(lambda _: next(answers)).find(sms, since=datetime(2019, 5, 24, tzinfo=UTC), until=SINCE)

    assert found == "SMded05904ccb347238880ca9264e8fe1c"


async def test_pages_are_followed() -> None:
    requests: list[str] = []

    def pages(request: httpx.Request) -> httpx.Response:
        requests.append(request.url.raw_path.decode())
        if len(requests) == 1:
            return page(*OTHERS, next_page_uri=f"{PATH}?To=%2B919812345678&PageToken=PA1")
        return page(listed(sid="SM9"))

    assert await twilio(pages).find(SMS, since=SINCE, until=SINCE) == "SM9"
    assert requests[1] == f"{PATH}?To=%2B919812345678&PageToken=PA1"


F = TypeVar("F", bound=ProviderFailure)


async def find_fails(answer: httpx.Response | Handler, how: type[F], *, now: datetime = NOW) -> F:
    with pytest.raises(how) as caught:
        await twilio(answer, now=now).find(SMS, since=SINCE, until=SINCE)
    return caught.value


async def test_a_list_too_long_to_read_tells_nothing() -> None:
    requests: list[httpx.Request] = []

    def endless(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return page(next_page_uri=f"{PATH}?PageToken=PA1")

    await find_fails(endless, ProviderOutcomeUnknown)

    assert len(requests) == 3


async def test_a_list_that_may_lag_says_when_to_ask_again() -> None:
    too_early = await find_fails(page(), NotListedYet, now=SINCE + timedelta(seconds=20))

    assert too_early.retry_after == timedelta(seconds=40)


async def test_the_lag_counts_from_when_it_may_have_been_sent_last() -> None:
    provider = twilio(page(), now=SINCE + timedelta(minutes=10))

    with pytest.raises(NotListedYet):
        await provider.find(SMS, since=SINCE, until=SINCE + timedelta(minutes=9, seconds=30))


async def test_a_message_is_found_however_early() -> None:
    provider = twilio(page(listed()), now=SINCE + timedelta(seconds=1))

    assert await provider.find(SMS, since=SINCE, until=SINCE) == "SM1"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200),
        httpx.Response(200, json={"messages": []}),
        page({"sid": "SM1"}),
        page(listed(date_created="yesterday")),
        page(listed(date_created=None)),
        page(next_page_uri="https://elsewhere.example/"),
        page(next_page_uri="@elsewhere.example/"),
    ],
)
async def test_a_list_that_can_not_be_read_tells_nothing(answer: httpx.Response) -> None:
    hosts: list[str] = []

    def once(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        return answer

    await find_fails(once, ProviderOutcomeUnknown)

    assert hosts == ["api.twilio.com"]


@pytest.mark.parametrize(
    ("answer", "how"),
    [
        (problem(302), Misconfigured),
        (problem(401, 20003), Misconfigured),
        (problem(404, 20404), Misconfigured),
        (problem(429, 20429, Retry_After="30"), ProviderNotDone),
        (problem(500), ProviderNotDone),
        (problem(503), ProviderNotDone),
    ],
)
async def test_a_question_that_was_not_answered_can_be_asked_again(
    answer: httpx.Response, how: type[ProviderFailure]
) -> None:
    failure = await find_fails(answer, how)

    assert failure.retry_after == (timedelta(seconds=30) if answer.status_code == 429 else None)


@pytest.mark.parametrize(
    ("error", "how"),
    [(httpx.ConnectError("down"), ProviderUnreachable), (httpx.ReadTimeout("slow"), ProviderNotDone)],
)
async def test_a_list_that_does_not_come_can_be_asked_for_again(
    error: httpx.TransportError, how: type[ProviderFailure]
) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    await find_fails(fail, how)
