"""What the routes work with, and who may call them. Each is a FastAPI dependency that can be overridden."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request, status
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from admin_api.access import AccessTokens, TooManyWaiting, WrongTokens
from admin_api.stopping import on_stop_signal
from admin_api.turned_away import TurnedAway, Why
from admin_api.turns import Turns
from app.live.hub import LiveEvents
from app.metrics.scrape import Scrape
from app.operations import Actor, Operations, Role, open_operations
from app.operations.reconciling import open_gateway
from app.providers.payments.razorpay import Razorpay
from app.settings import Settings
from app.tasks.resources import providers_in_use


@dataclass(frozen=True, slots=True)
class Services:
    """What operators ask and do, what happens live, metrics, and who may have all that."""

    operations: Operations
    live: LiveEvents
    metrics: Scrape
    open_gateway: Callable[[], AbstractAsyncContextManager[Razorpay]]
    tokens: AccessTokens
    wrong_tokens: WrongTokens = field(default_factory=WrongTokens)
    turned_away: TurnedAway = field(default_factory=TurnedAway)
    # A preview goes through all subscriptions, a reconciliation asks the gateway about many deliveries.
    previews: Turns = field(default_factory=lambda: Turns(2))
    reconciliations: Turns = field(default_factory=lambda: Turns(1))
    longest_reconciliation: timedelta = timedelta(seconds=60)


@asynccontextmanager
async def services(app: FastAPI, settings: Settings) -> AsyncIterator[Services]:
    """Gives `app` what the router needs, for as long as the context lasts."""
    async with open_operations(settings, application_name="indostar admin api") as operations:
        live = LiveEvents(operations.stream, operations.pool.tasks)
        metrics = Scrape(
            operations.pool,
            operations.database,
            operations.stream,
            operations.schedule_control,
            providers_in_use(settings),
        )
        tokens = AccessTokens(settings.admin_api_token, settings.admin_api_readonly_token)
        opened = Services(operations, live, metrics, partial(open_gateway, settings, operations.pool), tokens)
        app.state.indostar = opened
        try:
            with on_stop_signal(live.end_all):
                yield opened
        finally:
            opened.turned_away.tell()
            await live.aclose()
            await metrics.aclose()


def get_services(request: Request) -> Services:
    opened = getattr(request.app.state, "indostar", None)
    if not isinstance(opened, Services):
        raise RuntimeError("enter admin_api.services(app, settings) in the app's lifespan, or override get_services")  # noqa: TRY004
    return opened


GivenServices = Annotated[Services, Depends(get_services)]

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="token",
    description="A token of ADMIN_API_TOKEN acts, one of ADMIN_API_READONLY_TOKEN reads.",
)


async def require_viewer(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)], opened: GivenServices
) -> Role:
    """The caller's role; 401 without a valid token, later each time."""
    if given is None or not given.credentials:
        raise _unauthorized("send Authorization: Bearer <token>")
    holder = opened.tokens.holder(given.credentials)
    if holder is None:
        address = _address(request) or ""
        why: Why = "wrong token"
        try:
            await opened.wrong_tokens.hold_up(address)
        except TooManyWaiting:
            why = "too many wrong tokens"
            reason = "too many wrong tokens came from this address"
            raise HTTPException(status.HTTP_429_TOO_MANY_REQUESTS, reason, headers={"Retry-After": "60"}) from None
        finally:
            opened.turned_away.note(address, why)
        raise _unauthorized("this token is not valid")
    request.state.indostar_caller = holder.name
    return holder.role


async def require_operator(
    request: Request, role: Annotated[Role, Depends(require_viewer)], opened: GivenServices
) -> Role:
    """As `require_viewer`; 403 for a token that only reads."""
    if role is not Role.OPERATOR:
        opened.turned_away.note(_address(request) or "", "only reads", _caller(request, role))
        raise HTTPException(status.HTTP_403_FORBIDDEN, "this token only reads; acting takes an operator's")
    return role


def get_actor(request: Request, role: Annotated[Role, Depends(require_operator)]) -> Actor:
    """Who acts, for the record: `request.state.indostar_caller`, which whoever overrides the others may set."""
    address = _address(request)
    return Actor(_caller(request, role), role, f"api {address or 'unknown'}", address)


Viewer = Annotated[Role, Depends(require_viewer)]
GivenActor = Annotated[Actor, Depends(get_actor)]


def _caller(request: Request, role: Role) -> str:
    return str(getattr(request.state, "indostar_caller", role.value))


def _address(request: Request) -> str | None:
    """Behind a proxy the server makes it the caller's, where `--forwarded-allow-ips` trusts that proxy."""
    return request.client.host if request.client else None


def _unauthorized(reason: str) -> HTTPException:
    return HTTPException(status.HTTP_401_UNAUTHORIZED, reason, headers={"WWW-Authenticate": "Bearer"})
