"""What a fake provider is."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from starlette.requests import Request
from starlette.responses import Response

from app.dev.fakes.inbox import Message

Clock = Callable[[], datetime]
# Razorpay's requests that change something are told apart, for making an order moves no money.
Operation = Literal["send", "lookup", "order", "charge"]

# The credentials are nobody's business, the rest is the same on every request.
_LEFT_OUT = frozenset({"authorization", "host", "connection", "accept", "accept-encoding", "content-length"})


class Reply(NamedTuple):
    """`accepted` reaches the inbox and `effect` is called, unless a fault prevents it.

    `names` are what else than a recipient a fault can pick the request by; `operation` None goes by the method.
    """

    answer: Response
    accepted: tuple[Message, ...] = ()
    effect: Callable[[], None] | None = None
    names: tuple[str, ...] = ()
    operation: Operation | None = None


class FakeProvider(Protocol):
    async def reply(self, request: Request) -> Reply:
        """What the real one would answer, on a good day."""
        ...

    def failure(self, status: int) -> Response | None:
        """Its own answer to a request that it could not serve; None where a load balancer answers for it."""
        ...

    def refusal(self, code: str, recipient: str) -> Response:
        """Its answer to what it will not do; `code` is one of its table of refusals."""
        ...


def telling_headers(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name not in _LEFT_OUT}


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
