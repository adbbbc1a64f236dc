"""From events to rows: what a batch of events makes of the jobs that it tells of."""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from app.db.history import StoredStatus
from app.errors import Refused
from app.history.masking import NOTHING_KNOWN, Masked, masked, storable, storable_json
from app.jobs.events import Event
from app.jobs.failures import UnknownTask, UnreadablePayload
from app.jobs.memory import Attempt, AttemptOutcome, Memory, attempts_from_json
from app.jobs.payload import Payload
from app.jobs.queues import Queue, queue_by_key
from app.jobs.result import UNKNOWN_TASK
from app.jobs.serializer import ErrorRecord, JobFailed, deserialize
from app.jobs.store import WAITING_MARK
from app.jobs.task import TaskRegistry

log = structlog.stdlib.get_logger(__name__)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Longer ones do not fit an index; the admin API allows 200.
LONGEST_ID = 1_000
LONGEST_TASK = 200

Happening = tuple[Event, bytes]
# Of the ends of attempts, those that are the job's.
OVER = (b"done ", b"fail ")


@dataclass(slots=True)
class JobRow:
    """A row of `tasks.jobs`; `kwargs` and `result` are JSON."""

    id: str
    task: str
    queue: str
    status: StoredStatus
    kwargs: str
    terms: list[str]
    enqueued_at: datetime
    root_id: str
    last_event: str
    run_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    tries: int = 0
    max_tries: int | None = None
    result: str | None = None
    error: ErrorRecord | None = None
    worker: str | None = None
    retry_of: str | None = None


@dataclass(frozen=True, slots=True)
class EarlierJob:
    """What is on record of a job; its payload only where it was asked for."""

    row: JobRow
    payload: bytes | None


@dataclass(slots=True)
class JobChange:
    """What is to be written of a job: its row, its attempts from the first on, and its payload.

    `is_new` where nothing of an earlier job of that id is to be left; else a payload that is on record stays.
    """

    row: JobRow
    is_new: bool
    attempts: Sequence[Attempt] = ()
    payload: bytes | None = None

    @property
    def keeps_payload(self) -> bool:
        return self.row.status not in {"succeeded", "cancelled"}


@dataclass(slots=True)
class Story:
    """What a batch tells of one job, from the last event that tells all of it, if there is one (`is_whole`).

    `began_with` is the payload of a beginning before that: of what is passed over, nothing else outlasts it.
    """

    happenings: list[Happening]
    is_whole: bool
    began_with: bytes | None = None

    def begin_again(self, happening: Happening) -> None:
        """With an event that tells all."""
        event, told = self.happenings[0]
        if event.kind == "enqueued":
            self.began_with = told.split(b" ", 2)[2]
        self.happenings = [happening]
        self.is_whole = True


@dataclass(slots=True)
class Fold:
    """A batch of events, by job. What `needed` and `retried` name has to be known to make `changes`."""

    tasks: TaskRegistry
    stories: dict[str, Story] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Events are added in their order."""
        # How far a job is, is for whoever watches it now.
        if event.kind == "progress":
            return
        is_beginning = event.kind == "enqueued"
        is_end = event.kind == "ended"
        for raw_id, told in event.jobs:
            job_id = _readable_id(raw_id)
            if job_id is None:
                continue
            is_whole = is_beginning or (is_end and told.startswith(OVER))
            story = self.stories.get(job_id)
            if story is None:
                self.stories[job_id] = Story([(event, told)], is_whole)
            elif is_whole:
                story.begin_again((event, told))
            else:
                story.happenings.append((event, told))

    def needed(self) -> list[str]:
        """Jobs of which the batch tells only what changed."""
        return [job_id for job_id, story in self.stories.items() if not story.is_whole]

    def retried(self) -> Collection[str]:
        """Those among them whose errors have to be kept free of what their payloads say."""
        return [
            job_id
            for job_id, story in self.stories.items()
            if not story.is_whole
            and any(event.kind == "ended" and not told.startswith(b"wait ") for event, told in story.happenings)
        ]

    def changes(self, earlier: Mapping[str, EarlierJob]) -> Iterator[JobChange]:
        """What is to be written, each job once. What can't be read is passed over."""
        # In one order for all, as for everybody who locks several rows.
        for job_id in sorted(self.stories):
            change = _Folding(self.tasks, job_id, earlier.get(job_id)).run(self.stories[job_id])
            if change is not None:
                yield change


class _Folding:
    """One job's story, from its last event that tells all."""

    def __init__(self, tasks: TaskRegistry, job_id: str, earlier: EarlierJob | None) -> None:
        self._tasks = tasks
        self._id = job_id
        self._row = None if earlier is None else earlier.row
        self._known_payload = None if earlier is None else earlier.payload
        self._new_payload: bytes | None = None
        self._masked: Masked | None = None
        self._attempts: Sequence[Attempt] = ()
        self._is_new = False

    def run(self, story: Story) -> JobChange | None:
        if story.began_with is not None:
            self._is_new = True
            self._known_payload = story.began_with
        for event, told in story.happenings:
            try:
                self._tell(event, told)
            except (ValueError, KeyError, TypeError, IndexError, Refused) as error:
                reason = type(error).__name__
                # Without a traceback, which may repeat arguments.
                log.error("history.event_unreadable", job_id=self._id, event_id=event.id, error=reason)  # noqa: TRY400
        if self._row is None:
            return None
        self._row.last_event = story.happenings[-1][0].id
        change = JobChange(self._row, self._is_new, self._attempts)
        if change.keeps_payload:
            change.payload = self._new_payload
        return change

    def _tell(self, event: Event, told: bytes) -> None:
        match event.kind:
            case "enqueued":
                due, queue_key, raw = told.split(b" ", 2)
                self._begin(raw, queue_by_key(queue_key.decode()), event)
                self._wait(float(due))
            case "started":
                self._start(event, told)
            case "released":
                self._wait(float(told))
            case "ended":
                op, _, rest = told.partition(b" ")
                if op in (b"done", b"fail"):
                    self._end(deserialize(rest), event)
                else:
                    self._row = self._row or self._new_row(UNKNOWN_TASK, Queue.DEFAULT, event.at_ms, event)
                    self._go_back(self._row, op, *rest.split(b" ", 2))

    def _begin(self, raw: bytes, queue: Queue, event: Event) -> JobRow:
        """A job that is told of for the first time; nothing of an earlier one of that id stays."""
        self._is_new = True
        self._attempts = ()
        try:
            payload = Payload.from_bytes(raw)
        except UnreadablePayload:
            payload = Payload(UNKNOWN_TASK, enqueued_ms=event.at_ms)
        self._masked = masked(self._tasks, payload.task, payload.args, payload.kwargs)
        self._known_payload = raw
        row = self._row = self._new_row(payload.task, queue, payload.enqueued_ms, event)
        row.root_id = storable(payload.root or self._id)
        row.retry_of = payload.retry_of and storable(payload.retry_of)
        self._keep(payload.task, raw)
        return row

    def _keep(self, task: str, raw: bytes) -> None:
        """The payload is to be on record, unless it may hold a secret."""
        try:
            self._new_payload = None if self._tasks[task].secret else raw
        except UnknownTask:
            # Nobody can tell what it would call a secret.
            self._new_payload = None

    def _new_row(self, task: str, queue: Queue, enqueued_ms: int, event: Event) -> JobRow:
        known = self._masked or NOTHING_KNOWN
        try:
            max_tries = self._tasks[task].retry.max_tries
        except UnknownTask:
            max_tries = None
        return JobRow(
            id=self._id,
            task=storable(task)[:LONGEST_TASK],
            queue=queue,
            status="queued",
            kwargs=storable_json(known.kwargs) if known.kwargs else "{}",
            terms=known.terms,
            enqueued_at=time_of(enqueued_ms) or time_of(event.at_ms) or EPOCH,
            root_id=self._id,
            last_event=event.id,
            max_tries=max_tries,
        )

    def _start(self, event: Event, told: bytes) -> None:
        queue = Queue(event.queue)
        _due, _, raw = told.partition(b" ")
        # A stock pool's job is told of when it is claimed, each time with its payload.
        row = self._row
        if raw and self._is_another(raw):
            row = self._begin(raw, queue, event)
        elif row is None:
            # Its beginning fell into a gap.
            row = self._row = self._new_row(UNKNOWN_TASK, queue, event.at_ms, event)
        if row.status != "running":
            # Else its worker was lost, which uses up no try.
            row.tries += 1
        row.status = "running"
        row.queue = queue
        row.run_at = row.finished_at = row.result = None
        row.started_at = time_of(event.at_ms)
        row.worker = storable(event.by.rpartition(":")[0]) or None

    def _is_another(self, raw: bytes) -> bool:
        """Whether this is not the payload of the job that is on record."""
        if self._row is None or self._row.task == UNKNOWN_TASK:
            return True
        try:
            return time_of(Payload.from_bytes(raw).enqueued_ms) != self._row.enqueued_at
        except UnreadablePayload:
            return True

    def _wait(self, due_ms: float | None) -> None:
        row = self._row
        if row is None:
            return
        if row.status == "running":
            row.tries = max(0, row.tries - 1)
        row.status = "queued" if row.error is None else "retrying"
        # What waits for a limit has no time of its own.
        row.run_at = None if due_ms is None or due_ms % 1 == float(WAITING_MARK) else time_of(due_ms)
        row.started_at = None

    def _go_back(self, row: JobRow, op: bytes, number: bytes, tries: bytes, text: bytes) -> None:
        """On its queue again. One whose beginning fell into a gap has no name until it ends."""
        if op == b"wait":
            self._wait(None)
        else:
            known = self._masked or self._masked_from_record()
            memory = Memory.from_bytes(text)
            self._attempts = known.attempts(memory.attempts)
            errors = [attempt.error for attempt in self._attempts if attempt.error is not None]
            row.error = errors[-1] if errors else None
            self._wait(float(number))
            has_failed = any(attempt.outcome is not AttemptOutcome.HANDED_BACK for attempt in self._attempts)
            row.status = "retrying" if has_failed else "queued"
            if op == b"move" and row.task != UNKNOWN_TASK:
                row.queue = self._tasks[row.task].queue
        if op != b"move":
            row.tries = int(tries)

    def _masked_from_record(self) -> Masked:
        if self._known_payload is None:
            return NOTHING_KNOWN
        payload = Payload.from_bytes(self._known_payload)
        self._masked = masked(self._tasks, payload.task, payload.args, payload.kwargs)
        return self._masked

    def _end(self, data: Mapping[str, Any], event: Event) -> None:
        """The end tells all that there is to tell."""
        known = self._masked = masked(self._tasks, data["f"], data["a"], data["k"])
        row = self._row = self._new_row(data["f"], queue_by_key(data["q"]), data["et"], event)
        row.root_id = storable(data.get("root") or self._id)
        row.retry_of = storable(data["retry_of"]) if data.get("retry_of") else None
        row.finished_at = time_of(data["ft"])
        row.tries = data["t"]
        self._attempts = known.attempts(attempts_from_json(data["attempts"]))
        # One that was discarded before its first attempt never started.
        row.started_at = time_of(data["st"]) if self._attempts else None
        row.worker = storable(self._attempts[-1].worker or "") or None if self._attempts else None
        outcome = data["r"]
        if data["s"]:
            row.status = "succeeded"
            row.result = known.result(outcome)
        elif isinstance(outcome, asyncio.CancelledError):
            row.status = "cancelled"
        else:
            row.status = "failed"
            row.error = known.error(ErrorRecord.of(outcome)) if isinstance(outcome, JobFailed) else None
            if self._is_new and self._known_payload is not None:
                self._keep(data["f"], self._known_payload)
            elif data["f"] != UNKNOWN_TASK:
                # Should its beginning have fallen into a gap, this is as good.
                arguments = {"args": data["a"], "kwargs": data["k"], "root": data.get("root")}
                self._keep(data["f"], Payload(data["f"], data["et"], **arguments).to_bytes())


def _readable_id(raw: bytes) -> str | None:
    try:
        return storable(raw.decode()) if 0 < len(raw) <= LONGEST_ID else None
    except UnicodeDecodeError:
        return None


def time_of(ms: float) -> datetime | None:
    """None for what no calendar has."""
    try:
        return EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        return None
