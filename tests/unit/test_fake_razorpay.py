"""The fake Razorpay takes what the real one takes, refuses what it refuses, and keeps true books."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from app.dev.fakes import Fakes
from app.dev.fakes.razorpay import ReceiptRule
from app.dev.fakes.razorpay_books import Mandate, Subscription
from app.dev.fakes.razorpay_fates import Fate
from tests.contract_data import captured

START = datetime(2026, 1, 3, 0, 30, tzinfo=UTC)
CREDENTIALS = httpx.BasicAuth("rzp_test_key", "secret")
ORDER: dict[str, Any] = {"amount": 4500, "currency": "INR", "receipt": "sub-42-20260105", "payment_capture": True}
RECURRING = "/v1/payments/create/recurring"


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fakes(clock: Clock) -> Fakes:
    fakes = Fakes(clock=clock)
    mandate = Mandate(customer_id="cust_1Aa00000000001", token_id="token_1Aa00000000001", max_amount=100_000)
    fakes.razorpay.books.mandates[mandate.token_id] = mandate
    return fakes


@pytest.fixture
async def client(fakes: Fakes) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(fakes.app), base_url=fakes.url, auth=CREDENTIALS
    ) as client:
        yield client


async def make_order(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await client.post("/v1/orders", json=ORDER | changes)
    assert answer.status_code == 200
    order: dict[str, Any] = answer.json()
    return order


def charge_of(order: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "email": "a@example.com",
        "contact": "+919812345678",
        "amount": order["amount"],
        "currency": "INR",
        "order_id": order["id"],
        "customer_id": "cust_1Aa00000000001",
        "token": "token_1Aa00000000001",
        "recurring": True,
    } | changes


async def charge(client: httpx.AsyncClient, order: dict[str, Any], **changes: Any) -> str:
    answer = await client.post(RECURRING, json=charge_of(order, **changes))
    assert answer.status_code == 200
    return str(answer.json()["razorpay_payment_id"])


async def status_of(client: httpx.AsyncClient, path: str) -> str:
    return str((await client.get(f"/v1/{path}")).json()["status"])


async def test_the_requests_of_the_official_sdk_are_understood(client: httpx.AsyncClient, fakes: Fakes) -> None:
    async def replay(name: str, **changes: Any) -> httpx.Response:
        request = captured(name)
        content = json.dumps(json.loads(request.content) | changes) if request.content else None
        headers = {name: value for name, value in request.headers.items() if name not in ("host", "content-length")}
        path = changes.get("path") or request.url.raw_path.decode()
        return await client.request(request.method, path, headers=headers, content=content, auth=None)

    fakes.razorpay.books.subscriptions["sub_00000000000001"] = Subscription(
        id="sub_00000000000001", customer_id="cust_1Aa00000000001"
    )
    order = await replay("razorpay_order_create")
    order_id = order.json()["id"]
    taken_on = await replay("razorpay_create_recurring", order_id=order_id)
    listed = await replay("razorpay_orders_by_receipt")
    payments = await replay("razorpay_order_payments", path=f"/v1/orders/{order_id}/payments")
    payment = await replay("razorpay_payment_fetch", path=f"/v1/payments/{taken_on.json()['razorpay_payment_id']}")
    subscription = await replay("razorpay_subscription_fetch")
    invoices = await replay("razorpay_invoices_by_subscription")

    answers = [order, taken_on, listed, payments, payment, subscription, invoices]
    assert [answer.status_code for answer in answers] == [200] * 7
    assert order.json()["notes"] == {"subscription_id": "42", "delivery_date": "2026-01-05"}
    assert [each["id"] for each in listed.json()["items"]] == [order_id]
    assert payments.json()["items"] == [payment.json()]
    assert invoices.json() == {"entity": "collection", "count": 0, "items": []}
    assert all(answer.headers["X-Razorpay-Request-Id"] for answer in answers)


async def test_without_notice_a_debit_waits_for_it_to_run(
    client: httpx.AsyncClient, fakes: Fakes, clock: Clock
) -> None:
    order = await make_order(client)
    payment_id = await charge(client, order)

    clock.now += timedelta(hours=24)
    before = await status_of(client, f"payments/{payment_id}"), await status_of(client, f"orders/{order['id']}")
    clock.now += timedelta(hours=1)
    after = await status_of(client, f"payments/{payment_id}"), await status_of(client, f"orders/{order['id']}")

    assert before == ("created", "attempted")
    assert after == ("captured", "paid")
    (money,) = fakes.razorpay.books.captured(receipt="sub-42-20260105")
    assert (money.payment_id, money.order_id, money.amount, money.at) == (payment_id, order["id"], 4500, clock.now)


async def test_after_its_notice_a_debit_is_made_at_once(client: httpx.AsyncClient, clock: Clock) -> None:
    due = START + timedelta(days=2)
    order = await make_order(
        client, notification={"token_id": "token_1Aa00000000001", "payment_after": int(due.timestamp())}
    )

    early = await client.post(RECURRING, json=charge_of(order))
    clock.now = due
    payment_id = await charge(client, order)

    assert (early.status_code, early.json()["error"]["reason"]) == (400, "pre_debit_notification_not_sent")
    assert await status_of(client, f"payments/{payment_id}") == "captured"


async def test_a_debit_is_refused_whose_notice_was_sent_less_than_a_day_before(
    client: httpx.AsyncClient, clock: Clock
) -> None:
    due = START + timedelta(hours=3)
    order = await make_order(
        client, notification={"token_id": "token_1Aa00000000001", "payment_after": int(due.timestamp())}
    )

    clock.now = START + timedelta(hours=23)
    early = await client.post(RECURRING, json=charge_of(order))
    clock.now = START + timedelta(hours=24)
    payment_id = await charge(client, order)

    assert (early.status_code, early.json()["error"]["reason"]) == (400, "pre_debit_notification_not_sent")
    assert await status_of(client, f"payments/{payment_id}") == "captured"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"amount": 99}, "amount"),
        ({"amount": "4500"}, "amount"),
        ({"amount": 45.5}, "amount"),
        ({"amount": None}, "amount"),
        ({"currency": "USD"}, "currency"),
        ({"receipt": "x" * 41}, "receipt"),
        ({"payment_capture": False}, "payment_capture"),
        ({"notes": {str(number): "x" for number in range(16)}}, "notes"),
        ({"notes": {"k": "x" * 257}}, "notes.k"),
        ({"colour": "white"}, "colour"),
        ({"notification": {"token_id": "token_2", "payment_after": 2_000_000_000}}, "token_id"),
        ({"notification": {"token_id": "token_1Aa00000000001", "payment_after": 1_000_000_000}}, "payment_after"),
    ],
)
async def test_a_faulty_order_is_refused(
    client: httpx.AsyncClient, fakes: Fakes, changes: dict[str, Any], field: str
) -> None:
    answer = await client.post("/v1/orders", json=ORDER | changes)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BAD_REQUEST_ERROR")
    assert answer.json()["error"]["field"] == field
    assert fakes.razorpay.books.orders == {}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"amount": 4501}, "different from your order amount"),
        ({"currency": "USD"}, "currency"),
        ({"order_id": "order_2"}, "The id provided does not exist"),
        ({"token": "token_2"}, "The id provided does not exist"),
        ({"customer_id": "cust_2"}, "The id provided does not exist"),
        ({"recurring": False}, "recurring"),
        ({"email": "nobody"}, "email"),
        ({"contact": "98-123"}, "contact"),
        ({"mandate": "x"}, "should not be sent"),
    ],
)
async def test_a_faulty_charge_is_refused(
    client: httpx.AsyncClient, fakes: Fakes, changes: dict[str, Any], says: str
) -> None:
    answer = await client.post(RECURRING, json=charge_of(await make_order(client), **changes))

    assert answer.status_code == 400
    assert says in answer.json()["error"]["description"]
    assert fakes.razorpay.books.payments == {}


@pytest.mark.parametrize(
    ("mandate", "reason"),
    [
        ({"status": "paused"}, "mandate_not_active"),
        ({"status": "cancelled"}, "mandate_not_active"),
        ({"status": "initiated"}, "mandate_not_active"),
        ({"expires_at": START}, "mandate_expired"),
        ({"max_amount": 4499}, "amount_exceeds_mandate_limit"),
    ],
)
async def test_a_mandate_that_does_not_cover_the_charge_refuses_it(
    client: httpx.AsyncClient, fakes: Fakes, mandate: dict[str, Any], reason: str
) -> None:
    fakes.razorpay.books.mandates["token_2"] = Mandate(customer_id="cust_2", token_id="token_2", **mandate)
    order = await make_order(client)

    answer = await client.post(RECURRING, json=charge_of(order, token="token_2", customer_id="cust_2"))

    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, reason)
    assert fakes.razorpay.books.payments == {}


async def test_an_order_that_is_paid_is_not_charged_again(client: httpx.AsyncClient, fakes: Fakes) -> None:
    fakes.razorpay.fates.add(Fate(becomes="captured"))
    order = await make_order(client)
    await charge(client, order)

    again = await client.post(RECURRING, json=charge_of(order))

    assert again.json()["error"]["description"] == "Payment already done for this order."
    assert len(fakes.razorpay.books.captured()) == 1


async def test_whoever_charges_again_while_one_is_under_way_may_be_paid_twice(
    client: httpx.AsyncClient, fakes: Fakes
) -> None:
    order = await make_order(client)
    payments = [await charge(client, order) for _ in range(2)]

    for payment_id in payments:
        await client.post(f"/razorpay/payments/{payment_id}/capture")

    assert [money.payment_id for money in fakes.razorpay.books.captured(order_id=order["id"])] == payments


@pytest.mark.parametrize(
    ("rule", "statuses", "orders"), [("reuse", [200, 200], 1), ("refuse", [200, 400], 1), ("repeat", [200, 200], 2)]
)
async def test_a_receipt_given_twice(
    client: httpx.AsyncClient, fakes: Fakes, rule: ReceiptRule, statuses: list[int], orders: int
) -> None:
    await client.put("/razorpay/receipts", json=rule)

    answers = [await client.post("/v1/orders", json=ORDER) for _ in range(2)]
    listed = await client.get("/v1/orders", params={"receipt": "sub-42-20260105"})

    assert [answer.status_code for answer in answers] == statuses
    assert len(fakes.razorpay.books.orders) == listed.json()["count"] == orders
    assert answers[1].json().get("unique_receipt", False) is (rule == "reuse")
    assert (answers[0].json().get("id") == answers[1].json().get("id")) is (rule == "reuse")


async def test_the_list_holds_what_contains_the_receipt_newest_first_by_tens(client: httpx.AsyncClient) -> None:
    for number in range(12):
        await make_order(client, receipt=f"sub-{number}-20260105")

    everything = (await client.get("/v1/orders", params={"receipt": "20260105"})).json()
    rest = (await client.get("/v1/orders", params={"receipt": "20260105", "skip": 10})).json()
    one = (await client.get("/v1/orders", params={"receipt": "sub-1"})).json()
    wrong = await client.get("/v1/orders", params={"count": 101})

    assert [each["receipt"] for each in everything["items"]] == [f"sub-{n}-20260105" for n in range(11, 1, -1)]
    assert [each["receipt"] for each in rest["items"]] == ["sub-1-20260105", "sub-0-20260105"]
    assert [each["receipt"][:6] for each in one["items"]] == ["sub-11", "sub-10", "sub-1-"]
    assert wrong.status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "auth", "status", "says"),
    [
        ("GET", "/v1/orders", httpx.BasicAuth("rzp_test_key", "wrong"), 401, "api key"),
        ("GET", "/v1/refunds", CREDENTIALS, 400, "URL"),
        ("GET", "/v1/payments/pay_1/payments", CREDENTIALS, 400, "URL"),
        ("POST", "/v1/payments/pay_1/capture", CREDENTIALS, 400, "URL"),
        ("PUT", "/v1/orders", CREDENTIALS, 400, "URL"),
        ("GET", "/v1/orders/order_1", CREDENTIALS, 400, "id provided"),
        ("GET", "/v1/orders/order_1/payments", CREDENTIALS, 400, "id provided"),
        ("GET", "/v1/payments/pay_1", CREDENTIALS, 400, "id provided"),
        ("GET", "/v1/subscriptions/sub_1", CREDENTIALS, 400, "id provided"),
    ],
)
async def test_a_request_for_nothing_we_have_is_refused(
    client: httpx.AsyncClient, method: str, path: str, auth: httpx.Auth, status: int, says: str
) -> None:
    answer = await client.request(method, path, auth=auth)

    assert answer.status_code == status
    assert says in answer.json()["error"]["description"]


async def test_a_debit_can_be_led_through_its_states_by_hand(client: httpx.AsyncClient, fakes: Fakes) -> None:
    await client.post("/razorpay/fates", json={"becomes": "created", "of": "sub-42-20260105", "times": 1})
    payment_id = await charge(client, await make_order(client))
    steps = ["authorize", "fail", "capture", "fail", "capture", "refund", "capture"]

    answers = [await client.post(f"/razorpay/payments/{payment_id}/{step}") for step in steps]

    # The third is a bank that authorises late. What is captured stays so, unless it is given back.
    assert [answer.status_code for answer in answers] == [200, 200, 200, 409, 409, 200, 409]
    assert [answer.json()["status"] for answer in answers[:3]] == ["authorized", "failed", "captured"]
    assert (await client.get("/razorpay/captured", params={"receipt": "sub-42-20260105"})).json()["total"] == 4500
    assert (await client.get("/razorpay/captured", params={"order_id": "order_2"})).json()["count"] == 0
    assert (await client.post("/razorpay/payments/pay_1/capture")).status_code == 404


async def test_a_debit_that_failed_says_why(client: httpx.AsyncClient, fakes: Fakes) -> None:
    fakes.razorpay.fates.add(Fate(becomes="failed", reason="insufficient_funds", of="token_1Aa00000000001"))

    payment_id = await charge(client, await make_order(client))
    payment = (await client.get(f"/v1/payments/{payment_id}")).json()

    assert (payment["status"], payment["error_reason"]) == ("failed", "insufficient_funds")
    assert payment["error_description"].startswith("Your payment could not be completed")
    assert fakes.razorpay.books.captured() == []


async def test_a_debit_that_failed_may_be_refused_at_once(client: httpx.AsyncClient, fakes: Fakes) -> None:
    fakes.razorpay.fates.add(Fate(becomes="failed", reason="insufficient_funds", refuses=True, times=1))
    order = await make_order(client)

    answer = await client.post(RECURRING, json=charge_of(order))
    payments = (await client.get(f"/v1/orders/{order['id']}/payments")).json()["items"]

    error = answer.json()["error"]
    assert (answer.status_code, error["reason"]) == (400, "insufficient_funds")
    assert [(payment["id"], payment["status"]) for payment in payments] == [(error["metadata"]["payment_id"], "failed")]
    assert fakes.razorpay.fates.active() == []


@pytest.mark.parametrize(
    "fate",
    [
        {},
        {"becomes": "rich"},
        {"becomes": "failed", "reason": "bad mood"},
        {"becomes": "failed", "refuses": True},
        {"becomes": "created", "reason": "x"},
    ],
)
async def test_a_faulty_fate_is_refused(client: httpx.AsyncClient, fakes: Fakes, fate: dict[str, Any]) -> None:
    assert (await client.post("/razorpay/fates", json=fate)).status_code == 422
    assert fakes.razorpay.fates.active() == []


async def test_mandates_and_subscriptions_are_set_up_over_http(client: httpx.AsyncClient) -> None:
    period = {"billing_start": "2026-01-05T00:00:00+05:30", "billing_end": "2026-01-12T00:00:00+05:30"}
    (mandate,) = (await client.post("/razorpay/mandates", json=[{"customer_id": "cust_2"}])).json()
    await client.put("/razorpay/subscriptions", json={"id": "sub_2"})

    paid = (await client.post("/razorpay/subscriptions/sub_2/invoices", json={"amount": 31500} | period)).json()
    await client.put("/razorpay/subscriptions", json={"id": "sub_2", "status": "halted"})
    unpaid = await client.post("/razorpay/subscriptions/sub_2/invoices", json={"amount": 31500, "paid": False} | period)
    never = await client.post("/razorpay/subscriptions/sub_2/invoices", json={"amount": 31500} | period)
    refused = await client.post(f"/razorpay/invoices/{unpaid.json()['id']}/pay")
    invoices = (await client.get("/v1/invoices", params={"subscription_id": "sub_2"})).json()

    assert mandate["status"] == "confirmed"
    assert [invoice["status"] for invoice in invoices["items"]] == ["issued", "paid"]
    assert paid["billing_start"] == 1767551400
    assert (never.status_code, refused.status_code) == (409, 409)
    assert await status_of(client, "subscriptions/sub_2") == "halted"
    assert await status_of(client, f"payments/{paid['payment_id']}") == "captured"


async def test_the_page_shows_payments(client: httpx.AsyncClient) -> None:
    payment_id = await charge(client, await make_order(client))

    page = await client.get("/")

    for shown in (payment_id, "sub-42-20260105", "45.00", "created"):
        assert shown in page.text
    assert payment_id not in (await client.get("/", params={"provider": "twilio"})).text


async def test_everything_can_be_forgotten(client: httpx.AsyncClient, fakes: Fakes) -> None:
    fakes.razorpay.fates.add(Fate(becomes="captured"))
    await charge(client, await make_order(client))

    answer = await client.delete("/razorpay")

    assert answer.status_code == 204
    assert fakes.razorpay.books.captured() == []
    assert (await client.get("/v1/orders")).json()["count"] == 0
