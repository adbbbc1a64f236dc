"""A request's way through a fake provider: reply, fault, inbox, count."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from app.dev.fakes.faults import Breakage, Failure, Faults, Refusal
from app.dev.fakes.inbox import Inbox, Provider
from app.dev.fakes.provider import Clock, FakeProvider, Reply

# What a load balancer says where the service behind it does not.
_HTML = {502: "Bad Gateway", 503: "Service Temporarily Unavailable"}


class Exchange:
    """ASGI app for all paths of one provider."""

    def __init__(self, name: Provider, provider: FakeProvider, faults: Faults, inbox: Inbox, clock: Clock) -> None:
        self._name = name
        self._provider = provider
        self._faults = faults
        self._inbox = inbox
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        count = self._inbox.counts[self._name]
        count.requests += 1
        answer = None
        try:
            answer = await self._answer(Request(scope, receive))
        finally:
            count.answers["none" if answer is None else str(answer.status_code)] += 1
        if answer is not None:
            await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response | None:
        """None when there is none, and the client is gone."""
        try:
            reply = await self._provider.reply(request)
        except ClientDisconnect:
            return None
        recipients = [*reply.names, *(recipient for message in reply.accepted for recipient in message.to)]
        operation = reply.operation or ("lookup" if request.method == "GET" else "send")
        latency, fault = self._faults.strike(self._name, operation, recipients)
        match fault:
            case Failure(takes_effect=True):
                reply = reply._replace(answer=self._failure(fault))
            case Failure():
                reply = Reply(self._failure(fault))
            case Refusal():
                reply = Reply(self._provider.refusal(str(fault.code), fault.recipient or ", ".join(recipients)))
            case Breakage(kind="dropped_before"):
                reply = reply._replace(accepted=(), effect=None)
            case Breakage(kind="wrong_json"):
                reply = reply._replace(answer=_broken_off(reply.answer))
        # Nothing was awaited since the provider judged the request, so what it judged by still holds.
        if reply.effect:
            reply.effect()
        for message in reply.accepted:
            self._inbox.add(message)
        if latency and await _left_during(self._faults.last(latency), request.receive):
            return None
        match fault:
            case Breakage(kind="no_answer"):
                await _left(request.receive)
                return None
            case Breakage(kind="dropped_before" | "dropped_after"):
                await _drop(request)
                return None
        return reply.answer

    def _failure(self, fault: Failure) -> Response:
        answer = self._provider.failure(fault.status) or _load_balancer(fault.status)
        if fault.retry_after is not None:
            answer.headers["Retry-After"] = str(fault.retry_after)
        if fault.rate_limit_reset is not None:
            reset = int(self._clock().timestamp()) + fault.rate_limit_reset
            answer.headers.update({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset)})
        return answer


def _load_balancer(status: int) -> Response:
    return HTMLResponse(f"<html><body><h1>{status} {_HTML[status]}</h1></body></html>", status)


def _broken_off(answer: Response) -> Response:
    """The same status with half a JSON document, and without the headers that may hold an id."""
    body = bytes(answer.body)
    return Response(body[: len(body) // 2] or b"{", answer.status_code, media_type="application/json")


async def _left(receive: Receive) -> None:
    """Return once the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _left_during(latency: Coroutine[Any, Any, None], receive: Receive) -> bool:
    leaving, lasting = asyncio.create_task(_left(receive)), asyncio.create_task(latency)
    try:
        await asyncio.wait([leaving, lasting], return_when=asyncio.FIRST_COMPLETED)
        return leaving.done()
    finally:
        leaving.cancel()
        lasting.cancel()


async def _drop(request: Request) -> None:
    transport = request.scope.get("state", {}).get("transport")
    if transport is None:
        # In-process there is no socket; this is how the client's own transport would put it.
        raise ConnectionResetError("the fake provider dropped the connection")
    transport.abort()
    await _left(request.receive)
