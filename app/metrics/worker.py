"""What a worker process counts of its own work."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from app.errors import OutcomeUnknown, Refused, Unavailable
from app.jobs.memory import Attempt
from app.jobs.queues import Queue
from app.jobs.result import UNKNOWN_TASK
from app.jobs.store import ClaimedJob
from app.jobs.task import TaskRegistry
from app.providers.failures import Misconfigured

# Seconds: from a no-op job to the hard time limit.
SPANS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
# Names that anybody may enqueue must not become labels.
OTHER = "other"


class WorkerMetrics:
    """Counts attempts, calls to providers and how late the event loop is. `clock` is a steady one, in seconds."""

    def __init__(self, tasks: TaskRegistry, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        ProcessCollector(registry=self.registry)
        self._attempts = Counter(
            "indostar_attempts", "Attempts at jobs that have ended here.", ["task", "outcome"], registry=self.registry
        )
        attempt_seconds = Histogram(
            "indostar_attempt_seconds", "How long attempts took.", ["task"], registry=self.registry, buckets=SPANS
        )
        wait_seconds = Histogram(
            "indostar_job_wait_seconds",
            "From when jobs were due until they were started; the time in line for a limit is not in it.",
            ["queue"],
            registry=self.registry,
            buckets=SPANS,
        )
        self._calls = Counter(
            "indostar_provider_calls", "Calls to providers.", ["provider", "outcome"], registry=self.registry
        )
        self._call_seconds = Histogram(
            "indostar_provider_call_seconds",
            "How long calls to providers took.",
            ["provider"],
            registry=self.registry,
            buckets=SPANS,
        )
        self._switches = Counter(
            "indostar_messages_switched",
            "Messages that another provider sent than the first one.",
            ["channel", "instead_of", "provider"],
            registry=self.registry,
        )
        self._loop_lag = Histogram(
            "indostar_loop_lag_seconds",
            "How much later than it should the event loop took its turn.",
            registry=self.registry,
            buckets=(0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
        )
        self._turn_at = clock()
        Gauge(
            "indostar_loop_silent_seconds", "Since the event loop took its last turn.", registry=self.registry
        ).set_function(lambda: self._clock() - self._turn_at)
        # Looking a label up costs as much as counting.
        self._spans = {task.name: attempt_seconds.labels(task.name) for task in tasks}
        self._spans[UNKNOWN_TASK] = attempt_seconds.labels(OTHER)
        self._waits = {queue: wait_seconds.labels(queue.value) for queue in Queue}
        self._ends: dict[tuple[str, str], Counter] = {}

    def count_attempt(self, task: str, job: ClaimedJob, attempt: Attempt) -> None:
        """An attempt has ended; one that its worker did not survive is nobody's to time."""
        if attempt.started_ms is None or attempt.finished_ms is None:
            return
        key = (task, attempt.outcome)
        ends = self._ends.get(key)
        if ends is None:
            ends = self._ends[key] = self._attempts.labels(OTHER if task == UNKNOWN_TASK else task, attempt.outcome)
        ends.inc()
        self._spans[task].observe((attempt.finished_ms - attempt.started_ms) / 1000)
        # Clocks of two machines may differ by more than a job waits.
        self._waits[job.queue].observe(max(0, attempt.started_ms - job.due_ms) / 1000)

    def count_call(self, provider: str, seconds: float, error: BaseException | None) -> None:
        """A call to a provider has ended."""
        self._calls.labels(provider, _outcome(error)).inc()
        self._call_seconds.labels(provider).observe(seconds)

    def count_switch(self, channel: str, instead_of: str, provider: str) -> None:
        """A message was sent by another provider than the first one."""
        self._switches.labels(channel, instead_of, provider).inc()

    def count_turn(self, late: float) -> None:
        """The event loop has taken a turn, so many seconds late."""
        self._turn_at = self._clock()
        self._loop_lag.observe(max(0.0, late))


def _outcome(error: BaseException | None) -> str:
    match error:
        case None:
            return "done"
        case Misconfigured():
            return "misconfigured"
        case Unavailable():
            return "unreachable"
        case Refused():
            return "refused"
        case OutcomeUnknown():
            return "unknown"
        case Exception():
            return "not_done"
        case _:
            return "cut_short"
