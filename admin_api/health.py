"""Health: is it alive, and can it reach what it needs."""

import asyncio
from collections.abc import Awaitable

import asyncpg
from fastapi import APIRouter, Response, status
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from admin_api.dependencies import GivenServices
from admin_api.models import Health
from app.errors import Unavailable

# Whoever asks for readiness wants an answer, not a wait.
READY_WITHIN_SECONDS = 2

# Whoever asks here may add what he likes: it is no operator.
health_router = APIRouter(tags=["health"], generate_unique_id_function=lambda route: route.name)


@health_router.get("/healthz")
async def healthz() -> Health:
    """The process is alive."""
    return Health(status="ok")


@health_router.get("/readyz", responses={status.HTTP_503_SERVICE_UNAVAILABLE: {"model": Health}})
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
