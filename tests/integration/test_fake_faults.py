"""Faults on demand, as a client on a real connection meets them."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from app.dev.fakes import Fakes, running_fakes
from app.dev.fakes.faults import Breakage, Failure, Fault, Latency, Refusal
from app.dev.fakes.inbox import Provider
from tests.waiting import until

NOW = datetime(2026, 3, 1, 0, 30, tzinfo=UTC)
SENDGRID, TWILIO = Provider.SENDGRID, Provider.TWILIO
ASHA = "+919812345678"
RAVI = "+919898989898"
MESSAGES = "/2010-04-01/Accounts/AC0123456789abcdef0123456789abcdef/Messages.json"
CREDENTIALS = ("AC0123456789abcdef0123456789abcdef", "authtok")
DROPPED = (httpx.RemoteProtocolError, httpx.ReadError)


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Fakes]:
    async with running_fakes(fakes=Fakes(clock=lambda: NOW)) as fakes:
        yield fakes


@pytest.fixture
async def fakes(server: Fakes) -> Fakes:
    server.inbox.clear()
    server.faults.clear()
    return server


@pytest.fixture
async def client(fakes: Fakes) -> AsyncIterator[httpx.AsyncClient]:
    # The long wait is never waited for: it only has to be longer than any pause of this machine.
    async with httpx.AsyncClient(base_url=fakes.url, timeout=60) as client:
        yield client


@asynccontextmanager
async def under_way(request: Coroutine[Any, Any, httpx.Response]) -> AsyncIterator[asyncio.Task[httpx.Response]]:
    """The request as a task; at the end its client gives up."""
    task = asyncio.create_task(request)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def send_mail(client: httpx.AsyncClient, to: str = "asha@example.com", **options: Any) -> httpx.Response:
    mail = {
        "personalizations": [{"to": [{"email": to}]}],
        "from": {"email": "orders@dairy.example"},
        "subject": "Order 7",
        "content": [{"type": "text/plain", "value": "Order 7 is on its way"}],
    }
    return await client.post("/v3/mail/send", json=mail, headers={"Authorization": "Bearer SG.testkey"}, **options)


async def send_sms(client: httpx.AsyncClient, to: str = ASHA, **options: Any) -> httpx.Response:
    sms = {"To": to, "From": "+15005550006", "Body": "Order 7 is on its way"}
    return await client.post(MESSAGES, data=sms, auth=CREDENTIALS, **options)


async def list_sms(client: httpx.AsyncClient, **options: Any) -> httpx.Response:
    return await client.get(MESSAGES, auth=CREDENTIALS, **options)


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (429, {"errors": [{"message": "too many requests", "field": None, "help": None}]}),
        (500, {"errors": [{"message": "internal error", "field": None, "help": None}]}),
    ],
)
async def test_sendgrid_says_in_json_that_it_failed(
    fakes: Fakes, client: httpx.AsyncClient, status: Any, content: object
) -> None:
    fakes.faults.add(Failure(provider=SENDGRID, status=status))

    answer = await send_mail(client)

    assert (answer.status_code, answer.json()) == (status, content)
    assert len(fakes.inbox) == 0


@pytest.mark.parametrize(("status", "code"), [(429, 20429), (500, 20500)])
async def test_twilio_says_in_json_that_it_failed(
    fakes: Fakes, client: httpx.AsyncClient, status: Any, code: int
) -> None:
    fakes.faults.add(Failure(provider=TWILIO, status=status))

    answer = await send_sms(client)

    assert (answer.status_code, answer.json()["status"], answer.json()["code"]) == (status, status, code)
    assert len(fakes.inbox) == 0


@pytest.mark.parametrize("status", [502, 503])
@pytest.mark.parametrize("provider", [SENDGRID, TWILIO])
async def test_a_load_balancer_says_in_html_that_nobody_is_there(
    fakes: Fakes, client: httpx.AsyncClient, provider: Provider, status: Any
) -> None:
    fakes.faults.add(Failure(provider=provider, status=status))

    answer = await (send_mail(client) if provider is SENDGRID else send_sms(client))

    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.text.startswith("<html>")
    assert len(fakes.inbox) == 0


async def test_a_failure_may_be_said_of_what_was_done(fakes: Fakes, client: httpx.AsyncClient) -> None:
    fakes.faults.add(Failure(provider=TWILIO, status=500, takes_effect=True))

    answer = await send_sms(client)

    assert answer.status_code == 500
    assert [message.to for message in fakes.inbox] == [(ASHA,)]


async def test_a_rate_limit_says_when_to_come_back(fakes: Fakes, client: httpx.AsyncClient) -> None:
    fakes.faults.add(Failure(provider=TWILIO, status=429, retry_after=7))
    fakes.faults.add(Failure(provider=SENDGRID, status=429, rate_limit_reset=30))

    sms = await send_sms(client)
    mail = await send_mail(client)

    assert sms.headers["Retry-After"] == "7"
    assert "X-RateLimit-Reset" not in sms.headers
    assert mail.headers["X-RateLimit-Remaining"] == "0"
    assert mail.headers["X-RateLimit-Reset"] == str(int(NOW.timestamp()) + 30)
    assert "Retry-After" not in mail.headers


async def test_a_fault_strikes_so_many_requests_of_its_provider(fakes: Fakes, client: httpx.AsyncClient) -> None:
    fakes.faults.add(Failure(provider=SENDGRID, status=503, times=2))

    sms = await send_sms(client)
    mails = [await send_mail(client) for _ in range(3)]

    assert sms.status_code == 201
    assert [mail.status_code for mail in mails] == [503, 503, 202]
    assert fakes.faults.active() == []
    assert fakes.inbox.counts[SENDGRID].requests == 3
    assert fakes.inbox.counts[SENDGRID].messages == 1
    assert fakes.inbox.counts[SENDGRID].answers == {"503": 2, "202": 1}


async def test_a_fault_strikes_only_its_recipient(fakes: Fakes, client: httpx.AsyncClient) -> None:
    fakes.faults.add(Failure(provider=TWILIO, status=500, recipient=ASHA, times=1))

    others = await send_sms(client, to=RAVI)
    hers = [await send_sms(client, to=ASHA) for _ in range(2)]

    assert others.status_code == 201
    assert [sms.status_code for sms in hers] == [500, 201]


async def test_the_oldest_fault_strikes_first(fakes: Fakes, client: httpx.AsyncClient) -> None:
    fakes.faults.add(Failure(provider=TWILIO, status=500, times=1))
    fakes.faults.add(Failure(provider=TWILIO, status=503, times=1))

    answers = [await send_sms(client) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [500, 503, 201]


async def test_a_fault_of_sending_leaves_lookups_alone(fakes: Fakes, client: httpx.AsyncClient) -> None:
    fakes.faults.add(Failure(provider=TWILIO, status=500))
    fakes.faults.add(Failure(provider=TWILIO, on="lookup", status=503, times=1))

    sent, first, second = await send_sms(client), await list_sms(client), await list_sms(client)

    assert (sent.status_code, first.status_code, second.status_code) == (500, 503, 200)


@pytest.mark.parametrize("code", [21211, 21408, 21606, 21608, 21610, 21612, 21614, 21901])
async def test_twilio_refuses_a_number_on_demand(fakes: Fakes, client: httpx.AsyncClient, code: int) -> None:
    fakes.faults.add(Refusal(provider=TWILIO, code=code, recipient=ASHA))

    answer = await send_sms(client)

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert len(fakes.inbox) == 0


@pytest.mark.parametrize(("code", "field"), [(400, "personalizations.0.to.0.email"), (401, None), (403, "from")])
async def test_sendgrid_refuses_an_address_on_demand(
    fakes: Fakes, client: httpx.AsyncClient, code: int, field: str | None
) -> None:
    fakes.faults.add(Refusal(provider=SENDGRID, code=code, recipient="asha@example.com"))

    hers = await send_mail(client)
    others = await send_mail(client, to="ravi@example.com")

    assert hers.status_code == code
    assert [error["field"] for error in hers.json()["errors"]] == [field]
    assert others.status_code == 202


async def test_latency_delays_the_answer_and_nobody_else(fakes: Fakes, client: httpx.AsyncClient) -> None:
    fakes.faults.add(Latency(provider=TWILIO, milliseconds=3_600_000, recipient=ASHA))

    async with under_way(send_sms(client)) as hers:
        await until(lambda: len(fakes.inbox))
        others = await send_sms(client, to=RAVI)

        assert others.status_code == 201
        assert not hers.done()
        assert [message.to for message in fakes.inbox] == [(ASHA,), (RAVI,)]


async def test_an_answer_that_is_held_up_comes_when_the_faults_are_removed(
    fakes: Fakes, client: httpx.AsyncClient
) -> None:
    fakes.faults.add(Latency(provider=TWILIO, milliseconds=3_600_000))
    held_up = asyncio.create_task(send_sms(client))
    await until(lambda: len(fakes.inbox))

    fakes.faults.clear()

    assert (await held_up).status_code == 201


async def test_latencies_add_up_and_the_other_fault_comes_after_them(fakes: Fakes, client: httpx.AsyncClient) -> None:
    fakes.faults.add(Latency(provider=SENDGRID, milliseconds=20))
    fakes.faults.add(Latency(provider=SENDGRID, milliseconds=30))
    fakes.faults.add(Failure(provider=SENDGRID, status=503, times=1))

    answers = [await send_mail(client) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [503, 202]
    assert min(answer.elapsed for answer in answers) >= timedelta(milliseconds=50)


@pytest.mark.parametrize("send", [send_mail, send_sms])
async def test_an_accepted_message_may_never_be_answered(fakes: Fakes, client: httpx.AsyncClient, send: Any) -> None:
    provider = SENDGRID if send is send_mail else TWILIO
    fakes.faults.add(Breakage(provider=provider, kind="no_answer", times=1))

    async with under_way(send(client)) as sending:
        await until(lambda: len(fakes.inbox))
        # It waits for as long as the client does.
        await asyncio.wait([sending], timeout=0.05)
        assert not sending.done()

    assert len(fakes.inbox) == 1
    await until(lambda: fakes.inbox.counts[provider].answers == {"none": 1})


@pytest.mark.parametrize("send", [send_mail, send_sms])
@pytest.mark.parametrize(("kind", "accepted"), [("dropped_before", 0), ("dropped_after", 1)])
async def test_the_connection_is_dropped_before_or_after_accepting(
    fakes: Fakes, client: httpx.AsyncClient, send: Any, kind: Any, accepted: int
) -> None:
    provider = SENDGRID if send is send_mail else TWILIO
    fakes.faults.add(Breakage(provider=provider, kind=kind, times=1))

    with pytest.raises(DROPPED):
        await send(client)
    count = len(fakes.inbox)
    await send(client)

    assert count == accepted
    assert len(fakes.inbox) == accepted + 1


async def test_a_lost_sms_is_found_by_asking(fakes: Fakes, client: httpx.AsyncClient) -> None:
    fakes.faults.add(Breakage(provider=TWILIO, kind="dropped_after"))

    with pytest.raises(DROPPED):
        await send_sms(client)
    listed = await list_sms(client, params={"To": ASHA})

    assert [message["body"] for message in listed.json()["messages"]] == ["Order 7 is on its way"]


@pytest.mark.parametrize(("send", "status"), [(send_mail, 202), (send_sms, 201)])
async def test_an_accepted_message_may_be_answered_with_wrong_json(
    fakes: Fakes, client: httpx.AsyncClient, send: Any, status: int
) -> None:
    fakes.faults.add(Breakage(provider=SENDGRID if send is send_mail else TWILIO, kind="wrong_json"))

    answer = await send(client)

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    assert "X-Message-Id" not in answer.headers
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    assert len(fakes.inbox) == 1


async def test_faults_are_added_shown_and_removed_over_http(fakes: Fakes, client: httpx.AsyncClient) -> None:
    limit = {"provider": "sendgrid", "kind": "failure", "status": 429, "retry_after": 5, "times": 3}

    added = await client.post("/faults", json=limit)
    struck = await send_mail(client)
    shown = await client.get("/faults")
    removed = await client.delete("/faults")
    after = await send_mail(client)

    assert added.status_code == 201
    assert struck.status_code == 429
    defaults = {"on": "send", "recipient": None, "rate_limit_reset": None, "takes_effect": False}
    assert shown.json() == [limit | defaults | {"times": 2}]
    assert removed.status_code == 204
    assert after.status_code == 202
    assert (await client.get("/faults")).json() == []


@pytest.mark.parametrize(
    ("fault", "where", "says"),
    [
        ({}, [], "kind"),
        ({"provider": "sendgrid", "kind": "gremlins"}, [], "'no_answer'"),
        (
            {"provider": "mailchimp", "kind": "no_answer"},
            ["provider"],
            "'sendgrid', 'ses', 'smtp', 'twilio'",
        ),
        ({"provider": "twilio", "kind": "failure"}, ["status"], "required"),
        ({"provider": "twilio", "kind": "failure", "status": 418}, ["status"], "429, 500, 502 or 503"),
        ({"provider": "twilio", "kind": "latency", "milliseconds": 0}, ["milliseconds"], "greater than or equal to 1"),
        ({"provider": "twilio", "kind": "no_answer", "times": 0}, ["times"], "greater than or equal to 1"),
        ({"provider": "twilio", "kind": "no_answer", "time": 1}, ["time"], "not permitted"),
        ({"provider": "twilio", "kind": "refusal", "code": 403}, [], "21211, 21408"),
        ({"provider": "sendgrid", "kind": "refusal", "code": 21211}, [], "400, 401, 403"),
        ({"provider": "twilio", "kind": "no_answer", "on": "lookup", "recipient": ASHA}, [], "on=lookup"),
        ({"provider": "twilio", "kind": "no_answer", "on": "charge"}, [], "twilio is asked for send, lookup"),
        ({"provider": "razorpay", "kind": "no_answer"}, [], "razorpay is asked for order, charge, lookup"),
        ({"provider": "razorpay", "kind": "refusal", "on": "charge", "code": "no_mood"}, [], "insufficient_funds"),
        ({"provider": "twilio", "kind": "failure", "status": 429, "takes_effect": True}, [], "never done"),
    ],
)
async def test_a_faulty_fault_is_refused_with_the_reason(
    fakes: Fakes, client: httpx.AsyncClient, fault: dict[str, object], where: list[str], says: str
) -> None:
    answer = await client.post("/faults", json=fault)

    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert problem["loc"][2:] == where
    assert says in problem["msg"]
    assert fakes.faults.active() == []


async def test_a_fault_given_twice_counts_for_itself(fakes: Fakes, client: httpx.AsyncClient) -> None:
    fault: Fault = Failure(provider=SENDGRID, status=500, times=1)

    for _ in range(2):
        fakes.faults.add(fault)
        assert (await send_mail(client)).status_code == 500

    assert (await send_mail(client)).status_code == 202
