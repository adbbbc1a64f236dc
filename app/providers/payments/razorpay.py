"""Razorpay's orders, recurring payments, subscriptions and invoices."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
from pydantic import SecretStr

from app.providers.failures import (
    NotAnswered,
    NotListedYet,
    ProviderFailure,
    ProviderNotDone,
    ProviderOutcomeUnknown,
    ProviderRefused,
)
from app.providers.http import exchange
from app.providers.payments.answers import NAME, DebitRefused, ReceiptTaken, UnknownToGateway, demand, failure, parsed
from app.providers.payments.entities import (
    CURRENCY,
    AcceptedDebit,
    E,
    GatewayOrder,
    GatewayOrderId,
    GatewayPayment,
    GatewayPaymentId,
    GatewaySubscription,
    GatewaySubscriptionId,
    Invoice,
    InvoiceId,
    Listing,
    Paise,
)
from app.providers.payments.requests import Debit, OrderRequest
from app.providers.payments.standing import Standing, standing_of_order

_PAGE_SIZE: Final = 100  # the most that Razorpay gives
_MAX_PAGES: Final = 5
_PAGES_AT_ONCE: Final = 10
_ID: Final = re.compile(r"[a-z]+_[A-Za-z0-9]+")
# Nothing is promised about how soon an order is on the list.
_LISTED_AFTER: Final = timedelta(minutes=1)


class Razorpay:
    """Razorpay's v1 API.

    What asks for something to be done raises ProviderRefused, ProviderNotDone, ProviderUnreachable, Misconfigured or
    ProviderOutcomeUnknown, which all speak of this request. Questions raise NotAnswered, ProviderUnreachable and
    Misconfigured, which tell nothing about what was asked about, and ProviderOutcomeUnknown where an answer came that
    must not be believed: wrong types, another amount, currency or id. They are never refused.
    """

    name = NAME

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        base_url: str,
        key_id: str,
        key_secret: SecretStr,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._url = f"{base_url}/v1"
        self._auth = httpx.BasicAuth(key_id, key_secret.get_secret_value())
        self._now = now

    async def create_order(self, wanted: OrderRequest) -> GatewayOrder:
        """The order made, or the one that had this receipt already, which may even be paid: look at its status.

        Raises NotListedYet too: Razorpay says that it has this receipt, but not yet under which id. Accounts that
        allow receipts twice make a second order; only the one whose id was committed may be charged.
        """
        body: dict[str, Any] = {
            "amount": wanted.amount,
            "currency": CURRENCY,
            "receipt": wanted.receipt,
            "payment_capture": True,
            "notes": dict(wanted.notes),
        }
        if wanted.notice:
            body["notification"] = {
                "token_id": wanted.notice.token_id,
                "payment_after": int(wanted.notice.payment_after.timestamp()),
            }
        try:
            answer = await self._post("/orders", body)
        except ReceiptTaken as taken:
            return await self._order_that_has(wanted, taken)
        return _our_order(parsed(GatewayOrder, answer), answer, wanted.receipt, wanted.amount)

    async def find_order(self, receipt: str, amount: Paise) -> GatewayOrder | None:
        """The order with exactly this receipt; None if there is none, or none is listed yet.

        Among several it is the only one that anybody tried to pay, else the oldest. Raises ProviderOutcomeUnknown
        if there were attempts to pay more than one, or one has another amount.
        """
        found = []
        async for order, answer in self._listed("/orders", {"receipt": receipt}, Listing[GatewayOrder]):
            if order.receipt == receipt:  # Razorpay lists all that contain it
                found.append(_our_order(order, answer, receipt, amount))
        attempted = [order for order in found if order.status != "created" or order.attempts]
        if len(attempted) > 1:
            ids = ", ".join(order.id for order in attempted)
            raise ProviderOutcomeUnknown(self.name, "receipt", f"there were attempts to pay several orders: {ids}")
        return min(attempted or found, key=lambda order: order.created_at, default=None)

    async def order(self, order_id: GatewayOrderId, *, receipt: str, amount: Paise) -> GatewayOrder:
        """The order as it stands now."""
        answer = await self._get(f"/orders/{_known(order_id)}")
        order = parsed(GatewayOrder, answer)
        demand(answer, "id", order_id, order.id)
        return _our_order(order, answer, receipt, amount)

    async def payments_of(self, order_id: GatewayOrderId, *, amount: Paise | None) -> list[GatewayPayment]:
        """All attempts to pay the order, failed ones included; `standing_of_order` tells what follows.

        None as amount takes them whatever they are of.
        """
        answer = await self._get(f"/orders/{_known(order_id)}/payments")
        return [
            _our_payment(payment, answer, order_id, amount) for payment in parsed(Listing[GatewayPayment], answer).items
        ]

    async def orders_like(self, part: str) -> AsyncIterator[GatewayOrder]:
        """All orders whose receipt contains `part`, whatever they are of; those made meanwhile may be left out.

        Some may come twice: the later one is the newer. Only a few pages of them are kept at a time.
        """
        pages, is_last = range(1), False
        while not is_last:
            listed = await asyncio.gather(*(self._page_of_orders(part, page) for page in pages))
            # New ones come first, and move others to a later page: so none is missed, and some come twice.
            for orders in listed:
                for order in orders:
                    yield order
            is_last = len(listed[-1]) < _PAGE_SIZE
            pages = range(pages.stop, pages.stop + _PAGES_AT_ONCE)

    async def _page_of_orders(self, part: str, page: int) -> list[GatewayOrder]:
        answer = await self._get("/orders", {"receipt": part, "count": _PAGE_SIZE, "skip": page * _PAGE_SIZE})
        return parsed(Listing[GatewayOrder], answer).items

    async def payment(self, payment_id: GatewayPaymentId, *, order_id: GatewayOrderId, amount: Paise) -> GatewayPayment:
        """The payment as it stands now."""
        answer = await self._get(f"/payments/{_known(payment_id)}")
        payment = parsed(GatewayPayment, answer)
        demand(answer, "id", payment_id, payment.id)
        return _our_payment(payment, answer, order_id, amount)

    async def charge(self, order_id: GatewayOrderId, debit: Debit, *, amount: Paise) -> GatewayPaymentId:
        """Ask once for the order to be paid by the mandate; the payment's id. It is taken on then, not paid: read it.

        There is no idempotency key, so nobody may ask again before `payments_of` has said what became of it.
        ProviderRefused says that the order is not paid and no payment of it is under way, which was asked about;
        as DebitRefused it tells of payments that failed.
        """
        body = {
            "email": debit.email,
            "contact": debit.contact,
            "amount": amount,
            "currency": CURRENCY,
            "order_id": order_id,
            "customer_id": debit.customer_id,
            "token": debit.token_id,
            "recurring": True,
            "description": debit.description,
            "notes": dict(debit.notes),
        }
        try:
            answer = await self._post("/payments/create/recurring", body, hide=(debit.email, debit.contact))
        except ProviderRefused as refusal:
            if payments := await self._failed_payments(refusal, order_id, amount):
                raise DebitRefused(
                    self.name, refusal.code, refusal.message, payments=payments, request_id=refusal.request_id
                ) from refusal
            raise
        accepted = parsed(AcceptedDebit, answer)
        if accepted.razorpay_order_id is not None:
            demand(answer, "razorpay_order_id", order_id, accepted.razorpay_order_id)
        return accepted.razorpay_payment_id

    async def subscription(self, subscription_id: GatewaySubscriptionId) -> GatewaySubscription:
        """Razorpay's own subscription as it stands now."""
        answer = await self._get(f"/subscriptions/{_known(subscription_id)}")
        subscription = parsed(GatewaySubscription, answer)
        demand(answer, "id", subscription_id, subscription.id)
        return subscription

    async def invoices(self, subscription_id: GatewaySubscriptionId) -> list[Invoice]:
        """All invoices of Razorpay's own subscription, in the order of its list."""
        invoices = []
        async for invoice, answer in self._listed(
            "/invoices", {"subscription_id": _known(subscription_id)}, Listing[Invoice]
        ):
            demand(answer, "subscription_id", subscription_id, invoice.subscription_id)
            invoices.append(invoice)
        return invoices

    async def invoice(self, invoice_id: InvoiceId) -> Invoice:
        """The invoice as it stands now, of whatever subscription. Raises UnknownToGateway too."""
        answer = await self._get(f"/invoices/{_known(invoice_id)}")
        invoice = parsed(Invoice, answer)
        demand(answer, "id", invoice_id, invoice.id)
        return invoice

    async def _order_that_has(self, wanted: OrderRequest, taken: ReceiptTaken) -> GatewayOrder:
        order = await self.find_order(wanted.receipt, wanted.amount)
        if order is None:
            raise NotListedYet(self.name, taken.code, taken.message, retry_after=_LISTED_AFTER) from taken
        return order

    async def _failed_payments(
        self, refusal: ProviderRefused, order_id: GatewayOrderId, amount: Paise
    ) -> Sequence[GatewayPayment]:
        """Raises ProviderOutcomeUnknown unless the order is as unpaid as a refusal of its charge makes one believe.

        An earlier request may have gone through although its answer was lost, and this be why a second was refused.
        """
        try:
            payments = await self.payments_of(order_id, amount=amount)
        except ProviderFailure as failed:
            # Without its words, from which nobody took out what is personal.
            raise _doubted(refusal, f"nobody could tell whether the order is paid ({failed.code})") from refusal
        standing = standing_of_order(payments)
        if payments and standing is not Standing.REFUSED:
            raise _doubted(refusal, f"the order has payments: {standing}") from refusal
        return payments

    async def _post(self, path: str, body: Mapping[str, Any], *, hide: Collection[str] = ()) -> httpx.Response:
        answer = await self._exchange(self._client.build_request("POST", f"{self._url}{path}", json=body))
        if not answer.is_success:
            raise failure(answer, hide=hide, now=self._now())
        return answer

    async def _get(self, path: str, params: Mapping[str, str | int] | None = None) -> httpx.Response:
        request = self._client.build_request("GET", f"{self._url}{path}", params=params)
        try:
            answer = await self._exchange(request)
        except ProviderOutcomeUnknown as failed:
            raise NotAnswered(self.name, failed.code, failed.message) from failed
        if answer.is_success:
            return answer
        problem = failure(answer, hide=(), now=self._now())
        match problem:
            case ProviderRefused():  # "no such id" is no word on the charge; the keys may be another account's
                kind: type[ProviderFailure] = UnknownToGateway
            case ProviderNotDone() | ProviderOutcomeUnknown():
                kind = NotAnswered
            case _:
                raise problem
        raise kind(
            self.name, problem.code, problem.message, retry_after=problem.retry_after, request_id=problem.request_id
        )

    async def _listed(
        self, path: str, filters: Mapping[str, str], form: type[Listing[E]]
    ) -> AsyncIterator[tuple[E, httpx.Response]]:
        """All entities of a list, each with the answer that it came in."""
        for number in range(_MAX_PAGES):
            answer = await self._get(path, {**filters, "count": _PAGE_SIZE, "skip": number * _PAGE_SIZE})
            items = parsed(form, answer).items
            for item in items:
                yield item, answer
            if len(items) < _PAGE_SIZE:
                return
        raise ProviderOutcomeUnknown(self.name, "list", "its list is too long to read")

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        return await exchange(self._client, self.name, request, auth=self._auth)


def _our_order(order: GatewayOrder, answer: httpx.Response, receipt: str, amount: Paise) -> GatewayOrder:
    demand(answer, "receipt", receipt, order.receipt)
    demand(answer, "amount", amount, order.amount)
    return order


def _our_payment(
    payment: GatewayPayment, answer: httpx.Response, order_id: GatewayOrderId, amount: Paise | None
) -> GatewayPayment:
    demand(answer, "order_id", order_id, payment.order_id)
    if amount is not None:
        demand(answer, "amount", amount, payment.amount)
    return payment


def _doubted(refusal: ProviderRefused, why: str) -> ProviderOutcomeUnknown:
    return ProviderOutcomeUnknown(
        refusal.provider, refusal.code, f"{refusal.message}; but {why}", request_id=refusal.request_id
    )


def _known(gateway_id: str) -> str:
    """The id, if it can be one of Razorpay's: the shop's tables may hold anything."""
    if not _ID.fullmatch(gateway_id):
        raise UnknownToGateway(NAME, "id", "what is on record here is no id of Razorpay's")
    return gateway_id
