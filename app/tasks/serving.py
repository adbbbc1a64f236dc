"""The shop's workers: its tasks, settings and resources, run under arq's command line."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from app.db.engine import Database
from app.db.leases import Lease
from app.deliveries.retention import OLD_REMINDERS, OLD_SUBSCRIPTION_RUNS
from app.history.housekeeping import EVERY, HistoryHousekeeping
from app.history.projector import Projector
from app.history.recovery import FailureRecovery
from app.jobs.breaker_store import BreakerStore
from app.jobs.companions import Companion
from app.jobs.event_bound import EventBound
from app.jobs.events import EventStream
from app.jobs.pool import JobPool
from app.jobs.queues import Queue
from app.jobs.registry import health_key
from app.jobs.shell import run_instead
from app.jobs.task import TaskRegistry
from app.jobs.worker import Worker, WorkerOptions
from app.letters.retention import OLD_ENDS
from app.logs import configure_logging
from app.metrics.server import MetricsServer
from app.metrics.worker import WorkerMetrics
from app.notify.outages import OLD_OUTAGES, close_outages_of_others
from app.notify.retention import OLD_MESSAGES
from app.outbox.relay import OutboxRelay
from app.outbox.reruns import end_failed
from app.outbox.retention import OLD_ROWS
from app.providers.payments.razorpay import Razorpay
from app.schedules.firing import ScheduleFiring
from app.schedules.retention import OLD_RUNS
from app.settings import Settings
from app.steering.audit import AuditTrail
from app.steering.keeping import SteeringKeeper
from app.steering.pauses import QueuePauses
from app.steering.retention import OLD_AUDIT
from app.tasks.resources import open_resources, provider_limits, providers_in_use
from app.tasks.schedules import tasks_by

# What is kept as long as history, in the order in which it can go.
OLD_WITH_HISTORY = (
    OLD_ROWS,
    OLD_ENDS,
    OLD_RUNS,
    OLD_MESSAGES,
    OLD_SUBSCRIPTION_RUNS,
    OLD_OUTAGES,
    OLD_REMINDERS,
    OLD_AUDIT,
)
Hook = Callable[[dict[Any, Any]], Awaitable[None]]


def serve(settings: Settings, queues: Collection[Queue]) -> Hook:
    """An arq `on_startup` hook that serves these queues with our worker."""

    @asynccontextmanager
    async def open_shop_worker(burst: bool) -> AsyncIterator[Worker]:
        # arq's command line has set up logging of its own by now.
        configure_logging(settings)
        async with open_worker(settings, worker_options(settings, queues, burst=burst)) as worker:
            yield worker

    return run_instead(open_shop_worker)


@asynccontextmanager
async def open_worker(settings: Settings, options: WorkerOptions, place: int = 0) -> AsyncIterator[Worker]:
    """A worker of the shop's tasks with all that they work with.

    `place` tells the processes of one supervisor apart: each shows its metrics on a port of its own.
    """
    tasks = tasks_by(settings)
    pool = JobPool.from_dsn(settings.redis_url.get_secret_value(), tasks)
    stream, breakers = EventStream(pool.connection_pool), BreakerStore(pool.connection_pool)
    metrics = None
    if settings.metrics_port is not None and not options.burst:
        metrics = WorkerMetrics(tasks)
        shown = MetricsServer(metrics, settings.metrics_port + place)
        options = replace(options, on_attempt=metrics.count_attempt, companions=[*options.companions, shown])
    try:
        async with open_resources(
            settings,
            breakers=breakers,
            on_call=None if metrics is None else metrics.count_call,
            on_switch=None if metrics is None else metrics.count_switch,
        ) as resources:
            companions = _companions(settings, options, tasks, pool, stream, resources[Database])
            yield Worker(pool, resources, replace(options, companions=[*options.companions, *companions]))
    finally:
        await breakers.aclose()
        await stream.aclose()
        await pool.aclose()


def _companions(
    settings: Settings,
    options: WorkerOptions,
    tasks: TaskRegistry,
    pool: JobPool,
    stream: EventStream,
    database: Database,
) -> list[Companion]:
    """What every worker takes part in, whichever queues it serves."""
    candidate = uuid4().hex
    everywhere: list[Companion] = [
        OutboxRelay(database, settings.database_url.get_secret_value(), pool, lease=options.lease),
        Projector(database, stream, tasks, Lease(database, Projector.name, candidate), end_failed),
        EventBound(stream, settings.events_max_mb << 20),
        SteeringKeeper(pool, QueuePauses(pool, database), AuditTrail(database, pool, settings.audit_actor_id)),
    ]
    if options.burst:
        return everywhere
    keep = timedelta(days=settings.history_days)
    recovery = FailureRecovery(database, tasks, stream, end_failed)
    # Whether its keys are set or not, charges call Razorpay.
    outages = partial(close_outages_of_others, database, (*providers_in_use(settings), Razorpay.name))
    turn = Lease(database, HistoryHousekeeping.name, candidate, length=EVERY)
    return [
        *everywhere,
        ScheduleFiring(database, tasks, ZoneInfo(settings.schedule_timezone)),
        HistoryHousekeeping(database, stream, turn, keep, recovery, OLD_WITH_HISTORY, [outages]),
    ]


def worker_options(settings: Settings, queues: Collection[Queue], *, burst: bool = False) -> WorkerOptions:
    concurrency = {
        Queue.DEFAULT: settings.default_concurrency,
        Queue.NOTIFICATIONS: settings.notifications_concurrency,
        Queue.SUBSCRIPTIONS: settings.subscriptions_concurrency,
    }
    slots = {queue: concurrency[queue] for queue in queues}
    most_memory = settings.worker_max_memory_mb
    return WorkerOptions(
        slots=slots,
        health_key=health_key(*queues),
        lease=timedelta(seconds=settings.job_lease_seconds),
        grace=timedelta(seconds=settings.shutdown_grace_seconds),
        result_ttl=timedelta(seconds=settings.result_ttl_seconds),
        # The old system counted by child process; one of ours does the work of as many as it has slots.
        most_jobs=settings.worker_max_tasks_per_child * sum(slots.values()) or None,
        most_memory=None if most_memory is None else most_memory << 20,
        burst=burst,
        limits=provider_limits(settings),
    )
