"""The fake Twilio takes what the real one takes, refuses what it refuses, and can be asked what it took."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from app.dev.fakes import Fakes
from app.dev.fakes.inbox import Message, Provider
from tests.contract_data import captured, faults, form, specification
from tests.unit.openapi_nulls import with_nulls

ACCOUNT = "/2010-04-01/Accounts/AC0123456789abcdef0123456789abcdef"
MESSAGES = f"{ACCOUNT}/Messages.json"
SERVICE = "MG0123456789abcdef0123456789abcdef"
CREDENTIALS = httpx.BasicAuth("AC0123456789abcdef0123456789abcdef", "authtok")
ASHA = "+919812345678"
RAVI = "+919898989898"
SMS = {"To": ASHA, "From": "+15005550006", "Body": "Order 7 is on its way"}

CREATE = "/paths/~12010-04-01~1Accounts~1%7BAccountSid%7D~1Messages.json/post"
FORM_SCHEMA = f"{CREATE}/requestBody/content/application~1x-www-form-urlencoded/schema"
CREATED_SCHEMA = f"{CREATE}/responses/201/content/application~1json/schema"
LISTED_SCHEMA = (
    "/paths/~12010-04-01~1Accounts~1%7BAccountSid%7D~1Messages.json/get/responses/200/content/application~1json/schema"
)
MESSAGE_SCHEMA = "/components/schemas/api.v2010.account.message"


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 0, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fakes(clock: Clock) -> Fakes:
    return Fakes(clock=clock)


@pytest.fixture
async def client(fakes: Fakes) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(fakes.app),
        base_url=fakes.url,
        auth=CREDENTIALS,
    ) as client:
        yield client


def sms_with(**fields: str | None) -> dict[str, str]:
    return {name: value for name, value in (SMS | fields).items() if value is not None}


def assert_specified(schema: str, answer: httpx.Response) -> None:
    """The answer has every field of its schema, each as it should be."""
    document = with_nulls(specification("twilio_messages.oas3.json"))
    assert faults(document, schema, answer.json()) == []
    resources = answer.json()["messages"] if "messages" in answer.json() else [answer.json()]
    for resource in resources:
        assert resource.keys() == document["components"]["schemas"]["api.v2010.account.message"]["properties"].keys()


def assert_refused(answer: httpx.Response, status: int, code: int, fakes: Fakes) -> None:
    assert answer.status_code == status
    assert answer.json() == {
        "code": code,
        "message": answer.json()["message"],
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    assert len(fakes.inbox) == 0
    assert fakes.inbox.counts[Provider.TWILIO].answers == {str(status): 1}


async def test_the_sms_of_the_official_sdk_is_accepted(client: httpx.AsyncClient, fakes: Fakes, clock: Clock) -> None:
    request = captured("twilio_message_from")

    answer = await client.post(MESSAGES, headers=request.headers, content=request.content)

    assert answer.status_code == 201
    assert_specified(CREATED_SCHEMA, answer)
    resource = answer.json()
    assert (resource["status"], resource["num_segments"], resource["to"]) == ("queued", "1", ASHA)
    assert (resource["from"], resource["messaging_service_sid"]) == ("+15005550006", None)
    assert parsedate_to_datetime(resource["date_created"]) == clock.now
    assert list(fakes.inbox) == [
        Message(
            id=resource["sid"],
            provider=Provider.TWILIO,
            sender="+15005550006",
            to=(ASHA,),
            text="₹45.00 paid & thanks",
            details={"From": "+15005550006", "StatusCallback": "https://x.example/webhooks/twilio?n=ntf_01"},
            headers={
                "user-agent": "twilio-python/9.13.0 (Linux x86_64) Python/3.11.7",
                "content-type": "application/x-www-form-urlencoded",
                "x-twilio-client": "python-9.13.0",
                "accept-charset": "utf-8",
            },
            received_at=clock.now,
        )
    ]


async def test_a_messaging_service_counts_segments_when_it_has_chosen_a_number(client: httpx.AsyncClient) -> None:
    request = captured("twilio_message_service")

    answer = await client.post(MESSAGES, headers=request.headers, content=request.content)
    later = await client.get(f"{ACCOUNT}/Messages/{answer.json()['sid']}.json")

    assert_specified(CREATED_SCHEMA, answer)
    assert_specified(MESSAGE_SCHEMA, later)
    assert (answer.json()["status"], answer.json()["num_segments"]) == ("accepted", "0")
    assert (later.json()["status"], later.json()["num_segments"]) == ("sent", "1")
    assert later.json()["messaging_service_sid"] == SERVICE


@pytest.mark.parametrize(
    "sms",
    [
        SMS,
        sms_with(From="INDOST", Body="x" * 1600),
        sms_with(From=None, MessagingServiceSid=SERVICE, StatusCallback="https://shop.example/cb?key=7"),
        sms_with(To="+14155552671", ValidityPeriod="36000"),
    ],
)
async def test_what_is_accepted_keeps_to_the_specification(
    client: httpx.AsyncClient, fakes: Fakes, sms: dict[str, str]
) -> None:
    answer = await client.post(MESSAGES, data=sms)

    assert_specified(CREATED_SCHEMA, answer)
    assert [message.text for message in fakes.inbox] == [sms["Body"]]
    # What a form holds is text; the specification tells what kind.
    typed = {name: int(value) if name == "ValidityPeriod" else value for name, value in form(answer.request).items()}
    assert faults(specification("twilio_messages.oas3.json"), FORM_SCHEMA, typed) == []


@pytest.mark.parametrize(
    ("sms", "status", "code"),
    [
        ({}, 400, 21604),
        (sms_with(To=None), 400, 21604),
        (sms_with(To="9812345678"), 400, 21211),
        (sms_with(To="919812345678"), 400, 21211),
        (sms_with(To="+91 98123 45678"), 400, 21211),
        (sms_with(To="+9198123456"), 400, 21211),
        (sms_with(To="+915812345678"), 400, 21614),
        (sms_with(From=None), 400, 21603),
        (sms_with(From="98123"), 400, 21212),
        (sms_with(From="IndoStar Naturals"), 400, 21212),
        (sms_with(From="+15005550099"), 400, 21606),
        (sms_with(From=None, MessagingServiceSid="MG7"), 400, 21705),
        (sms_with(Body=None), 400, 21602),
        (sms_with(Body=""), 400, 21602),
        (sms_with(Body="x" * 1601), 400, 21617),
        (sms_with(StatusCallback="shop.example/cb"), 400, 21609),
        (sms_with(StatusCallback="https://my_shop.example/cb"), 400, 21609),
        (sms_with(ValidityPeriod="0"), 400, 20001),
        (sms_with(ValidityPeriod="36001"), 400, 20001),
        (sms_with(Message="hello"), 400, 20001),
        (sms_with(To="+15005550001"), 400, 21211),
        (sms_with(To="+15005550002"), 400, 21612),
        (sms_with(To="+15005550003"), 400, 21408),
        (sms_with(To="+15005550004"), 400, 21610),
        (sms_with(To="+15005550009"), 400, 21614),
        (sms_with(From="+15005550001"), 400, 21212),
        (sms_with(From="+15005550007"), 400, 21606),
        (sms_with(From="+15005550008"), 429, 21611),
    ],
)
async def test_a_faulty_sms_is_refused_with_its_code(
    client: httpx.AsyncClient, fakes: Fakes, sms: dict[str, str], status: int, code: int
) -> None:
    fakes.twilio.numbers = {"+15005550006", "INDOST"}

    answer = await client.post(MESSAGES, data=sms)

    assert_refused(answer, status, code, fakes)


@pytest.mark.parametrize(
    ("method", "path", "auth", "status", "code"),
    [
        ("POST", MESSAGES, httpx.BasicAuth("AC0123456789abcdef0123456789abcdef", "wrong"), 401, 20003),
        ("POST", MESSAGES, httpx.BasicAuth("AC1123456789abcdef0123456789abcdef", "authtok"), 401, 20003),
        ("POST", MESSAGES.replace("AC0", "AC1"), CREDENTIALS, 401, 20003),
        ("GET", MESSAGES, httpx.BasicAuth("AC0123456789abcdef0123456789abcdef", "wrong"), 401, 20003),
        ("POST", f"{ACCOUNT}/Messages", CREDENTIALS, 404, 20404),
        ("POST", f"{ACCOUNT}/Calls.json", CREDENTIALS, 404, 20404),
        ("GET", f"{ACCOUNT}/Messages/SM{'0' * 32}.json", CREDENTIALS, 404, 20404),
        ("PUT", MESSAGES, CREDENTIALS, 405, 20004),
        ("DELETE", f"{ACCOUNT}/Messages/SM{'0' * 32}.json", CREDENTIALS, 405, 20004),
    ],
)
async def test_a_request_for_nothing_we_have_is_refused(
    client: httpx.AsyncClient,
    fakes: Fakes,
    method: str,
    path: str,
    auth: httpx.Auth,
    status: int,
    code: int,
) -> None:
    answer = await client.request(method, path, auth=auth)

    assert_refused(answer, status, code, fakes)


@pytest.mark.parametrize(
    ("content_type", "content", "code"),
    [
        ("application/json", json.dumps(SMS), 21604),
        ("application/x-www-form-urlencoded", "To=%FF", 20001),
        ("application/x-www-form-urlencoded", "To=₹", 20001),
        ("application/x-www-form-urlencoded", "&".join(f"F{n}=1" for n in range(1000)), 20001),
    ],
)
async def test_a_body_that_is_no_form_is_refused(
    client: httpx.AsyncClient, fakes: Fakes, content_type: str, content: str, code: int
) -> None:
    answer = await client.post(MESSAGES, headers={"Content-Type": content_type}, content=content)

    assert_refused(answer, 400, code, fakes)


async def test_the_list_of_the_official_sdk_finds_the_message(client: httpx.AsyncClient, clock: Clock) -> None:
    clock.now = datetime(2026, 1, 2, 3, 4, 5, 900_000, tzinfo=UTC)
    sent = (await client.post(MESSAGES, data=SMS)).json()["sid"]
    await client.post(MESSAGES, data=sms_with(To=RAVI))
    request = captured("twilio_messages_list")

    answer = await client.get(str(request.url.copy_with(scheme="http", host="fakes")), headers=request.headers)

    assert answer.status_code == 200
    assert_specified(LISTED_SCHEMA, answer)
    page = answer.json()
    assert [message["sid"] for message in page["messages"]] == [sent]
    assert page["messages"][0]["body"] == SMS["Body"]
    assert {name: page[name] for name in page.keys() - {"messages"}} == {
        "end": 0,
        "first_page_uri": f"{MESSAGES}?To=%2B919812345678&DateSent%3E=2026-01-02T03%3A04%3A05Z&PageSize=1&Page=0",
        "next_page_uri": None,
        "page": 0,
        "page_size": 1,
        "previous_page_uri": None,
        "start": 0,
        "uri": f"{MESSAGES}?To=%2B919812345678&DateSent%3E=2026-01-02T03%3A04%3A05Z&PageSize=1&Page=0",
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["late", "noon", "early", "day before"]),
        ({"To": ASHA}, ["late", "early", "day before"]),
        ({"To": "+14155552671"}, []),
        ({"From": "+15005550006"}, ["late", "noon", "early", "day before"]),
        ({"From": "+15005550005"}, []),
        ({"DateSent": "2026-03-01"}, ["late", "noon", "early"]),
        ({"DateSent>": "2026-03-01"}, ["late", "noon", "early"]),
        ({"DateSent>": "2026-03-01T12:00:00Z"}, ["late", "noon"]),
        ({"DateSent>": "2026-03-01T12:00:00.500000Z"}, ["late"]),
        ({"DateSent>": "2026-03-01T17:30:00+05:30"}, ["late", "noon"]),
        ({"DateSent<": "2026-02-28"}, ["day before"]),
        ({"DateSent<": "2026-03-01 12:00:00"}, ["noon", "early", "day before"]),
        ({"To": ASHA, "DateSent>": "2026-02-28", "DateSent<": "2026-03-01T00:00:00Z"}, ["early", "day before"]),
    ],
)
async def test_the_list_is_filtered(
    client: httpx.AsyncClient, clock: Clock, query: dict[str, str], found: list[str]
) -> None:
    for at, to, body in (
        (datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC), ASHA, "day before"),
        (datetime(2026, 3, 1, tzinfo=UTC), ASHA, "early"),
        (datetime(2026, 3, 1, 12, 0, 0, 700_000, tzinfo=UTC), RAVI, "noon"),
        (datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC), ASHA, "late"),
    ):
        clock.now = at
        await client.post(MESSAGES, data=sms_with(To=to, Body=body))

    answer = await client.get(MESSAGES, params=query)

    assert_specified(LISTED_SCHEMA, answer)
    assert [message["body"] for message in answer.json()["messages"]] == found


async def test_the_pages_of_a_list_hold_every_message_once(client: httpx.AsyncClient, clock: Clock) -> None:
    for number in range(5):
        clock.now += timedelta(seconds=1)
        await client.post(MESSAGES, data=sms_with(Body=str(number)))

    async def page(uri: str) -> Any:
        return (await client.get(uri)).json()

    first = await page(f"{MESSAGES}?To=%2B919812345678&PageSize=2")
    # A newcomer moves nobody to another page.
    await client.post(MESSAGES, data=sms_with(Body="newcomer"))
    second = await page(first["next_page_uri"])
    third = await page(second["next_page_uri"])
    back = await page(third["previous_page_uri"])

    bodies = [[message["body"] for message in shown["messages"]] for shown in (first, second, third, back)]
    assert bodies == [["4", "3"], ["2", "1"], ["0"], ["2", "1"]]
    assert [(shown["start"], shown["end"], shown["page"]) for shown in (first, second, third)] == [
        (0, 1, 0),
        (2, 3, 1),
        (4, 4, 2),
    ]
    assert third["next_page_uri"] is None
    assert first["previous_page_uri"] is None


@pytest.mark.parametrize(
    "query",
    [
        {"to": ASHA},
        {"DateSent>=": "2026-03-01"},
        {"DateSent>": "yesterday"},
        {"DateSent>": ""},
        {"PageSize": "0"},
        {"PageSize": "1001"},
        {"PageSize": "many"},
        {"Page": "-1"},
        {"PageToken": "3"},
        {"PageToken": f"PASM{'0' * 32}"},
        {"Status": "sent"},
    ],
)
async def test_a_list_with_a_faulty_query_is_refused(
    client: httpx.AsyncClient, fakes: Fakes, query: dict[str, str]
) -> None:
    answer = await client.get(MESSAGES, params=query)

    assert_refused(answer, 400, 20001, fakes)


async def test_the_list_holds_no_mail(client: httpx.AsyncClient, fakes: Fakes) -> None:
    mail = captured("sendgrid_mail_send")
    await client.post("/v3/mail/send", headers=mail.headers, content=mail.content, auth=httpx.Auth())

    answer = await client.get(MESSAGES)

    assert fakes.inbox.counts[Provider.SENDGRID].messages == 1
    assert answer.json()["messages"] == []
