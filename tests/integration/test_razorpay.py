"""The Razorpay client against the fake one, over real connections: every operation, and every fault."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.dev.fakes import Fakes, running_fakes
from app.dev.fakes.faults import Breakage, Failure, Fault, Latency, Refusal
from app.dev.fakes.inbox import Provider
from app.dev.fakes.razorpay import KEY_ID, KEY_SECRET, ReceiptRule
from app.dev.fakes.razorpay_books import Mandate, Subscription
from app.dev.fakes.razorpay_fates import Fate
from app.providers.failures import (
    Misconfigured,
    NotAnswered,
    ProviderDeferred,
    ProviderFailure,
    ProviderOutcomeUnknown,
    ProviderRefused,
    ProviderUnreachable,
)
from app.providers.http import AiohttpTransport, http_client
from app.providers.payments.answers import UnknownToGateway
from app.providers.payments.entities import GatewayOrder, GatewayPaymentId, GatewaySubscriptionId, InvoiceId, Paise
from app.providers.payments.razorpay import Razorpay
from app.providers.payments.requests import Debit, Notice, OrderRequest
from app.providers.payments.standing import Standing, standing_of_invoice, standing_of_order
from tests.waiting import until

START = datetime(2026, 1, 3, 0, 30, tzinfo=UTC)
RECEIPT = "sub-42-20260105"
AMOUNT = Paise(4500)
WANTED = OrderRequest(RECEIPT, AMOUNT, {"subscription_id": "42"})
DEBIT = Debit(
    customer_id="cust_1",
    token_id="token_1",
    email="asha@example.com",
    contact="+919812345678",
    description="Milk 2026-01-05",
)
RAZORPAY = Provider.RAZORPAY


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
async def server(clock: Clock) -> AsyncIterator[Fakes]:
    async with running_fakes(fakes=Fakes(clock=clock)) as fakes:
        yield fakes


@pytest.fixture
async def fakes(server: Fakes, clock: Clock) -> Fakes:
    clock.now = START
    server.faults.clear()
    server.inbox.clear()
    server.razorpay.reset()
    server.razorpay.books.mandates["token_1"] = Mandate(customer_id="cust_1", token_id="token_1")
    return server


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    # The long waits are never waited for: they only have to be longer than any pause of this machine.
    async with http_client(timeout=httpx.Timeout(60)) as client:
        yield client


def gateway_at(url: str, client: httpx.AsyncClient) -> Razorpay:
    return Razorpay(client, base_url=url, key_id=KEY_ID, key_secret=SecretStr(KEY_SECRET))


@pytest.fixture
def gateway(fakes: Fakes, client: httpx.AsyncClient) -> Razorpay:
    return gateway_at(fakes.url, client)


async def standing(gateway: Razorpay, order: GatewayOrder) -> Standing:
    return standing_of_order(await gateway.payments_of(order.id, amount=AMOUNT))


def captured(fakes: Fakes) -> list[int]:
    """The amounts that were taken for the receipt."""
    return [money.amount for money in fakes.razorpay.books.captured(receipt=RECEIPT)]


def happens(fakes: Fakes, payment_id: str, step: Any) -> None:
    payment = fakes.razorpay.books.payments[payment_id]
    fakes.razorpay.books.move(payment, step)


async def test_a_charge_from_its_notice_to_its_capture(fakes: Fakes, gateway: Razorpay, clock: Clock) -> None:
    due = START + timedelta(days=2)
    order = await gateway.create_order(OrderRequest(RECEIPT, AMOUNT, {}, Notice("token_1", due)))
    assert (order.status, order.attempts, order.created_at) == ("created", 0, START)
    with pytest.raises(ProviderRefused, match="pre_debit_notification_not_sent"):
        await gateway.charge(order.id, DEBIT, amount=AMOUNT)

    clock.now = due
    payment_id = await gateway.charge(order.id, DEBIT, amount=AMOUNT)
    payment = await gateway.payment(payment_id, order_id=order.id, amount=AMOUNT)
    paid = await gateway.order(order.id, receipt=RECEIPT, amount=AMOUNT)

    assert (payment.status, paid.status, paid.attempts, paid.amount_paid) == ("captured", "paid", 1, 4500)
    assert await standing(gateway, order) is Standing.CAPTURED
    assert captured(fakes) == [4500]


async def test_a_charge_without_notice_is_pending_until_it_has_run(
    fakes: Fakes, gateway: Razorpay, clock: Clock
) -> None:
    order = await gateway.create_order(WANTED)
    await gateway.charge(order.id, DEBIT, amount=AMOUNT)

    before = await standing(gateway, order)
    clock.now += timedelta(hours=25)
    after = await standing(gateway, order)

    assert (before, after) == (Standing.PENDING, Standing.CAPTURED)


async def test_an_order_is_found_again(fakes: Fakes, gateway: Razorpay) -> None:
    assert await gateway.find_order(RECEIPT, AMOUNT) is None

    order = await gateway.create_order(WANTED)
    await gateway.create_order(OrderRequest(f"{RECEIPT}1", AMOUNT))

    assert await gateway.find_order(RECEIPT, AMOUNT) == order


async def test_an_order_of_another_amount_is_not_taken_for_ours(fakes: Fakes, gateway: Razorpay) -> None:
    order = await gateway.create_order(WANTED)

    for ask in (
        gateway.find_order(RECEIPT, Paise(4600)),
        gateway.order(order.id, receipt=RECEIPT, amount=Paise(4600)),
    ):
        with pytest.raises(ProviderOutcomeUnknown, match="amount is 4500, not 4600"):
            await ask


@pytest.mark.parametrize("rule", ["reuse", "refuse", "repeat"])
async def test_a_receipt_given_twice_leads_to_one_charge(fakes: Fakes, gateway: Razorpay, rule: ReceiptRule) -> None:
    fakes.razorpay.receipts = rule
    fakes.razorpay.fates.add(Fate(becomes="captured"))
    first = await gateway.create_order(WANTED)

    second = await gateway.create_order(WANTED)
    await gateway.charge(second.id, DEBIT, amount=AMOUNT)
    found = await gateway.find_order(RECEIPT, AMOUNT)

    assert (second.id == first.id) is (rule != "repeat")
    # Where there are two, the one that was charged is the one that counts.
    assert found is not None
    assert (found.id, found.status) == (second.id, "paid")
    assert captured(fakes) == [4500]


async def test_a_receipt_that_is_paid_already_is_seen_when_the_order_is_made(fakes: Fakes, gateway: Razorpay) -> None:
    fakes.razorpay.receipts = "refuse"
    fakes.razorpay.fates.add(Fate(becomes="captured"))
    order = await gateway.create_order(WANTED)
    await gateway.charge(order.id, DEBIT, amount=AMOUNT)

    again = await gateway.create_order(WANTED)

    assert (again.id, again.status) == (order.id, "paid")


async def test_a_second_charge_of_a_paid_order_is_unknown_not_refused(fakes: Fakes, gateway: Razorpay) -> None:
    fakes.razorpay.fates.add(Fate(becomes="captured"))
    order = await gateway.create_order(WANTED)
    await gateway.charge(order.id, DEBIT, amount=AMOUNT)

    with pytest.raises(ProviderOutcomeUnknown, match="order_already_paid"):
        await gateway.charge(order.id, DEBIT, amount=AMOUNT)

    assert captured(fakes) == [4500]


async def test_a_slow_capture_is_waited_for(fakes: Fakes, gateway: Razorpay) -> None:
    fakes.razorpay.fates.add(Fate(becomes="created"))
    order = await gateway.create_order(WANTED)
    payment_id = await gateway.charge(order.id, DEBIT, amount=AMOUNT)

    standings = [await standing(gateway, order)]
    for step in ("authorized", "captured"):
        happens(fakes, payment_id, step)
        standings.append(await standing(gateway, order))

    assert standings == [Standing.PENDING, Standing.PENDING, Standing.CAPTURED]


async def test_a_late_authorisation_is_seen(fakes: Fakes, gateway: Razorpay) -> None:
    fakes.razorpay.fates.add(Fate(becomes="failed", reason="insufficient_funds"))
    order = await gateway.create_order(WANTED)
    payment_id = await gateway.charge(order.id, DEBIT, amount=AMOUNT)
    failed = await gateway.payment(payment_id, order_id=order.id, amount=AMOUNT)
    before = await standing(gateway, order)

    happens(fakes, payment_id, "captured")

    assert (failed.status, failed.error_reason, before) == ("failed", "insufficient_funds", Standing.REFUSED)
    assert await standing(gateway, order) is Standing.CAPTURED


@pytest.mark.parametrize("reason", ["insufficient_funds", "mandate_expired", "pre_debit_notification_not_sent"])
async def test_a_refused_charge_says_why(fakes: Fakes, gateway: Razorpay, reason: str) -> None:
    fakes.faults.add(Refusal(provider=RAZORPAY, on="charge", code=reason, recipient=RECEIPT))
    order = await gateway.create_order(WANTED)

    with pytest.raises(ProviderRefused) as refused:
        await gateway.charge(order.id, DEBIT, amount=AMOUNT)

    assert refused.value.code == reason
    assert captured(fakes) == []


# A fault of the charge, whether the money was taken all the same, and what the client must say.
CHARGE_FAULTS: list[tuple[Fault, bool, type[ProviderFailure]]] = [
    (Failure(provider=RAZORPAY, on="charge", status=429, retry_after=7), False, ProviderDeferred),
    (Failure(provider=RAZORPAY, on="charge", status=500), False, ProviderOutcomeUnknown),
    (Failure(provider=RAZORPAY, on="charge", status=500, takes_effect=True), True, ProviderOutcomeUnknown),
    (Failure(provider=RAZORPAY, on="charge", status=502), False, ProviderOutcomeUnknown),
    (Failure(provider=RAZORPAY, on="charge", status=502, takes_effect=True), True, ProviderOutcomeUnknown),
    (Failure(provider=RAZORPAY, on="charge", status=503), False, ProviderOutcomeUnknown),
    (Failure(provider=RAZORPAY, on="charge", status=503, takes_effect=True), True, ProviderOutcomeUnknown),
    (Breakage(provider=RAZORPAY, on="charge", kind="dropped_before"), False, ProviderOutcomeUnknown),
    (Breakage(provider=RAZORPAY, on="charge", kind="dropped_after"), True, ProviderOutcomeUnknown),
    (Breakage(provider=RAZORPAY, on="charge", kind="wrong_json"), True, ProviderOutcomeUnknown),
]


@pytest.mark.parametrize(("fault", "was_taken", "how"), CHARGE_FAULTS)
async def test_a_fault_of_a_charge(
    fakes: Fakes, gateway: Razorpay, fault: Fault, was_taken: bool, how: type[ProviderFailure]
) -> None:
    fakes.razorpay.fates.add(Fate(becomes="captured"))
    order = await gateway.create_order(WANTED)
    fakes.faults.add(fault)

    with pytest.raises(ProviderFailure) as failure:
        await gateway.charge(order.id, DEBIT, amount=AMOUNT)
    found = await standing(gateway, order)

    assert type(failure.value) is how
    assert captured(fakes) == ([4500] if was_taken else [])
    assert found is (Standing.CAPTURED if was_taken else Standing.UNKNOWN)


class GivesUp(httpx.AsyncBaseTransport):
    """Reads no further once it is told to, as after the longest wait for an answer."""

    def __init__(self) -> None:
        self._inner = AiohttpTransport()
        self.told_to = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = asyncio.ensure_future(self._inner.handle_async_request(request))
        telling = asyncio.ensure_future(self.told_to.wait())
        await asyncio.wait([answer, telling], return_when=asyncio.FIRST_COMPLETED)
        telling.cancel()
        if answer.done():
            return answer.result()
        answer.cancel()
        raise httpx.ReadTimeout("too late")

    async def aclose(self) -> None:
        await self._inner.aclose()


@pytest.mark.parametrize(
    "fault",
    [
        Breakage(provider=RAZORPAY, on="charge", kind="no_answer"),
        Latency(provider=RAZORPAY, on="charge", milliseconds=3_600_000),
    ],
)
async def test_a_charge_that_is_answered_too_late_or_never_is_unknown(
    fakes: Fakes, gateway: Razorpay, fault: Fault
) -> None:
    fakes.razorpay.fates.add(Fate(becomes="captured"))
    order = await gateway.create_order(WANTED)
    fakes.faults.add(fault)
    impatient = GivesUp()
    async with http_client(transport=impatient, timeout=httpx.Timeout(60)) as client:
        charging = asyncio.create_task(gateway_at(fakes.url, client).charge(order.id, DEBIT, amount=AMOUNT))
        await until(lambda: captured(fakes))
        impatient.told_to.set()

        with pytest.raises(ProviderOutcomeUnknown):
            await charging

    assert captured(fakes) == [4500]
    assert await standing(gateway, order) is Standing.CAPTURED


@pytest.mark.parametrize(
    ("fault", "orders"),
    [
        (Failure(provider=RAZORPAY, on="order", status=500), 0),
        (Failure(provider=RAZORPAY, on="order", status=500, takes_effect=True), 1),
        (Breakage(provider=RAZORPAY, on="order", kind="dropped_before"), 0),
        (Breakage(provider=RAZORPAY, on="order", kind="dropped_after"), 1),
        (Breakage(provider=RAZORPAY, on="order", kind="wrong_json"), 1),
    ],
)
async def test_an_order_that_may_have_been_made_is_found_or_not(
    fakes: Fakes, gateway: Razorpay, fault: Fault, orders: int
) -> None:
    fakes.faults.add(fault)

    with pytest.raises(ProviderOutcomeUnknown):
        await gateway.create_order(WANTED)
    found = await gateway.find_order(RECEIPT, AMOUNT)

    assert len(fakes.razorpay.books.orders) == orders
    assert (found is not None) is bool(orders)


@pytest.mark.parametrize(
    ("fault", "how"),
    [
        (Failure(provider=RAZORPAY, on="lookup", status=429, retry_after=7), NotAnswered),
        (Failure(provider=RAZORPAY, on="lookup", status=500), NotAnswered),
        (Failure(provider=RAZORPAY, on="lookup", status=502), NotAnswered),
        (Failure(provider=RAZORPAY, on="lookup", status=503), NotAnswered),
        (Breakage(provider=RAZORPAY, on="lookup", kind="dropped_before"), NotAnswered),
        (Breakage(provider=RAZORPAY, on="lookup", kind="wrong_json"), ProviderOutcomeUnknown),
    ],
)
async def test_a_question_without_an_answer_says_nothing_of_the_charge(
    fakes: Fakes, gateway: Razorpay, fault: Fault, how: type[ProviderFailure]
) -> None:
    fakes.razorpay.books.subscriptions["sub_1"] = Subscription(id="sub_1", customer_id="cust_1")
    order = await gateway.create_order(WANTED)
    payment_id = await gateway.charge(order.id, DEBIT, amount=AMOUNT)
    fakes.faults.add(fault)

    for ask in (
        gateway.find_order(RECEIPT, AMOUNT),
        gateway.order(order.id, receipt=RECEIPT, amount=AMOUNT),
        gateway.payments_of(order.id, amount=AMOUNT),
        gateway.payment(payment_id, order_id=order.id, amount=AMOUNT),
        gateway.subscription(GatewaySubscriptionId("sub_1")),
        gateway.invoices(GatewaySubscriptionId("sub_1")),
    ):
        with pytest.raises(ProviderFailure) as failure:
            await ask
        assert type(failure.value) is how


async def test_what_razorpay_does_not_know_is_unknown_and_names_the_request(fakes: Fakes, gateway: Razorpay) -> None:
    with pytest.raises(ProviderOutcomeUnknown, match=r"The id provided does not exist \[request [0-9a-f]{32}\]"):
        await gateway.payment(
            GatewayPaymentId("pay_1"), order_id=(await gateway.create_order(WANTED)).id, amount=AMOUNT
        )


async def test_wrong_keys_are_a_fault_of_ours(fakes: Fakes, client: httpx.AsyncClient) -> None:
    stranger = Razorpay(client, base_url=fakes.url, key_id=KEY_ID, key_secret=SecretStr("wrong"))

    for ask in (stranger.create_order(WANTED), stranger.find_order(RECEIPT, AMOUNT)):
        with pytest.raises(Misconfigured, match="api key"):
            await ask


async def test_a_gateway_that_is_not_there_was_sent_nothing(client: httpx.AsyncClient) -> None:
    async with running_fakes() as fakes:
        gone = gateway_at(fakes.url, client)

    with pytest.raises(ProviderUnreachable):
        await gone.create_order(WANTED)


async def test_razorpays_own_subscription_by_its_invoices(fakes: Fakes, gateway: Razorpay) -> None:
    books = fakes.razorpay.books
    books.subscriptions["sub_1"] = Subscription(id="sub_1", customer_id="cust_1")
    subscription_id = GatewaySubscriptionId("sub_1")
    week = timedelta(days=7)
    books.issue(books.subscriptions["sub_1"], amount=31500, billing_start=START, billing_end=START + week, paid=True)
    unpaid = books.issue(
        books.subscriptions["sub_1"], amount=31500, billing_start=START + week, billing_end=START + 2 * week, paid=False
    )

    active = await gateway.subscription(subscription_id)
    issued, paid = await gateway.invoices(subscription_id)
    books.subscriptions["sub_1"].status = "halted"
    halted = await gateway.subscription(subscription_id)

    assert (paid.billing_start, paid.billing_end, paid.amount) == (START, START + week, 31500)
    assert await gateway.invoice(paid.id) == paid
    with pytest.raises(UnknownToGateway):
        await gateway.invoice(InvoiceId("inv_others"))
    assert issued.id == unpaid.id
    assert standing_of_invoice(paid, halted) is Standing.CAPTURED
    assert standing_of_invoice(issued, active) is Standing.PENDING
    assert standing_of_invoice(issued, halted) is Standing.REFUSED
    assert paid.payment_id is not None
    assert paid.order_id is not None
    payment = await gateway.payment(paid.payment_id, order_id=paid.order_id, amount=paid.amount)
    assert payment.status == "captured"


async def test_many_charges_at_once_are_each_made_once(fakes: Fakes, gateway: Razorpay) -> None:
    fakes.razorpay.fates.add(Fate(becomes="captured"))

    async def deliver(number: int) -> None:
        order = await gateway.create_order(OrderRequest(f"sub-{number}-20260105", AMOUNT))
        await gateway.charge(order.id, DEBIT, amount=AMOUNT)

    await asyncio.gather(*map(deliver, range(50)))

    receipts = [money.receipt for money in fakes.razorpay.books.captured()]
    assert sorted(receipts, key=str) == sorted((f"sub-{number}-20260105" for number in range(50)), key=str)
