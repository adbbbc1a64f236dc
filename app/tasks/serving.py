"""The shop's workers: its tasks, settings and resources, run under arq's command line."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from arq.connections import RedisSettings

from app.jobs.health import health_key
from app.jobs.pool import JobPool
from app.jobs.queues import Queue
from app.jobs.shell import run_instead
from app.jobs.worker import Worker
from app.logs import configure_logging
from app.settings import Settings
from app.tasks.registry import TASKS
from app.tasks.resources import open_resources


def serve(settings: Settings, queues: Collection[Queue]) -> Callable[[Any], Awaitable[None]]:
    """An arq `on_startup` hook that serves these queues with our worker."""

    @asynccontextmanager
    async def open_worker(burst: bool) -> AsyncIterator[Worker]:
        # arq's command line has set up logging of its own by now.
        configure_logging(settings)
        concurrency = {
            Queue.DEFAULT: settings.default_concurrency,
            Queue.NOTIFICATIONS: settings.notifications_concurrency,
            Queue.SUBSCRIPTIONS: settings.subscriptions_concurrency,
        }
        pool = JobPool.from_dsn(settings.redis_url.get_secret_value(), TASKS)
        try:
            async with open_resources(settings) as resources:
                yield Worker(
                    pool,
                    resources,
                    {queue: concurrency[queue] for queue in queues},
                    health_key=health_key(*queues),
                    lease=timedelta(seconds=settings.job_lease_seconds),
                    grace=timedelta(seconds=settings.shutdown_grace_seconds),
                    result_ttl=timedelta(seconds=settings.result_ttl_seconds),
                    burst=burst,
                )
        finally:
            await pool.aclose()

    return run_instead(open_worker)


def shell_redis_settings(settings: Settings) -> RedisSettings:
    """For the stock worker's own connection, which waits for Redis however long it takes to come."""
    redis_settings = RedisSettings.from_dsn(settings.redis_url.get_secret_value())
    redis_settings.conn_retries = 1_000_000_000
    return redis_settings
