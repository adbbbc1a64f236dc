"""How calls are taken: no larger, and with nothing else, than a route can use; and refused without repeating them."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response, status
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import Message

from app.history.masking import storable

MOST_BODY_BYTES = 1 << 20
TOO_LARGE = HTTPException(status.HTTP_413_CONTENT_TOO_LARGE, f"the body has more than {MOST_BODY_BYTES} bytes")

NO_JSON = {"type": "json_invalid", "loc": ("body",), "msg": "JSON decode error"}


class AdminRoute(APIRoute):
    """Refuses a wrong call by name without repeating what was sent: it may be secret, or no text at all."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        takes_query = bool(self.dependant.query_params)

        async def carefully(request: Request) -> Response:
            if request.query_params and not takes_query:
                raise RequestValidationError([_surplus(name) for name in request.query_params])
            try:
                return await handle(_limited(request))
            except RequestValidationError as error:
                raise RequestValidationError([_without_value(fault) for fault in error.errors()]) from None
            except StarletteHTTPException as error:
                # What FastAPI says of a body that is no UTF-8, or too deep; no route of ours says that.
                if error.status_code != status.HTTP_400_BAD_REQUEST:
                    raise
                raise RequestValidationError([NO_JSON]) from None

        return carefully


def admin_router(tag: str) -> APIRouter:
    """A router of the admin API. The names of its functions are the operations' ids, which clients are made from."""
    return APIRouter(tags=[tag], route_class=AdminRoute, generate_unique_id_function=lambda route: route.name)


def _limited(request: Request) -> Request:
    """The same request, whose body ends in a 413 where it is too large, whatever its headers say."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > MOST_BODY_BYTES:
        raise TOO_LARGE
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > MOST_BODY_BYTES:
            raise TOO_LARGE
        return message

    return Request(request.scope, receive)


def _surplus(name: str) -> dict[str, Any]:
    return {"type": "extra_forbidden", "loc": ("query", name), "msg": "Extra inputs are not permitted"}


def _without_value(fault: dict[str, Any]) -> dict[str, Any]:
    loc = [storable(part) if isinstance(part, str) else part for part in fault["loc"]]
    return {"type": fault["type"], "loc": loc, "msg": storable(fault["msg"])}
