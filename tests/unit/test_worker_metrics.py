"""What a worker counts of its own work, with labels that nobody outside can add to."""

import pytest
from prometheus_client import generate_latest

from app.errors import OutcomeUnknown
from app.jobs.memory import Attempt, AttemptOutcome
from app.jobs.queues import Queue
from app.jobs.result import UNKNOWN_TASK
from app.jobs.store import ClaimedJob
from app.metrics.worker import WorkerMetrics
from app.providers.failures import (
    Misconfigured,
    ProviderNotDone,
    ProviderOutcomeUnknown,
    ProviderRefused,
    ProviderUnreachable,
)
from app.tasks import TASKS
from tests.metrics import Samples, samples_in, value

JOB = ClaimedJob("j1", Queue.NOTIFICATIONS, "token", 10_000, b"", 0, None, 0)


def samples_of(metrics: WorkerMetrics) -> Samples:
    return samples_in(generate_latest(metrics.registry).decode())


def test_an_attempt_is_counted_with_its_outcome_and_its_times() -> None:
    metrics = WorkerMetrics(TASKS)

    metrics.count_attempt("send_sms_task", JOB, Attempt(1, 12_000, 12_300, AttemptOutcome.RETRIED, "worker"))

    samples = samples_of(metrics)
    assert value(samples, "indostar_attempts_total", task="send_sms_task", outcome="retried") == 1
    assert value(samples, "indostar_attempt_seconds_sum", task="send_sms_task") == 0.3
    assert value(samples, "indostar_job_wait_seconds_sum", queue="notifications") == 2


def test_messages_that_another_provider_sent_are_counted() -> None:
    metrics = WorkerMetrics(TASKS)

    metrics.count_switch("email", "sendgrid", "ses")
    metrics.count_switch("email", "sendgrid", "ses")

    labels = {"channel": "email", "instead_of": "sendgrid", "provider": "ses"}
    assert value(samples_of(metrics), "indostar_messages_switched_total", **labels) == 2


def test_names_that_nobody_declared_are_one_label() -> None:
    metrics = WorkerMetrics(TASKS)

    metrics.count_attempt(UNKNOWN_TASK, JOB, Attempt(1, 12_000, 12_001, AttemptOutcome.FAILED, "worker"))

    samples = samples_of(metrics)
    assert value(samples, "indostar_attempts_total", task="other", outcome="failed") == 1
    assert value(samples, "indostar_attempt_seconds_count", task="other") == 1


def test_an_attempt_whose_worker_died_has_no_times() -> None:
    metrics = WorkerMetrics(TASKS)

    metrics.count_attempt("send_sms_task", JOB, Attempt(1, None, None, AttemptOutcome.LOST, None))

    assert value(samples_of(metrics), "indostar_attempts_total", task="send_sms_task", outcome="lost") is None


def test_a_job_that_starts_before_its_time_did_not_wait() -> None:
    metrics = WorkerMetrics(TASKS)

    metrics.count_attempt("send_sms_task", JOB, Attempt(1, 9_000, 9_100, AttemptOutcome.SUCCEEDED, "worker"))

    assert value(samples_of(metrics), "indostar_job_wait_seconds_sum", queue="notifications") == 0


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "done"),
        (ProviderRefused("SendGrid", "400", "no"), "refused"),
        (ProviderNotDone("SendGrid", "429", "later"), "not_done"),
        (ProviderUnreachable("SendGrid", "ConnectError", ""), "unreachable"),
        (Misconfigured("SendGrid", "401", "who?"), "misconfigured"),
        (ProviderOutcomeUnknown("SendGrid", "ReadTimeout", ""), "unknown"),
        (OutcomeUnknown(), "unknown"),
        (KeyboardInterrupt(), "cut_short"),
    ],
)
def test_a_call_is_counted_by_what_it_means(error: BaseException | None, outcome: str) -> None:
    metrics = WorkerMetrics(TASKS)

    metrics.count_call("SendGrid", 0.2, error)

    samples = samples_of(metrics)
    assert value(samples, "indostar_provider_calls_total", provider="SendGrid", outcome=outcome) == 1
    assert value(samples, "indostar_provider_call_seconds_sum", provider="SendGrid") == 0.2


def test_a_loop_that_stands_still_is_told_of() -> None:
    now = 100.0
    metrics = WorkerMetrics(TASKS, clock=lambda: now)
    metrics.count_turn(late=0.3)

    now = 107.0

    samples = samples_of(metrics)
    assert value(samples, "indostar_loop_silent_seconds") == 7
    assert value(samples, "indostar_loop_lag_seconds_sum") == 0.3
