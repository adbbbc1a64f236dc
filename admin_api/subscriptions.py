"""Deliveries of subscriptions: what a run would do, how it stands, and whether the gateway agrees."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, HTTPException, Path, Query, Response, status
from fastapi.responses import StreamingResponse

from admin_api.calls import admin_router
from admin_api.dependencies import GivenActor, GivenServices, Viewer
from admin_api.models import ACTING, READING, DateQuery, answers, in_turn
from app.deliveries.days import DeliveryDay, today
from app.deliveries.runs import UnknownRun
from app.operations import Role
from app.operations.previews import PreviewView
from app.operations.reconciling import DeliveryReconciliation, NoGateway, ReconciliationView
from app.operations.runs import RunNotPaused, RunView
from app.providers.failures import ProviderFailure

subscriptions_router = admin_router("subscriptions")

DayInPath = Annotated[DeliveryDay, Path(examples=["2026-03-05"])]


async def preview_in_turn(opened: GivenServices, _role: Viewer) -> AsyncIterator[None]:
    with opened.previews.turn():
        yield


async def reconcile_in_turn(opened: GivenServices, _role: Viewer) -> AsyncIterator[None]:
    with opened.reconciliations.turn():
        yield


@subscriptions_router.get(
    "/admin/subscriptions/preview",
    response_class=StreamingResponse,
    responses=READING | in_turn() | {status.HTTP_200_OK: {"model": PreviewView}},
    dependencies=[Depends(preview_in_turn)],
)
async def preview_run(which: Annotated[DateQuery, Query()], opened: GivenServices, _role: Viewer) -> Response:
    """What the run of that date (today's without one) would charge and skip, and why. Nothing is written.

    It is read page by page, as the run works: of a shop in motion each page is as of its own moment. For a day that is
    yet to come the stock of today counts: what earlier days will take is not known.
    """
    pieces = opened.operations.preview(which.day or today(), datetime.now(UTC)).as_json()
    # Once an answer has begun it can't say any more that there is none.
    first = await anext(pieces)
    return StreamingResponse(_resumed(first, pieces), media_type="application/json")


@subscriptions_router.get(
    "/admin/subscriptions/reconcile", responses=READING | in_turn(), dependencies=[Depends(reconcile_in_turn)]
)
async def reconcile_deliveries(
    which: Annotated[DateQuery, Query()], opened: GivenServices, role: Viewer
) -> ReconciliationView:
    """Ledger, shop and gateway of that date (today's without one) side by side: what differs or waits for a person.

    It only reads. The gateway is asked about each delivery in doubt; where they are too many for the time that a call
    has, `indostar reconcile` compares them.
    """
    day, most = which.day or today(), opened.longest_reconciliation
    try:
        async with asyncio.timeout(most.total_seconds()), opened.open_gateway() as gateway:
            return await DeliveryReconciliation(opened.operations.database, gateway, day).whole()
    except TimeoutError as error:
        reason = (
            f"to compare {day} takes more than {most.total_seconds():g} seconds: "
            f"`indostar reconcile --date {day}` takes its time"
        )
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, reason) from error
    except NoGateway as error:
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, str(error)) from error
    except ProviderFailure as error:
        reason = str(error) if role is Role.OPERATOR else error.in_short
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, reason) from error


@subscriptions_router.get("/admin/subscriptions/runs/{day}", responses=READING | answers(404))
async def get_run(day: DayInPath, opened: GivenServices, _role: Viewer) -> RunView:
    """The run of a date: what it planned, how its charges ended, and what is still open."""
    try:
        return await opened.operations.runs.find(day)
    except UnknownRun as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, str(error)) from None


@subscriptions_router.post("/admin/subscriptions/runs/{day}/resume", responses=ACTING | answers(404, 409))
async def resume_run(day: DayInPath, opened: GivenServices, actor: GivenActor) -> RunView:
    """Let a paused run go on, past what paused it."""
    try:
        return await opened.operations.runs.resume(actor, day)
    except UnknownRun as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, str(error)) from None
    except RunNotPaused as error:
        raise HTTPException(status.HTTP_409_CONFLICT, str(error)) from None


async def _resumed(first: str, rest: AsyncIterator[str]) -> AsyncIterator[str]:
    yield first
    async for piece in rest:
        yield piece
