"""What the fakes accepted, for programs and for people."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest

from app.dev.fakes import Fakes
from app.dev.fakes.faults import Breakage
from app.dev.fakes.inbox import MESSAGES_KEPT, Message, Provider

MAIL = Message(
    id="m1",
    provider=Provider.SENDGRID,
    sender="orders@dairy.example",
    to=("asha@example.com", "ravi@example.com"),
    subject="Order <b>7</b> & more",
    text="Your order <script>alert(1)</script>",
    html="<p>Order 7</p><script>alert(1)</script>",
    details={"custom_args.key": "7"},
    headers={"user-agent": "indostar"},
    received_at=datetime(2026, 3, 1, 0, 30, tzinfo=UTC),
)
SMS = Message(
    id="SM1",
    provider=Provider.TWILIO,
    sender="+15005550006",
    to=("+919812345678",),
    text="Rs 45.00 paid",
    details={},
    headers={},
    received_at=datetime(2026, 3, 1, 0, 31, tzinfo=UTC),
)


@pytest.fixture
def fakes() -> Fakes:
    fakes = Fakes()
    fakes.inbox.add(MAIL)
    fakes.inbox.add(SMS)
    return fakes


@pytest.fixture
async def client(fakes: Fakes) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(fakes.app), base_url=fakes.url) as client:
        yield client


async def test_the_inbox_tells_all_of_a_message(client: httpx.AsyncClient) -> None:
    answer = await client.get("/inbox", params={"provider": "sendgrid"})

    assert answer.json() == {
        "counts": {
            "sendgrid": {"requests": 0, "messages": 1, "answers": {}},
            "ses": {"requests": 0, "messages": 0, "answers": {}},
            "smtp": {"requests": 0, "messages": 0, "answers": {}},
            "twilio": {"requests": 0, "messages": 1, "answers": {}},
            "msg91": {"requests": 0, "messages": 0, "answers": {}},
            "razorpay": {"requests": 0, "messages": 0, "answers": {}},
        },
        "messages": [
            {
                "id": "m1",
                "provider": "sendgrid",
                "sender": "orders@dairy.example",
                "to": ["asha@example.com", "ravi@example.com"],
                "subject": "Order <b>7</b> & more",
                "text": "Your order <script>alert(1)</script>",
                "html": "<p>Order 7</p><script>alert(1)</script>",
                "details": {"custom_args.key": "7"},
                "headers": {"user-agent": "indostar"},
                "received_at": "2026-03-01T00:30:00Z",
            }
        ],
    }


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({}, ["SM1", "m1"]),
        ({"limit": "1"}, ["SM1"]),
        ({"provider": "twilio"}, ["SM1"]),
        ({"to": "ravi@example.com"}, ["m1"]),
        ({"to": "+919812345678"}, ["SM1"]),
        ({"to": "ravi@example.com", "provider": "twilio"}, []),
    ],
)
async def test_the_inbox_is_filtered_newest_first(
    client: httpx.AsyncClient, query: dict[str, str], ids: list[str]
) -> None:
    answer = await client.get("/inbox", params=query)

    assert [message["id"] for message in answer.json()["messages"]] == ids


@pytest.mark.parametrize("query", [{"provider": "mailchimp"}, {"limit": "0"}, {"limit": "10001"}, {"limit": "all"}])
async def test_a_faulty_query_is_refused(client: httpx.AsyncClient, query: dict[str, str]) -> None:
    answer = await client.get("/inbox", params=query)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", *query]


async def test_the_inbox_is_emptied(client: httpx.AsyncClient, fakes: Fakes) -> None:
    answer = await client.delete("/inbox")

    assert answer.status_code == 204
    assert len(fakes.inbox) == 0
    assert fakes.inbox.counts[Provider.SENDGRID].messages == 0


def test_old_messages_are_dropped_and_still_counted(fakes: Fakes) -> None:
    fakes.inbox.clear()

    for number in range(MESSAGES_KEPT + 1):
        fakes.inbox.add(replace(MAIL, id=str(number)))

    assert len(fakes.inbox) == MESSAGES_KEPT
    assert fakes.inbox.get("0") is None
    assert fakes.inbox.get("1") is not None
    assert fakes.inbox.counts[Provider.SENDGRID].messages == MESSAGES_KEPT + 1


async def test_the_page_shows_messages_and_runs_nothing(client: httpx.AsyncClient, fakes: Fakes) -> None:
    fakes.faults.add(Breakage(provider=Provider.TWILIO, kind="no_answer"))

    page = await client.get("/")

    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "<h2>Order &lt;b&gt;7&lt;/b&gt; &amp; more</h2>" in page.text
    assert "Your order &lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "<script" not in page.text
    assert "//" not in page.text.replace("<!doctype html>", "")
    for shown in ("Rs 45.00 paid", "+919812345678", "01 Mar 2026 00:30:00 UTC", "user-agent", "SM1", "no_answer"):
        assert shown in page.text


async def test_the_page_is_filtered(client: httpx.AsyncClient) -> None:
    page = await client.get("/", params={"to": "+919812345678"})

    assert "Rs 45.00 paid" in page.text
    assert "Order" not in page.text


async def test_the_html_of_a_mail_is_shown_in_a_sandbox(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    mail = await client.get("/inbox/m1/html")

    assert '<iframe sandbox loading="lazy" title="HTML part" src="/inbox/m1/html">' in page.text
    assert mail.text == MAIL.html
    assert mail.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")


@pytest.mark.parametrize("message_id", ["SM1", "nobody"])
async def test_what_has_no_html_is_not_found(client: httpx.AsyncClient, message_id: str) -> None:
    answer = await client.get(f"/inbox/{message_id}/html")

    assert answer.status_code == 404


async def test_the_fakes_say_that_they_are_alive(client: httpx.AsyncClient) -> None:
    answer = await client.get("/healthz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_without_a_socket_a_drop_is_a_reset(client: httpx.AsyncClient, fakes: Fakes) -> None:
    fakes.faults.add(Breakage(provider=Provider.SENDGRID, kind="dropped_before"))

    with pytest.raises(ConnectionResetError):
        await client.post("/v3/mail/send")

    assert fakes.inbox.counts[Provider.SENDGRID].answers == {"none": 1}
