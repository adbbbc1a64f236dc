"""A snapshot in Prometheus' words."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from app.jobs.breaker_state import BreakerState
from app.jobs.queues import Queue
from app.metrics.snapshot import FromPostgres, FromRedis, HistoryLag


def of_redis(told: FromRedis) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("indostar_queue_jobs", "Jobs on the queue.", labels=["queue", "state"])
    oldest = GaugeMetricFamily(
        "indostar_queue_oldest_wait_seconds", "How long the longest has waited that is due.", labels=["queue"]
    )
    paused = GaugeMetricFamily("indostar_queue_paused", "1 while nobody claims from it.", labels=["queue"])
    for state in told.queues:
        jobs.add_metric([state.queue, "waiting"], state.waiting)
        jobs.add_metric([state.queue, "scheduled"], state.scheduled)
        jobs.add_metric([state.queue, "running"], state.running)
        oldest.add_metric([state.queue], (state.oldest_wait_ms or 0) / 1000)
        paused.add_metric([state.queue], state.is_paused)
    yield from (jobs, oldest, paused)
    alive = GaugeMetricFamily("indostar_workers", "Worker processes that serve the queue.", labels=["queue"])
    slots = GaugeMetricFamily("indostar_worker_slots", "Jobs that they can run at once.", labels=["queue"])
    serving = [worker for worker in told.workers if not worker.is_draining]
    for queue in Queue:
        places = [worker.queues[queue] for worker in serving if queue in worker.queues]
        alive.add_metric([queue], len(places))
        slots.add_metric([queue], sum(places))
    yield from (alive, slots)
    yield _gauge("indostar_workers_draining", "Worker processes that are ending.", len(told.workers) - len(serving))
    yield _gauge("indostar_failed_jobs_kept", "Failed jobs that Redis keeps.", told.failed_kept)
    yield _gauge("indostar_audit_unrecorded", "Actions of operators that are not on record.", told.audit_unrecorded)


def left_alone(breakers: Mapping[str, BreakerState], providers: Iterable[str]) -> Metric:
    """Of the providers in use alone: one that was taken out of use while it was down stays so for ever."""
    gauge = GaugeMetricFamily(
        "indostar_provider_left_alone", "1 while it fails too often, and is only probed.", labels=["provider"]
    )
    for provider in providers:
        gauge.add_metric([provider], provider in breakers and breakers[provider].is_open)
    return gauge


def of_postgres(told: FromPostgres) -> Iterator[Metric]:
    yield _gauge("indostar_outbox_waiting", "Due rows that are on no queue yet, 100,000 at most.", told.outbox_waiting)
    yield _gauge("indostar_outbox_oldest_seconds", "How long the oldest of them has been due.", told.outbox_age)
    charges = GaugeMetricFamily("indostar_charges_open", "Charges that are not settled.", labels=["state"])
    for state, count in told.charges.items():
        charges.add_metric([state], count)
    yield charges
    in_vain = GaugeMetricFamily(
        "indostar_charges_asked_in_vain", "Of these those that wait for a person.", labels=["state"]
    )
    for state, count in told.asked_in_vain.items():
        in_vain.add_metric([state], count)
    yield in_vain
    late = GaugeMetricFamily(
        "indostar_schedule_late_seconds", "How long a slot has been due that nobody settled.", labels=["schedule"]
    )
    following = GaugeMetricFamily(
        "indostar_schedule_next_run_timestamp_seconds", "When it runs next; absent while paused.", labels=["schedule"]
    )
    last = GaugeMetricFamily(
        "indostar_schedule_last_run_timestamp_seconds", "When it last started a job.", labels=["schedule"]
    )
    paused = GaugeMetricFamily("indostar_schedule_paused", "1 while it is paused.", labels=["schedule"])
    for schedule in told.schedules:
        labels = [schedule.name]
        late.add_metric(labels, schedule.late.total_seconds())
        paused.add_metric(labels, schedule.paused_at is not None)
        if schedule.next_run_at is not None:
            following.add_metric(labels, schedule.next_run_at.timestamp())
        if schedule.last_run is not None:
            last.add_metric(labels, schedule.last_run.fired_at.timestamp())
    yield from (late, following, last, paused)


def of_history(lag: HistoryLag) -> Iterator[Metric]:
    yield _gauge("indostar_history_lag_events", "Entries of the stream that are not on record.", lag.entries)
    yield _gauge("indostar_history_lag_seconds", "How long ago the oldest of them was told.", lag.seconds)


def reachable(servers: Iterable[tuple[str, bool]]) -> Metric:
    up = GaugeMetricFamily("indostar_up", "1 where the server answered in time.", labels=["server"])
    for server, has_answered in servers:
        up.add_metric([server], has_answered)
    return up


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)
