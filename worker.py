"""The workers, for arq's command line: `arq worker.WorkerSettings`, or one of the others to scale a queue by itself.

The settings read as arq's documentation has them. `on_startup` puts our worker in the place of the stock one, which
could not keep the promises of docs/architecture.md; the stock one handles signals, `--check` and `--burst`.
"""

import asyncio
from typing import Any, cast

import uvloop
from arq.connections import RedisSettings
from arq.typing import WorkerCoroutine
from arq.worker import func

from app.jobs.offline import OfflinePool
from app.jobs.queues import Queue
from app.jobs.registry import health_key
from app.jobs.serializer import deserialize, serialize
from app.logs import configure_logging
from app.settings import Settings, settings_or_exit
from app.tasks.schedules import tasks_by
from app.tasks.serving import serve

settings = settings_or_exit(Settings)
configure_logging(settings)
# arq's command line makes its loop by the policy. A job costs an eighth less CPU on this one.
asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
tasks = tasks_by(settings)


class WorkerSettings:
    """All three queues and the schedules, in one process."""

    functions = [
        func(
            cast("WorkerCoroutine", task.function),
            name=task.name,
            timeout=task.time_limit,
            max_tries=task.retry.max_tries,
        )
        for task in tasks
    ]
    cron_jobs = [task.schedule.cron for task in tasks if task.schedule is not None]
    # For --check; the stock worker itself is only a shell and stays offline.
    redis_settings = RedisSettings.from_dsn(settings.redis_url.get_secret_value())
    redis_pool = OfflinePool()
    job_serializer = serialize
    job_deserializer = deserialize
    health_check_key = health_key(*Queue)
    on_startup = staticmethod(serve(settings, [*Queue]))


def one_queue(queue: Queue) -> dict[str, Any]:
    """The same settings for a worker of this queue only."""
    return {
        "functions": WorkerSettings.functions,
        "cron_jobs": WorkerSettings.cron_jobs,
        "redis_settings": WorkerSettings.redis_settings,
        "redis_pool": WorkerSettings.redis_pool,
        "job_serializer": serialize,
        "job_deserializer": deserialize,
        "queue_name": queue.key,
        "health_check_key": health_key(queue),
        "on_startup": serve(settings, [queue]),
    }


DefaultWorker = one_queue(Queue.DEFAULT)
NotificationsWorker = one_queue(Queue.NOTIFICATIONS)
SubscriptionsWorker = one_queue(Queue.SUBSCRIPTIONS)
