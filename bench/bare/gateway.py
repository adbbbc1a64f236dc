"""Deliveries charged by nothing but the gateway's calls, with our own client: no ledger, no queue."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from pydantic import SecretStr

from app.providers.http import http_client
from app.providers.payments.entities import GatewaySubscriptionId, Paise
from app.providers.payments.razorpay import Razorpay
from app.providers.payments.requests import Debit, OrderRequest
from bench.measured.sender import Sender
from bench.measured.work import ASSIGNMENT

AMOUNT = Paise(6800)
DEBIT = Debit("cust_1", "token_1", email="asha@example.com", contact="+919812345678", description="Milk")


class _ByMandate:
    """Looks for the order, makes it, debits it and reads the payment."""

    def __init__(self, razorpay: Razorpay) -> None:
        self._razorpay = razorpay

    async def send(self, _task: str, number: int) -> None:
        receipt = f"bare-{number}"
        await self._razorpay.find_order(receipt, AMOUNT)
        order = await self._razorpay.create_order(OrderRequest(receipt, AMOUNT))
        payment = await self._razorpay.charge(order.id, DEBIT, amount=AMOUNT)
        await self._razorpay.payment(payment, order_id=order.id, amount=AMOUNT)


class _ByInvoice:
    """Reads the subscription's invoices."""

    def __init__(self, razorpay: Razorpay) -> None:
        self._razorpay = razorpay

    async def send(self, _task: str, number: int) -> None:
        await self._razorpay.invoices(GatewaySubscriptionId(f"sub_{number + 1}"))


@asynccontextmanager
async def mandate_sender() -> AsyncIterator[Sender]:
    async with http_client(max_connections=ASSIGNMENT.slots) as client:
        yield _ByMandate(_razorpay(client))


@asynccontextmanager
async def invoice_sender() -> AsyncIterator[Sender]:
    async with http_client(max_connections=ASSIGNMENT.slots) as client:
        yield _ByInvoice(_razorpay(client))


def _razorpay(client: httpx.AsyncClient) -> Razorpay:
    return Razorpay(client, base_url=ASSIGNMENT.provider_url, key_id="rzp_bench", key_secret=SecretStr("bench"))
