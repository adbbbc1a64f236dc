"""The admin API's metrics: bounded in time, and there whatever is away."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import TypeVar

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from app.db.engine import Database, DatabaseUnavailable
from app.jobs.events import EventStream
from app.jobs.pool import JobPool
from app.jobs.wire import Wire
from app.metrics import families
from app.metrics.snapshot import FromPostgres, FromRedis, HistoryLag, from_postgres, from_redis, history_lag
from app.schedules.control import ScheduleControl

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

# For each server; Prometheus itself gives up after ten by default (seconds).
ANSWER_WITHIN = 2.0
# Several that scrape at about the same time share one look (seconds).
GOOD_FOR = 1.0
AWAY = (RedisError, OSError, TimeoutError, DatabaseUnavailable, SQLAlchemyError)


class Scrape:
    """Asks Redis and PostgreSQL at most once in `GOOD_FOR` seconds of `clock`, and leaves out what is not there."""

    def __init__(
        self,
        pool: JobPool,
        database: Database,
        stream: EventStream,
        schedules: ScheduleControl,
        providers: Collection[str] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._database = database
        self._stream = stream
        self._schedules = schedules
        self._providers = providers
        self._clock = clock
        self._wire = Wire(pool.connection_pool)
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        self._looking = asyncio.Lock()
        self._text = b""
        self._looked_at: float | None = None

    async def text(self) -> bytes:
        """In Prometheus' text format."""
        async with self._looking:
            if self._looked_at is None or self._clock() - self._looked_at >= GOOD_FOR:
                self._text = await self._look() + generate_latest(self._process)
                self._looked_at = self._clock()
            return self._text

    async def aclose(self) -> None:
        await self._wire.aclose()

    async def _look(self) -> bytes:
        in_redis, in_postgres = await asyncio.gather(
            _answer("Redis", from_redis(self._pool, self._wire)),
            _answer("PostgreSQL", from_postgres(self._database, self._schedules)),
        )
        lag = None
        if in_redis is not None and in_postgres is not None and in_postgres.recorded is not None:
            lag = await _answer("Redis", history_lag(self._stream, in_postgres.recorded, time.time() * 1000))
        registry = CollectorRegistry()
        registry.register(_Look(in_redis, in_postgres, lag, self._providers))
        return generate_latest(registry)


class _Look(Collector):
    """What one look found, None where nobody answered."""

    def __init__(
        self,
        in_redis: FromRedis | None,
        in_postgres: FromPostgres | None,
        lag: HistoryLag | None,
        providers: Collection[str],
    ) -> None:
        self._in_redis = in_redis
        self._in_postgres = in_postgres
        self._lag = lag
        self._providers = providers

    def collect(self) -> Iterator[Metric]:
        yield families.reachable([("redis", self._in_redis is not None), ("postgresql", self._in_postgres is not None)])
        if self._in_redis is not None:
            yield from families.of_redis(self._in_redis)
            yield families.left_alone(self._in_redis.breakers, self._providers)
        if self._in_postgres is not None:
            yield from families.of_postgres(self._in_postgres)
        if self._lag is not None:
            yield from families.of_history(self._lag)


async def _answer(server: str, question: Awaitable[T]) -> T | None:
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            return await question
    except AWAY as error:
        # The sentence of an error may hold a URL; its kind tells enough.
        log.warning("metrics.no_answer", server=server, error=type(error).__name__)
        return None
