"""Whatever happens in whatever order, the client never says of money what the referee knows to be false."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import NamedTuple

import httpx
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from app.dev.fakes import Fakes
from app.dev.fakes.faults import Breakage, Failure, Fault, Refusal
from app.dev.fakes.inbox import Provider
from app.dev.fakes.razorpay import KEY_ID, KEY_SECRET, ReceiptRule
from app.dev.fakes.razorpay_books import STATUS_AFTER, Mandate, Payment
from app.dev.fakes.razorpay_fates import Fate
from app.errors import NotDone, OutcomeUnknown, Refused
from app.providers.http import http_client
from app.providers.payments.entities import GatewayOrder, Paise
from app.providers.payments.razorpay import Razorpay
from app.providers.payments.requests import Debit, OrderRequest
from app.providers.payments.standing import Standing, standing_of_order

AMOUNT = Paise(4500)
RECEIPT = "sub-42-20260105"
DEBIT = Debit(customer_id="cust_1", token_id="token_1", email="a@example.com", contact="+919812345678", description="")

FAULTS: Sequence[Fault] = [
    *(
        Failure(provider=Provider.RAZORPAY, on=on, status=status, takes_effect=takes_effect, times=1)
        for on in ("order", "charge")
        for status in (500, 502, 503)
        for takes_effect in (False, True)
    ),
    *(Failure(provider=Provider.RAZORPAY, on=on, status=429, times=1) for on in ("order", "charge", "lookup")),
    *(Failure(provider=Provider.RAZORPAY, on="lookup", status=status, times=1) for status in (500, 502, 503)),
    *(
        Breakage(provider=Provider.RAZORPAY, on=on, kind=kind, times=1)
        for on in ("order", "charge", "lookup")
        for kind in ("dropped_before", "dropped_after", "wrong_json")
    ),
    Refusal(provider=Provider.RAZORPAY, on="charge", code="insufficient_funds", times=1),
    Refusal(provider=Provider.RAZORPAY, on="charge", code="mandate_already_executed", times=1),
]
FATES = [
    Fate(becomes="captured", times=1),
    Fate(becomes="created", times=1),
    Fate(becomes="authorized", times=1),
    Fate(becomes="failed", reason="insufficient_funds", times=1),
]


class Do(NamedTuple):
    """A call of the shop, or something that happens at the gateway."""

    what: str
    with_: object = None


CALLS = st.sampled_from([Do("charge"), Do("charge"), Do("ask"), Do("ask"), Do("create order"), Do("find order")])
HAPPENINGS = st.one_of(
    st.sampled_from(FAULTS).map(lambda fault: Do("fault", fault)),
    st.sampled_from(FATES).map(lambda fate: Do("fate", fate)),
    st.sampled_from(list(STATUS_AFTER)).map(lambda move: Do("bank", move)),
    st.sampled_from([1, 25]).map(lambda hours: Do("wait", hours)),
)
STEPS = st.lists(st.tuples(HAPPENINGS, CALLS), min_size=4, max_size=12).map(lambda pairs: [*chain(*pairs)])


class InProcess(httpx.ASGITransport):
    """The fakes without a socket. A dropped connection looks as the client's own transport would put it."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await super().handle_async_request(request)
        except ConnectionResetError as reset:
            raise httpx.ReadError("dropped") from reset


class Shop:
    """Charges one delivery in any order, again and again, and holds every word against the referee's books."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 3, 0, 30, tzinfo=UTC)
        self.fakes = Fakes(clock=lambda: self.now)
        self.gateway = Razorpay(
            http_client(transport=InProcess(self.fakes.app)),
            base_url=self.fakes.url,
            key_id=KEY_ID,
            key_secret=SecretStr(KEY_SECRET),
            now=lambda: self.now,
        )
        self.open("repeat")

    def open(self, rule: ReceiptRule) -> None:
        """Begin anew, at a gateway with this rule."""
        self.fakes.faults.clear()
        self.fakes.razorpay.reset()
        self.fakes.razorpay.receipts = rule
        self.books = self.fakes.razorpay.books
        self.books.mandates["token_1"] = Mandate(customer_id="cust_1", token_id="token_1")
        self.order: GatewayOrder | None = None

    async def do(self, step: Do) -> None:
        match step:
            case Do("create order"):
                await self.create_order()
            case Do("find order"):
                with suppress(NotDone, OutcomeUnknown):
                    self.order = await self.gateway.find_order(RECEIPT, AMOUNT) or self.order
            case Do("charge") if self.order:
                await self.charge(self.order)
            case Do("ask") if self.order:
                await self.ask(self.order)
            case Do("fault", (Failure() | Refusal() | Breakage()) as fault):
                self.fakes.faults.add(fault)
            case Do("fate", Fate() as fate):
                self.fakes.razorpay.fates.add(fate)
            case Do("bank", ("authorize" | "capture" | "fail") as move) if self.books.payments:
                with suppress(ValueError):  # what can't follow does not happen
                    self.books.move(self.newest_payment(), STATUS_AFTER[move])
            case Do("wait", int(hours)):
                self.now += timedelta(hours=hours)

    async def create_order(self) -> None:
        before = len(self.books.orders)
        try:
            self.order = await self.gateway.create_order(OrderRequest(RECEIPT, AMOUNT))
        except NotDone:
            assert len(self.books.orders) == before
        except OutcomeUnknown:
            pass
        else:
            assert self.books.orders[self.order.id].receipt == RECEIPT

    async def charge(self, order: GatewayOrder) -> None:
        before = len(self.books.payments)
        try:
            payment_id = await self.gateway.charge(order.id, DEBIT, amount=AMOUNT)
        except NotDone:
            event("not done")
            assert len(self.books.payments) == before
        except Refused:
            event("refused")
            assert {payment.status for payment in self.payments_of(order)} <= {"failed"}
        except OutcomeUnknown:
            event("unknown")
        else:
            event("taken on")
            assert self.books.payments[payment_id].order.id == order.id

    async def ask(self, order: GatewayOrder) -> None:
        try:
            standing = standing_of_order(await self.gateway.payments_of(order.id, amount=AMOUNT))
        except (NotDone, OutcomeUnknown):
            return
        event(f"stands {standing}")
        captured = len(self.books.captured(order_id=order.id))
        match standing:
            case Standing.CAPTURED:
                assert captured == 1
            case Standing.PENDING | Standing.REFUSED:
                assert captured == 0
            case Standing.UNKNOWN:  # nothing to be seen yet, or too much
                assert captured != 1

    def newest_payment(self) -> Payment:
        return next(reversed(self.books.payments.values()))

    def payments_of(self, order: GatewayOrder) -> list[Payment]:
        return [payment for payment in self.books.payments.values() if payment.order.id == order.id]


async def run(shop: Shop, steps: Sequence[Do]) -> None:
    for step in steps:
        await shop.do(step)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return Shop()


@settings(max_examples=200)
@given(st.sampled_from(("reuse", "refuse", "repeat")), STEPS)
def test_no_word_of_the_client_is_false(shop: Shop, rule: ReceiptRule, steps: Sequence[Do]) -> None:
    shop.open(rule)

    asyncio.run(run(shop, [Do("create order"), *steps]))
