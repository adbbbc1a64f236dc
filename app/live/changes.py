"""From the stream of events to where each job stands: many changes of one job become its last state."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from app.errors import Refused
from app.history.masking import storable
from app.jobs.events import Event
from app.jobs.failures import UnreadablePayload
from app.jobs.lookup import JobState
from app.jobs.memory import AttemptOutcome, Memory
from app.jobs.payload import Payload
from app.jobs.progress import Progress
from app.jobs.queues import Queue, queue_by_key
from app.jobs.serializer import deserialize
from app.jobs.task import TaskRegistry

log = structlog.stdlib.get_logger(__name__)

# Jobs under way whose task is remembered, some 5 MB of them; what is beyond is looked up again.
MOST_KNOWN = 20_000
# As history has it.
LONGEST_ID = 1_000
LONGEST_TASK = 200


@dataclass(frozen=True, slots=True)
class Change:
    """Where a job stands, and how many changes that stands for. `task` is None where nobody can tell any more.

    `at_ms` is when it came to stand there, on Redis' clock.
    """

    job_id: str
    task: str | None
    queue: Queue | None
    status: JobState
    at_ms: int
    count: int
    progress: Progress | None = None


@dataclass(slots=True)
class _Known:
    """What later events of a job do not repeat."""

    task: str | None = None
    queue: Queue | None = None
    has_failed: bool = False


@dataclass(slots=True)
class _News:
    known: _Known
    status: JobState = JobState.QUEUED
    at_ms: int = 0
    count: int = 0
    progress: Progress | None = None


class Changes:
    """Collects what events tell until it is taken: each job once, in the order of their last changes."""

    def __init__(self, tasks: TaskRegistry, *, most_known: int = MOST_KNOWN) -> None:
        self._tasks = tasks
        self._most_known = most_known
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._news: dict[str, _News] = {}

    def add(self, event: Event) -> None:
        """Events are added in their order; what can't be read is passed over."""
        for raw_id, told in event.jobs:
            try:
                self._tell(event, storable(raw_id.decode()) if len(raw_id) <= LONGEST_ID else "", told)
            except (ValueError, KeyError, TypeError, IndexError, OverflowError, Refused) as error:
                # History says so too, and louder. Without a traceback, which may repeat arguments.
                log.debug("live.event_unreadable", event_id=event.id, error=type(error).__name__)

    def unknown(self) -> list[str]:
        """Jobs of which nobody has told yet what their task is."""
        return [job_id for job_id, news in self._news.items() if news.known.task is None]

    def learn(self, payloads: Mapping[str, bytes]) -> None:
        """Tells of jobs what their payloads say."""
        for job_id, payload in payloads.items():
            self._news[job_id].known.task = _task_of(payload)

    def take(self) -> list[Change]:
        """What has changed since it was last taken."""
        news, self._news = self._news, {}
        return [
            Change(job_id, new.known.task, new.known.queue, new.status, new.at_ms, new.count, new.progress)
            for job_id, new in news.items()
        ]

    def _tell(self, event: Event, job_id: str, told: bytes) -> None:
        if not job_id:
            return
        known = self._known.get(job_id) or _Known()
        progress = None
        is_over = False
        match event.kind:
            case "enqueued":
                due, queue_key, payload = told.split(b" ", 2)
                known = _Known(_task_of(payload), queue_by_key(queue_key.decode()))
                status = _waiting(known, float(due), event.at_ms)
            case "started":
                known.queue = Queue(event.queue)
                _due, _, payload = told.partition(b" ")
                if payload:
                    # A stock pool's job, of which nobody told before.
                    known.task = _task_of(payload)
                status = JobState.RUNNING
            case "released":
                status = _waiting(known, float(told), event.at_ms)
            case "progress":
                status, progress = JobState.RUNNING, Progress.from_bytes(told)
            case "ended":
                op, _, rest = told.partition(b" ")
                is_over = op in (b"done", b"fail")
                if is_over:
                    known, status = _end(rest)
                else:
                    status = self._go_back(known, op, rest, event.at_ms)
            case _:
                return
        self._remember(job_id, known, is_over=is_over)
        # Taken out first: the order is that of the last changes.
        new = self._news.pop(job_id, None) or _News(known)
        new.known, new.status, new.at_ms, new.progress = known, status, event.at_ms, progress
        new.count += 1
        self._news[job_id] = new

    def _go_back(self, known: _Known, op: bytes, rest: bytes, at_ms: int) -> JobState:
        number, _tries, text = rest.split(b" ", 2)
        if op == b"wait":
            # In line for a limit: when its turn comes is not known.
            return _waiting(known, at_ms, at_ms)
        attempts = Memory.from_bytes(text).attempts
        known.has_failed = any(attempt.outcome is not AttemptOutcome.HANDED_BACK for attempt in attempts)
        if op == b"move" and known.task is not None:
            known.queue = self._tasks[known.task].queue
        return _waiting(known, float(number), at_ms)

    def _remember(self, job_id: str, known: _Known, *, is_over: bool) -> None:
        if is_over:
            self._known.pop(job_id, None)
            return
        self._known[job_id] = known
        self._known.move_to_end(job_id)
        if len(self._known) > self._most_known:
            self._known.popitem(last=False)


def merged(ticks: Sequence[Sequence[Change]]) -> list[Change]:
    """What was taken at several times as if it had been taken at the last."""
    jobs: dict[str, Change] = {}
    for tick in ticks:
        for change in tick:
            earlier = jobs.pop(change.job_id, None)
            count = change.count + (earlier.count if earlier else 0)
            jobs[change.job_id] = Change(
                change.job_id, change.task, change.queue, change.status, change.at_ms, count, change.progress
            )
    return list(jobs.values())


def _waiting(known: _Known, due_ms: float, at_ms: int) -> JobState:
    if known.has_failed:
        return JobState.RETRYING
    return JobState.SCHEDULED if due_ms > at_ms else JobState.QUEUED


def _end(text: bytes) -> tuple[_Known, JobState]:
    said = deserialize(text)
    known = _Known(_shown_task(said["f"]), queue_by_key(said["q"]))
    if said["s"]:
        return known, JobState.SUCCEEDED
    is_cancelled = isinstance(said["r"], asyncio.CancelledError)
    return known, JobState.CANCELLED if is_cancelled else JobState.FAILED


def _task_of(payload: bytes) -> str | None:
    try:
        return _shown_task(Payload.from_bytes(payload).task)
    except UnreadablePayload:
        return None


def _shown_task(name: str) -> str:
    return storable(name)[:LONGEST_TASK]
