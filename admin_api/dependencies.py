"""What the routes work with, and who may call them. Each is a FastAPI dependency that can be overridden."""

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request, status
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

from admin_api.stopping import on_stop_signal
from app.live.hub import LiveEvents
from app.metrics.scrape import Scrape
from app.operations import Actor, Operations, Role, open_operations
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """What operators ask and do, what happens live, metrics, and the tokens."""

    operations: Operations
    live: LiveEvents
    metrics: Scrape
    operator_token: SecretStr | None
    viewer_token: SecretStr | None


@asynccontextmanager
async def services(app: FastAPI, settings: Settings) -> AsyncIterator[Services]:
    """Gives `app` what the router needs, for as long as the context lasts."""
    async with open_operations(settings, application_name="indostar admin api") as operations:
        live = LiveEvents(operations.stream, operations.pool.tasks)
        providers = dict.fromkeys((*settings.email_provider, *settings.sms_provider))
        metrics = Scrape(
            operations.pool, operations.database, operations.stream, operations.schedule_control, tuple(providers)
        )
        opened = Services(operations, live, metrics, settings.admin_api_token, settings.admin_api_readonly_token)
        app.state.indostar = opened
        try:
            with on_stop_signal(live.end_all):
                yield opened
        finally:
            await live.aclose()
            await metrics.aclose()


def get_services(request: Request) -> Services:
    opened = getattr(request.app.state, "indostar", None)
    if not isinstance(opened, Services):
        raise RuntimeError("enter admin_api.services(app, settings) in the app's lifespan, or override get_services")  # noqa: TRY004
    return opened


GivenServices = Annotated[Services, Depends(get_services)]


bearer = HTTPBearer(auto_error=False, description="ADMIN_API_TOKEN acts, ADMIN_API_READONLY_TOKEN reads.")


def require_viewer(
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)], opened: GivenServices
) -> Role:
    """The caller's role; 401 without a valid token."""
    token = given.credentials if given else ""
    # Both are compared, whatever the first says: the time taken tells nothing.
    is_operator = _same(token, opened.operator_token)
    is_viewer = _same(token, opened.viewer_token)
    if is_operator:
        return Role.OPERATOR
    if is_viewer:
        return Role.VIEWER
    reason = "this token is not valid" if token else "send Authorization: Bearer <token>"
    raise HTTPException(status.HTTP_401_UNAUTHORIZED, reason, headers={"WWW-Authenticate": "Bearer"})


def require_operator(role: Annotated[Role, Depends(require_viewer)]) -> Role:
    """As `require_viewer`; 403 for a token that only reads."""
    if role is not Role.OPERATOR:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "this token only reads; acting takes the operator's")
    return role


def get_actor(request: Request, role: Annotated[Role, Depends(require_operator)]) -> Actor:
    """Who acts, for the record."""
    address = request.client.host if request.client else None
    return Actor(role.value, role, f"api {address or 'unknown'}", address)


def _same(given: str, wanted: SecretStr | None) -> bool:
    expected = wanted.get_secret_value() if wanted else ""
    return hmac.compare_digest(given.encode(), expected.encode()) and bool(expected)
