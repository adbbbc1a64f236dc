"""Razorpay's orders, recurring payments, subscriptions and invoices."""

import re
import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.dev.fakes.provider import Clock, Operation, Reply, media_type
from app.dev.fakes.razorpay_books import Books, Mandate, Order, Payment, new_id
from app.dev.fakes.razorpay_errors import (
    ALREADY_PAID,
    GATEWAY_ERROR,
    NO_SUCH_URL,
    OTHER_AMOUNT,
    RECEIPT_TAKEN,
    REFUSALS,
    SERVER_ERROR,
    TOO_MANY,
    WRONG_KEYS,
    Problem,
    no_such_id,
)
from app.dev.fakes.razorpay_fates import Fates
from app.dev.fakes.razorpay_requests import ListQuery, OrderBody, RecurringBody, problem_of
from app.dev.fakes.razorpay_resources import (
    collection,
    invoice_resource,
    order_resource,
    payment_resource,
    subscription_resource,
)

KEY_ID: Final = "rzp_test_key"
KEY_SECRET: Final = "secret"  # noqa: S105 -- opens nothing but this fake

# What an account does with a receipt that it has already: answer with that order, refuse, or make another order.
ReceiptRule = Literal["reuse", "refuse", "repeat"]

# From asking for a debit whose order had no notice to the debit: the notice must run first.
NOTICE_RUNS: Final[Mapping[str, timedelta]] = {"upi": timedelta(hours=25), "card": timedelta(hours=36)}
# Banks have to tell their customers so long before a debit, whatever its order says.
LEAST_NOTICE: Final = timedelta(hours=24)

_ENTITY = re.compile(r"/v1/(orders|payments|subscriptions|invoices)/([a-z]+_[A-Za-z0-9]+)(/payments)?")
_FAILURES: Final = {429: TOO_MANY, 500: SERVER_ERROR, 502: GATEWAY_ERROR}

M = TypeVar("M", bound=BaseModel)


class _Refused(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass
class FakeRazorpay:
    """`books` is the referee: what was captured is there, whatever the client was told."""

    clock: Clock
    key_id: str = KEY_ID
    key_secret: str = KEY_SECRET
    receipts: ReceiptRule = "repeat"
    books: Books = field(init=False)
    fates: Fates = field(default_factory=Fates)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything, also what was captured."""
        self.books = Books(self.clock)
        self.fates.clear()
        self.receipts = "repeat"

    def newest_payments(self, limit: int) -> list[Payment]:
        """As they stand now."""
        self.books.catch_up()
        return list(islice(reversed(self.books.payments.values()), limit))

    async def reply(self, request: Request) -> Reply:
        body = await request.body()
        self.books.catch_up()
        operation = _operation(request)
        try:
            reply = self._reply(request, operation, body)
        except _Refused as refused:
            reply = Reply(refused.problem.answer())
        except ValidationError as invalid:
            reply = Reply(problem_of(invalid).answer())
        reply.answer.headers["X-Razorpay-Request-Id"] = secrets.token_hex(16)
        return reply._replace(operation=operation)

    def failure(self, status: int) -> Response | None:
        problem = _FAILURES.get(status)
        return problem.answer() if problem else None

    def refusal(self, code: str, recipient: str) -> Response:  # noqa: ARG002 -- Razorpay names nobody
        return REFUSALS[code].answer()

    def _reply(self, request: Request, operation: Operation, body: bytes) -> Reply:
        credentials = b64encode(f"{self.key_id}:{self.key_secret}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {credentials}":
            raise _Refused(WRONG_KEYS)
        if request.method == "GET":
            return Reply(self._answer(request.scope["path"], request.query_params))
        if request.method != "POST" or operation == "lookup":
            raise _Refused(NO_SUCH_URL)
        if media_type(request) != "application/json":
            raise _Refused(Problem("Please provide your request in application/json"))
        if operation == "order":
            return self._create_order(OrderBody.model_validate_json(body))
        return self._charge(RecurringBody.model_validate_json(body))

    def _create_order(self, wanted: OrderBody) -> Reply:
        notice = wanted.notification
        if notice and notice.token_id not in self.books.mandates:
            raise _Refused(no_such_id("token_id"))
        if notice and notice.due <= self.clock():
            raise _Refused(Problem("payment_after should be in the future", field="payment_after"))
        same = self.books.orders_with(wanted.receipt)
        if same and self.receipts == "refuse":
            raise _Refused(RECEIPT_TAKEN)
        if same and self.receipts == "reuse":
            resource = order_resource(same[0]) | {"unique_receipt": True}
            return Reply(JSONResponse(resource), names=_names(wanted.receipt))
        order = Order(
            id=new_id("order"),
            receipt=wanted.receipt,
            amount=wanted.amount,
            notes=wanted.notes,
            created_at=self.clock(),
            token_id=notice.token_id if notice else None,
            payment_after=notice.due if notice else None,
        )
        return Reply(
            JSONResponse(order_resource(order)),
            effect=partial(self.books.add_order, order),
            names=_names(order.receipt, order.token_id),
        )

    def _charge(self, wanted: RecurringBody) -> Reply:
        order = self.books.orders.get(wanted.order_id)
        if order is None:
            raise _Refused(no_such_id("order_id"))
        names = _names(order.receipt, order.id, wanted.customer_id, wanted.token)
        problem = self._objection(order, wanted)
        if problem:
            return Reply(problem.answer(order_id=order.id), names=names)
        mandate = self.books.mandates[wanted.token]
        payment = Payment(
            id=new_id("pay"),
            order=order,
            mandate=mandate,
            status="created",
            email=wanted.email,
            contact=wanted.contact,
            description=wanted.description,
            notes=wanted.notes,
            created_at=self.clock(),
        )

        def debit() -> None:
            fate = self.fates.of(names)
            captures_at = self._captures_at(order, mandate) if fate is None else None
            self.books.add_payment(payment, captures_at=captures_at)
            if fate and fate.becomes != "created":
                self.books.move(payment, fate.becomes, fate.reason)

        answer: Response = JSONResponse({"razorpay_payment_id": payment.id, "razorpay_order_id": order.id})
        foreseen = self.fates.foreseen(names)
        if foreseen and foreseen.refuses and foreseen.reason:
            answer = REFUSALS[foreseen.reason].answer(payment_id=payment.id, order_id=order.id)
        return Reply(answer, effect=debit, names=names)

    def _objection(self, order: Order, wanted: RecurringBody) -> Problem | None:
        """Why this debit is refused. A second one while the first is under way is not: that is how one pays twice."""
        mandate = self.books.mandates.get(wanted.token)
        if order.status == "paid":
            return ALREADY_PAID
        if wanted.amount != order.amount:
            return OTHER_AMOUNT
        if mandate is None or mandate.customer_id != wanted.customer_id:
            return no_such_id("token")
        if mandate.status != "confirmed":
            return REFUSALS["mandate_not_active"]
        if mandate.expires_at is not None and mandate.expires_at <= self.clock():
            return REFUSALS["mandate_expired"]
        if mandate.max_amount is not None and wanted.amount > mandate.max_amount:
            return REFUSALS["amount_exceeds_mandate_limit"]
        if order.payment_after and (
            order.token_id != wanted.token or self.clock() < max(order.payment_after, order.created_at + LEAST_NOTICE)
        ):
            return REFUSALS["pre_debit_notification_not_sent"]
        return None

    def _captures_at(self, order: Order, mandate: Mandate) -> datetime:
        return self.clock() if order.payment_after else self.clock() + NOTICE_RUNS[mandate.method]

    def _answer(self, path: str, query: Mapping[str, str]) -> Response:
        if path == "/v1/orders":
            return self._orders(ListQuery.model_validate(dict(query)))
        if path == "/v1/invoices":
            return self._invoices(ListQuery.model_validate(dict(query)))
        asked = _ENTITY.fullmatch(path)
        if asked is None or (asked[3] and asked[1] != "orders"):
            raise _Refused(NO_SUCH_URL)
        if asked[1] == "subscriptions":
            return JSONResponse(subscription_resource(_found(self.books.subscriptions, asked[2])))
        if asked[1] == "payments":
            return JSONResponse(payment_resource(_found(self.books.payments, asked[2])))
        if asked[1] == "invoices":
            return JSONResponse(invoice_resource(_found(self.books.invoices, asked[2])))
        order = _found(self.books.orders, asked[2])
        if asked[3]:
            return JSONResponse(collection([payment_resource(payment) for payment in reversed(order.payments)]))
        return JSONResponse(order_resource(order))

    def _orders(self, query: ListQuery) -> Response:
        # The real filter means "contains", too.
        orders = [each for each in self.books.orders.values() if (query.receipt or "") in (each.receipt or "")]
        return JSONResponse(collection([order_resource(order) for order in _page(orders, query)]))

    def _invoices(self, query: ListQuery) -> Response:
        invoices = [
            each for each in self.books.invoices.values() if query.subscription_id in (None, each.subscription_id)
        ]
        return JSONResponse(collection([invoice_resource(invoice) for invoice in _page(invoices, query)]))


T = TypeVar("T")


def _operation(request: Request) -> Operation:
    match request.method, request.scope["path"]:
        case "POST", "/v1/orders":
            return "order"
        case "POST", "/v1/payments/create/recurring":
            return "charge"
        case _:
            return "lookup"


def _found(entities: Mapping[str, T], entity_id: str) -> T:
    if entity_id not in entities:
        raise _Refused(no_such_id())
    return entities[entity_id]


def _page(entities: Sequence[T], query: ListQuery) -> Sequence[T]:
    """Newest first."""
    return entities[::-1][query.skip : query.skip + query.count]


def _names(*names: str | None) -> tuple[str, ...]:
    return tuple(name for name in names if name)
