"""`python -m bench.gateway PORT`: a Razorpay that takes 100 ms for each answer, captures every debit, and counts.

The fake of `app/dev` is strict and keeps books; this one must cost less than the workers that it measures.
"""

import asyncio
import sys
import time
from dataclasses import dataclass, field

import orjson
import uvloop
from aiohttp import web

from bench.provider import Seen, serve, told

LATENCY_SECONDS = 0.1
# Every invoice covers the time around now.
AROUND_NOW = 3 * 24 * 3600


@dataclass(slots=True)
class Gateway:
    """Orders by id and by receipt, as they are answered; `seen` counts what was captured or told to be paid."""

    seen: Seen = field(default_factory=Seen)
    calls: int = 0
    orders: dict[str, dict[str, object]] = field(default_factory=dict)
    by_receipt: dict[str, dict[str, object]] = field(default_factory=dict)
    payments: dict[str, dict[str, object]] = field(default_factory=dict)

    async def list_orders(self, request: web.Request) -> web.Response:
        order = self.by_receipt.get(request.query.get("receipt", ""))
        return await self._listed([order] if order else [])

    async def create_order(self, request: web.Request) -> web.Response:
        wanted = orjson.loads(await request.read())
        order = {
            "id": f"order_{len(self.orders)}",
            "receipt": wanted["receipt"],
            "amount": wanted["amount"],
            "amount_paid": 0,
            "currency": "INR",
            "status": "created",
            "attempts": 0,
            "created_at": int(time.time()),
        }
        self.orders[str(order["id"])] = self.by_receipt[wanted["receipt"]] = order
        return await self._answered(order)

    async def charge(self, request: web.Request) -> web.Response:
        wanted = orjson.loads(await request.read())
        order = self.orders[wanted["order_id"]]
        payment = {
            "id": f"pay_{len(self.payments)}",
            "order_id": order["id"],
            "amount": order["amount"],
            "currency": "INR",
            "status": "captured",
            "created_at": int(time.time()),
        }
        self.payments[str(payment["id"])] = payment
        order.update(status="paid", attempts=1, amount_paid=order["amount"])
        self._count()
        return await self._answered({"razorpay_payment_id": payment["id"], "razorpay_order_id": order["id"]})

    async def payment(self, request: web.Request) -> web.Response:
        return await self._answered(self.payments[request.match_info["id"]])

    async def order(self, request: web.Request) -> web.Response:
        return await self._answered(self.orders[request.match_info["id"]])

    async def order_payments(self, request: web.Request) -> web.Response:
        order_id = request.match_info["id"]
        return await self._listed([each for each in self.payments.values() if each["order_id"] == order_id])

    async def subscription(self, request: web.Request) -> web.Response:
        now = int(time.time())
        return await self._answered(
            {
                "id": request.match_info["id"],
                "status": "active",
                "customer_id": "cust_1",
                "paid_count": 1,
                "current_start": now - AROUND_NOW,
                "current_end": now + AROUND_NOW,
                "charge_at": now + AROUND_NOW,
            }
        )

    async def invoices(self, request: web.Request) -> web.Response:
        now, subscription = int(time.time()), request.query["subscription_id"]
        number = subscription.partition("_")[2]
        self._count()
        return await self._listed(
            [
                {
                    "id": f"inv_{number}",
                    "subscription_id": subscription,
                    "order_id": f"order_{number}",
                    "payment_id": f"pay_{number}",
                    "status": "paid",
                    "amount": 7 * 6800,
                    "currency": "INR",
                    "billing_start": now - AROUND_NOW,
                    "billing_end": now + AROUND_NOW,
                    "paid_at": now - AROUND_NOW,
                }
            ]
        )

    def _count(self) -> None:
        self.seen.count += 1
        self.seen.last_ns = time.monotonic_ns()

    async def _listed(self, items: list[dict[str, object]]) -> web.Response:
        return await self._answered({"entity": "collection", "count": len(items), "items": items})

    async def _answered(self, answer: dict[str, object]) -> web.Response:
        self.seen.first_ns = self.seen.first_ns or time.monotonic_ns()
        self.calls += 1
        await asyncio.sleep(LATENCY_SECONDS)
        return web.Response(body=orjson.dumps(answer), content_type="application/json")


def application() -> web.Application:
    gateway = Gateway()
    made = told(gateway.seen)
    made.add_routes(
        [
            web.get("/v1/orders", gateway.list_orders),
            web.post("/v1/orders", gateway.create_order),
            web.get("/v1/orders/{id}", gateway.order),
            web.get("/v1/orders/{id}/payments", gateway.order_payments),
            web.post("/v1/payments/create/recurring", gateway.charge),
            web.get("/v1/payments/{id}", gateway.payment),
            web.get("/v1/subscriptions/{id}", gateway.subscription),
            web.get("/v1/invoices", gateway.invoices),
        ]
    )
    return made


if __name__ == "__main__":
    uvloop.run(serve(application(), int(sys.argv[1])))
