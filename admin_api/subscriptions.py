"""Deliveries of subscriptions: what a run would do, how it stands, and whether the gateway agrees."""

from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import HTTPException, Path, Query, Response, status
from fastapi.responses import StreamingResponse

from admin_api.calls import admin_router
from admin_api.dependencies import GivenActor, GivenServices, Viewer
from admin_api.models import ACTING, READING, DateQuery, Day, answers
from app.deliveries.runs import UnknownRun
from app.operations.previews import PreviewView
from app.operations.reconciling import DeliveryReconciliation, NoGateway, ReconciliationView
from app.operations.runs import RunNotPaused, RunView
from app.providers.failures import ProviderFailure

subscriptions_router = admin_router("subscriptions")

DayInPath = Annotated[Day, Path(examples=["2026-03-05"])]


@subscriptions_router.get(
    "/admin/subscriptions/preview",
    response_class=StreamingResponse,
    responses=READING | {status.HTTP_200_OK: {"model": PreviewView}},
)
async def preview_run(which: Annotated[DateQuery, Query()], opened: GivenServices, _role: Viewer) -> Response:
    """What the run of that date (today's without one) would charge and skip, and why. Nothing is written."""
    preview = opened.operations.preview(which.day or _today())
    return StreamingResponse(preview.as_json(), media_type="application/json")


@subscriptions_router.get("/admin/subscriptions/reconcile", responses=READING)
async def reconcile_deliveries(
    which: Annotated[DateQuery, Query()], opened: GivenServices, _role: Viewer
) -> ReconciliationView:
    """Ledger, shop and gateway of that date (today's without one) side by side: what differs or waits for a person.

    It only reads. The gateway is asked about each delivery in doubt, which takes a while where they are many.
    """
    try:
        async with opened.open_gateway() as gateway:
            return await DeliveryReconciliation(opened.operations.database, gateway, which.day or _today()).whole()
    except (NoGateway, ProviderFailure) as error:
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, str(error)) from error


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


def _today() -> date:
    return datetime.now(UTC).date()
