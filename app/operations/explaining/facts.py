"""What has to be known of a job to explain it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.jobs.lookup import JobRecord, JobState
from app.jobs.queue_states import QueueState
from app.jobs.registry import WorkerEntry
from app.jobs.task import Task
from app.letters.letter import Closed, Rerun


@dataclass(frozen=True, slots=True)
class SlotStart:
    """The job was started by a schedule: for a slot of its own, or because somebody ran it by hand."""

    schedule: str
    slot: datetime
    is_by_hand: bool


@dataclass(frozen=True, slots=True)
class RowOfJob:
    """The job's row in the outbox; `is_relayed` once it was handed to Redis."""

    key: str | None
    not_before: datetime | None
    is_relayed: bool


@dataclass(frozen=True, slots=True)
class ReplacedBy:
    """The job that runs in a dead letter's place; `state` is None where nobody knows it any more."""

    job_id: str
    state: JobState | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """A job and what surrounds it at `now`.

    `task` is None where none of that name is declared; `queue` where Redis could not be asked. `workers` are those that
    are alive and serve its queue, `runner` the one that says it runs the job. `limit` is what it waits in line for.
    `put_off_since` is when it began to be put off, `expires_at` the time after which it is not started any more.
    `enqueued_by` and `ended_by` are operators who did that by hand. `replaced` tells who ran the job before it again,
    `closed` what became of this one. `rerun` is what running it again would come to. `is_lost` where Redis has
    forgotten a job that had not ended. `away` names the servers that could not be asked.
    """

    job: JobRecord
    now: datetime
    task: Task[Any, Any] | None = None
    slot: SlotStart | None = None
    row: RowOfJob | None = None
    enqueued_by: str | None = None
    ended_by: str | None = None
    replaced: Closed | None = None
    queue: QueueState | None = None
    workers: Sequence[WorkerEntry] = ()
    runner: WorkerEntry | None = None
    limit: str | None = None
    started_at: datetime | None = None
    put_off_since: datetime | None = None
    expires_at: datetime | None = None
    abort_asked_at: datetime | None = None
    closed: Closed | None = None
    successor: ReplacedBy | None = None
    rerun: Rerun | None = None
    is_lost: bool = False
    away: Sequence[str] = ()
