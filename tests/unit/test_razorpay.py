"""Razorpay: the requests it is sent, and which of its answers are believed."""

import json
import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.errors import NotDone
from app.providers.failures import NotListedYet, ProviderFailure, ProviderOutcomeUnknown
from app.providers.http import http_client
from app.providers.payments.entities import (
    GatewayOrderId,
    GatewayPaymentId,
    GatewaySubscriptionId,
    InvoiceId,
    Paise,
)
from app.providers.payments.razorpay import Razorpay
from app.providers.payments.requests import Debit, Notice, OrderRequest
from tests.contract_data import address, captured

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
RECEIPT = "sub_42:2026-01-05"
AMOUNT = Paise(4500)
ORDER_ID = GatewayOrderId("order_1Aa00000000002")
PAYMENT_ID = GatewayPaymentId("pay_1Aa00000000001")
SUBSCRIPTION_ID = GatewaySubscriptionId("sub_00000000000001")
INVOICE_ID = InvoiceId("inv_00000000000003")
WANTED = OrderRequest(RECEIPT, AMOUNT, {"subscription_id": "42", "delivery_date": "2026-01-05"})
DEBIT = Debit(
    customer_id="cust_1Aa00000000001",
    token_id="token_1Aa00000000001",
    email="a@example.com",
    contact="+919812345678",
    description="Milk 2026-01-05",
    notes={"k": "v"},
)
ORDER = {
    "id": ORDER_ID,
    "entity": "order",
    "amount": 4500,
    "amount_paid": 0,
    "amount_due": 4500,
    "currency": "INR",
    "receipt": RECEIPT,
    "status": "created",
    "attempts": 0,
    "notes": [],
    "created_at": 1767600000,
}
PAYMENT = {
    "id": PAYMENT_ID,
    "entity": "payment",
    "amount": 4500,
    "currency": "INR",
    "status": "captured",
    "order_id": ORDER_ID,
    "captured": "1",
    "email": "a@example.com",
    "contact": "+919812345678",
    "notes": {},
    "error_code": None,
    "created_at": 1767600000,
}
SUBSCRIPTION = {
    "id": SUBSCRIPTION_ID,
    "status": "active",
}
INVOICE = {
    "id": INVOICE_ID,
    "subscription_id": SUBSCRIPTION_ID,
    "order_id": ORDER_ID,
    "payment_id": PAYMENT_ID,
    "status": "paid",
    "amount": 31500,
    "currency": "INR",
    "billing_start": 1767600000,
    "billing_end": 1768204800,
    "paid_at": 1767600100,
}

Handler = Callable[[httpx.Request], httpx.Response]
Ask = Callable[[Razorpay], Awaitable[Any]]


def razorpay(answer: Any) -> Razorpay:
    """`answer` is a handler, an answer, or the JSON of a good one."""
    if not callable(answer):
        fixed = answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)
        return razorpay(lambda _: fixed)
    return Razorpay(
        http_client(transport=httpx.MockTransport(answer)),
        base_url="https://api.razorpay.com",
        key_id="rzp_test_key",
        key_secret=SecretStr("secret"),
        now=lambda: NOW,
    )


def listing(*items: dict[str, Any]) -> dict[str, Any]:
    return {"entity": "collection", "count": len(items), "items": list(items)}


async def create_order(gateway: Razorpay) -> Any:
    return await gateway.create_order(WANTED)


async def find_order(gateway: Razorpay) -> Any:
    return await gateway.find_order(RECEIPT, AMOUNT)


async def fetch_order(gateway: Razorpay) -> Any:
    return await gateway.order(ORDER_ID, receipt=RECEIPT, amount=AMOUNT)


async def fetch_payments(gateway: Razorpay) -> Any:
    return await gateway.payments_of(ORDER_ID, amount=AMOUNT)


async def charge(gateway: Razorpay) -> Any:
    return await gateway.charge(ORDER_ID, DEBIT, amount=AMOUNT)


async def fetch_payment(gateway: Razorpay) -> Any:
    return await gateway.payment(PAYMENT_ID, order_id=ORDER_ID, amount=AMOUNT)


async def fetch_subscription(gateway: Razorpay) -> Any:
    return await gateway.subscription(SUBSCRIPTION_ID)


async def fetch_invoices(gateway: Razorpay) -> Any:
    return await gateway.invoices(SUBSCRIPTION_ID)


async def fetch_invoice(gateway: Razorpay) -> Any:
    return await gateway.invoice(INVOICE_ID)


CALLS: list[tuple[str, Ask, dict[str, Any]]] = [
    ("razorpay_order_create", create_order, ORDER),
    ("razorpay_orders_by_receipt", find_order, listing(ORDER)),
    ("razorpay_order_payments", fetch_payments, listing(PAYMENT)),
    ("razorpay_create_recurring", charge, {"razorpay_payment_id": PAYMENT_ID}),
    ("razorpay_payment_fetch", fetch_payment, PAYMENT),
    ("razorpay_subscription_fetch", fetch_subscription, SUBSCRIPTION),
    ("razorpay_invoices_by_subscription", fetch_invoices, listing(INVOICE)),
]


async def requested(ask: Ask, body: dict[str, Any]) -> httpx.Request:
    """The only request that this makes."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json=body)

    await ask(razorpay(answer))
    (request,) = requests
    return request


@pytest.mark.parametrize(("capture", "ask", "body"), CALLS, ids=[call[0] for call in CALLS])
async def test_the_request_means_what_the_sdk_would_send(capture: str, ask: Ask, body: dict[str, Any]) -> None:
    expected = captured(capture)

    request = await requested(ask, body)

    # Ours asks for a full page of a list; the SDK leaves it at ten.
    paging = {"count": "100", "skip": "0"} if expected.url.params else {}
    assert address(request)[:3] == address(expected)[:3]
    assert dict(request.url.params) == dict(expected.url.params) | paging
    assert (request.content and json.loads(request.content)) == (expected.content and json.loads(expected.content))


async def test_an_order_may_come_with_its_notice() -> None:
    notice = Notice("token_1Aa00000000001", datetime(2026, 1, 7, 0, 30, tzinfo=UTC))

    request = await requested(lambda gateway: gateway.create_order(OrderRequest(RECEIPT, AMOUNT, {}, notice)), ORDER)

    assert json.loads(request.content)["notification"] == {
        "token_id": "token_1Aa00000000001",
        "payment_after": 1767745800,
    }


# Changes to a good answer of each operation, and a word of what must be said about it.
LIES: list[tuple[Ask, dict[str, Any], dict[str, Any], str]] = [
    *(
        (ask, ORDER, change, said)
        for ask in (create_order, fetch_order)
        for change, said in (
            ({"amount": 4501}, "amount is 4501, not 4500"),
            ({"amount": "4500"}, "amount: Input should be a valid integer, and is 4500"),
            ({"amount": 4500.0}, "amount: Input should be a valid integer"),
            ({"amount": True}, "amount: Input should be a valid integer"),
            ({"amount": -4500}, "amount: Input should be greater than or equal to 0, and is -4500"),
            ({"currency": "USD"}, "currency: Input should be 'INR', and is USD"),
            ({"receipt": "sub-1-20260105"}, f"receipt is sub-1-20260105, not {RECEIPT}"),
            ({"receipt": None}, "receipt is None, not"),
            ({"status": "settled"}, "status: Input should be 'created', 'attempted' or 'paid', and is settled"),
            ({"status": "paid"}, "paid, but only 0 of 4500 paise"),
            ({"id": "pay_1Aa00000000001"}, "id: String should match pattern"),
            ({"id": None}, "id: Input should be a valid string"),
            ({"attempts": None}, "attempts: Input should be a valid integer"),
            ({"created_at": "yesterday"}, "created_at: must be a time in seconds"),
            ({"created_at": 10**12}, "created_at: must be a time in seconds"),
            ({"created_at": True}, "created_at: must be a time in seconds"),
        )
    ),
    (fetch_order, ORDER, {"id": "order_2"}, f"id is order_2, not {ORDER_ID}"),
    (charge, {"razorpay_payment_id": PAYMENT_ID}, {"razorpay_payment_id": 7}, "razorpay_payment_id: Input should be"),
    (charge, {}, {}, "razorpay_payment_id: Field required"),
    (charge, {"razorpay_payment_id": PAYMENT_ID}, {"razorpay_order_id": "order_2"}, "razorpay_order_id is order_2"),
    *(
        (fetch_payment, PAYMENT, change, said)
        for change, said in (
            ({"amount": 4501}, "amount is 4501, not 4500"),
            ({"amount": "4500"}, "amount: Input should be a valid integer"),
            ({"currency": "USD"}, "and is USD"),
            ({"order_id": "order_2"}, f"order_id is order_2, not {ORDER_ID}"),
            ({"order_id": None}, "order_id: Input should be a valid string"),
            ({"id": "pay_2"}, f"id is pay_2, not {PAYMENT_ID}"),
            ({"status": "done"}, "and is done"),
            ({"status": None}, "status: Input should be"),
        )
    ),
    (fetch_invoice, INVOICE, {"id": "inv_2"}, f"id is inv_2, not {INVOICE_ID}"),
    (fetch_subscription, SUBSCRIPTION, {"id": "sub_2"}, f"id is sub_2, not {SUBSCRIPTION_ID}"),
    (fetch_subscription, SUBSCRIPTION, {"status": "sleeping"}, "and is sleeping"),
    (fetch_subscription, SUBSCRIPTION, {"status": None}, "status: Input should be"),
]


async def test_of_a_subscription_nothing_has_to_be_told_that_nobody_reads() -> None:
    subscription = await fetch_subscription(razorpay({"id": SUBSCRIPTION_ID, "status": "halted"}))

    assert subscription.status == "halted"


@pytest.mark.parametrize(("ask", "good", "change", "said"), LIES)
async def test_an_answer_that_is_not_ours_is_not_believed(
    ask: Ask, good: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    answer = httpx.Response(200, json=good | change, headers={"X-Razorpay-Request-Id": "7f3a"})

    with pytest.raises(ProviderOutcomeUnknown) as unknown:
        await ask(razorpay(answer))

    assert said in str(unknown.value)
    assert str(unknown.value).endswith("[request 7f3a]")


@pytest.mark.parametrize(
    ("ask", "good", "change", "said"),
    [
        (find_order, ORDER, {"amount": 4501}, "amount is 4501, not 4500"),
        (find_order, ORDER, {"currency": "USD"}, "items.0.currency"),
        (fetch_payments, PAYMENT, {"amount": 4501}, "amount is 4501, not 4500"),
        (fetch_payments, PAYMENT, {"order_id": "order_2"}, "order_id is order_2"),
        (fetch_invoices, INVOICE, {"subscription_id": "sub_2"}, "subscription_id is sub_2"),
        (fetch_invoices, INVOICE, {"currency": "USD"}, "items.0.currency"),
        (fetch_invoices, INVOICE, {"amount": "31500"}, "items.0.amount"),
        (fetch_invoices, INVOICE, {"payment_id": None}, "paid, but by no payment"),
        (fetch_invoices, INVOICE, {"billing_start": "2026-01-05"}, "items.0.billing_start"),
    ],
)
async def test_a_list_with_one_wrong_item_is_not_believed(
    ask: Ask, good: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    with pytest.raises(ProviderOutcomeUnknown) as unknown:
        await ask(razorpay(listing(good | change)))

    assert said in str(unknown.value)


@pytest.mark.parametrize("ask", [call[1] for call in CALLS])
@pytest.mark.parametrize("content", [b"", b"<html>", b"{", b"[]", b"{}", b'{"items": []}', b"null"])
async def test_an_answer_that_can_not_be_read_tells_nothing(ask: Ask, content: bytes) -> None:
    with pytest.raises(ProviderOutcomeUnknown):
        await ask(razorpay(httpx.Response(200, content=content)))


@pytest.mark.parametrize("ask", [find_order, fetch_payments, fetch_invoices])
async def test_a_list_that_lacks_what_it_counts_is_not_believed(ask: Ask) -> None:
    with pytest.raises(ProviderOutcomeUnknown, match="has 0 items, and says 1"):
        await ask(razorpay({"entity": "collection", "count": 1, "items": []}))


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
async def test_a_failure_tells_neither_customer_nor_secret(status: int) -> None:
    told_all = f"{DEBIT.email} {DEBIT.contact} rzp_test_key:secret"
    error = {"code": "BAD_REQUEST_ERROR", "description": f"Not {DEBIT.email} nor {DEBIT.contact}"}
    answer = httpx.Response(status, json={"error": error, "razorpay_payment_id": told_all})

    with pytest.raises(ProviderFailure) as failure:
        await charge(razorpay(answer))

    shown = "".join(traceback.format_exception(failure.value)) + repr(failure.value) + repr(DEBIT)
    assert not [secret for secret in (DEBIT.email, "9812345678", ":secret") if secret in shown]


async def test_what_is_kept_of_an_answer_holds_nothing_personal() -> None:
    payment = await fetch_payment(razorpay(PAYMENT))

    assert not [secret for secret in (DEBIT.email, "9812345678") if secret in payment.model_dump_json()]


def order(**changes: Any) -> dict[str, Any]:
    return ORDER | changes


@pytest.mark.parametrize(
    ("orders", "found"),
    [
        ([], None),
        ([order(receipt=f"x{RECEIPT}"), order(receipt=f"{RECEIPT}1"), order(receipt=None)], None),
        ([order(id="order_2"), order(receipt=f"{RECEIPT}1")], "order_2"),
        ([order(id="order_2", created_at=20), order(id="order_1", created_at=10)], "order_1"),
        ([order(id="order_2", created_at=20, attempts=1, status="attempted"), order(id="order_1")], "order_2"),
        ([order(id="order_1", created_at=10), order(id="order_2", status="paid", amount_paid=4500)], "order_2"),
    ],
)
async def test_an_order_is_found_by_its_exact_receipt(orders: list[dict[str, Any]], found: str | None) -> None:
    answer = await find_order(razorpay(listing(*orders)))

    assert (answer and answer.id) == found


async def test_several_orders_that_somebody_tried_to_pay_are_for_a_person() -> None:
    tried = [order(id="order_1", attempts=1), order(id="order_2", attempts=1)]

    with pytest.raises(ProviderOutcomeUnknown, match="order_1, order_2"):
        await find_order(razorpay(listing(*tried)))


async def test_the_pages_of_a_list_are_followed() -> None:
    pages = {"0": [INVOICE] * 100, "100": [INVOICE] * 7}

    invoices = await fetch_invoices(razorpay(lambda r: httpx.Response(200, json=listing(*pages[r.url.params["skip"]]))))

    assert len(invoices) == 107


async def test_a_list_too_long_to_read_tells_nothing() -> None:
    asked = []

    def endless(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=listing(*[INVOICE] * 100))

    with pytest.raises(ProviderOutcomeUnknown, match="too long"):
        await fetch_invoices(razorpay(endless))

    assert len(asked) == 5


@pytest.mark.parametrize("subscription_id", ["", "..", "sub_1/invoices", "sub_1?count=1", "sub_ü"])
async def test_what_can_be_no_id_is_not_asked_about(subscription_id: str) -> None:
    def nobody(request: httpx.Request) -> httpx.Response:
        pytest.fail(f"{request.url} was asked for")

    with pytest.raises(ProviderOutcomeUnknown, match="no id of Razorpay's"):
        await razorpay(nobody).subscription(GatewaySubscriptionId(subscription_id))
    with pytest.raises(ProviderOutcomeUnknown, match="no id of Razorpay's"):
        await razorpay(nobody).invoices(GatewaySubscriptionId(subscription_id))


async def test_a_receipt_that_is_taken_and_not_listed_is_asked_for_again() -> None:
    taken = {"error": {"code": "BAD_REQUEST_ERROR", "description": "Order receipt should be unique"}}

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json=taken) if request.method == "POST" else httpx.Response(200, json=listing())

    with pytest.raises(NotListedYet) as failure:
        await create_order(razorpay(answer))

    assert isinstance(failure.value, NotDone)
    assert failure.value.retry_after is not None
