"""What a fake provider is."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, Protocol

from starlette.requests import Request
from starlette.responses import Response

from app.dev.fakes.inbox import Message

Clock = Callable[[], datetime]

# The credentials are nobody's business, the rest is the same on every request.
_LEFT_OUT = frozenset({"authorization", "host", "connection", "accept", "accept-encoding", "content-length"})


class Reply(NamedTuple):
    """`accepted` reaches the inbox, unless a fault prevents it."""

    answer: Response
    accepted: tuple[Message, ...] = ()


class FakeProvider(Protocol):
    async def reply(self, request: Request) -> Reply:
        """What the real one would answer, on a good day."""
        ...

    def failure(self, status: int) -> Response:
        """Its own answer to a request that it could not serve: 429 or 500."""
        ...

    def refusal(self, code: int, recipient: str) -> Response:
        """Its answer to a message it will not deliver; `code` is one of its table of refusals."""
        ...


def telling_headers(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name not in _LEFT_OUT}


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
