"""The routes of the admin API."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Depends, HTTPException, Path, Request, Response, status
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from admin_api.dependencies import GivenServices, get_actor, require_viewer
from admin_api.events import events_router
from admin_api.metrics import metrics_router
from admin_api.models import Health, NewJob, Problem, TaskList
from app.db.engine import DatabaseUnavailable
from app.errors import Unavailable
from app.jobs.failures import UnknownTask, WrongArguments
from app.jobs.outage import REDIS_DOWN
from app.operations import Actor, Role
from app.operations.failures import JobIdTaken, NoSuchJob
from app.operations.views import JobView

# Whoever asks for readiness wants an answer, not a wait.
READY_WITHIN_SECONDS = 2


async def say_what_is_away() -> AsyncIterator[None]:
    """503 instead of an internal error: the caller may well try again."""
    try:
        yield
    except DatabaseUnavailable as error:
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, "PostgreSQL can't be reached") from error
    except REDIS_DOWN as error:
        detail = f"Redis can't be reached ({type(error).__name__})"
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, detail) from error


class QuietRoute(APIRoute):
    """Refuses a wrong call by name without repeating what was sent: it may be secret, or no text at all."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def quietly(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                told = [{name: fault[name] for name in ("type", "loc", "msg")} for fault in error.errors()]
                raise RequestValidationError(told) from None

        return quietly


router = APIRouter(
    route_class=QuietRoute,
    dependencies=[Depends(say_what_is_away)],
    responses={
        status.HTTP_401_UNAUTHORIZED: {"model": Problem},
        status.HTTP_503_SERVICE_UNAVAILABLE: {"model": Problem},
    },
)
open_router = APIRouter(tags=["health"])
Viewer = Annotated[Role, Depends(require_viewer)]
GivenActor = Annotated[Actor, Depends(get_actor)]


@open_router.get("/healthz")
async def healthz() -> Health:
    """The process is alive."""
    return Health(status="ok")


@open_router.get("/readyz", responses={status.HTTP_503_SERVICE_UNAVAILABLE: {"model": Health}})
async def readyz(opened: GivenServices, response: Response) -> Health:
    """Redis and PostgreSQL can be reached; 503 says which can't."""
    operations = opened.operations
    faults = await asyncio.gather(
        _fault("Redis", operations.pool.ping()), _fault("PostgreSQL", operations.database.ping())
    )
    if found := [fault for fault in faults if fault is not None]:
        response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
        return Health(status="; ".join(found))
    return Health(status="ok")


async def _fault(name: str, ping: Awaitable[object]) -> str | None:
    try:
        async with asyncio.timeout(READY_WITHIN_SECONDS):
            await ping
    except TimeoutError:
        return f"{name} does not answer within {READY_WITHIN_SECONDS} s"
    except (RedisError, OSError, Unavailable, SQLAlchemyError, asyncpg.PostgresError) as error:
        # The sentence of an error may hold a URL; its kind tells enough.
        return f"{name} can't be reached ({type(error).__name__})"
    return None


@router.get("/admin/tasks", tags=["tasks"])
async def list_tasks(opened: GivenServices, _role: Viewer) -> TaskList:
    """Every task that can be enqueued, with the schema of its arguments."""
    return TaskList(items=opened.operations.tasks())


@router.post(
    "/admin/tasks/{name}/jobs",
    tags=["tasks"],
    status_code=status.HTTP_202_ACCEPTED,
    responses={
        status.HTTP_403_FORBIDDEN: {"model": Problem},
        status.HTTP_404_NOT_FOUND: {"model": Problem},
        status.HTTP_409_CONFLICT: {"model": Problem},
    },
)
async def enqueue(name: str, new: NewJob, opened: GivenServices, actor: GivenActor) -> JobView:
    """Enqueue a job of this task; with a `job_id` of your own at most once."""
    delay = None if new.delay_seconds is None else timedelta(seconds=new.delay_seconds)
    try:
        return await opened.operations.jobs.enqueue(
            actor, name, new.kwargs, run_at=new.run_at, delay=delay, job_id=new.job_id
        )
    except UnknownTask as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, str(error)) from None
    except WrongArguments as error:
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, _as_fastapi_says_it(error)) from None
    except JobIdTaken as error:
        raise HTTPException(status.HTTP_409_CONFLICT, str(error)) from None


@router.get("/admin/jobs/{job_id}", tags=["jobs"], responses={status.HTTP_404_NOT_FOUND: {"model": Problem}})
async def get_job(job_id: Annotated[str, Path(max_length=200)], opened: GivenServices, role: Viewer) -> JobView:
    """A job with its attempts."""
    try:
        return await opened.operations.jobs.find(job_id, role)
    except NoSuchJob as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, str(error)) from None


def _as_fastapi_says_it(error: WrongArguments) -> list[dict[str, Any]]:
    return [
        {"type": "wrong_argument", "loc": ["body", "kwargs", *argument.split(".")], "msg": sentence}
        for argument, sentence in error.faults
    ]


router.include_router(events_router)
router.include_router(metrics_router)
router.include_router(open_router)
