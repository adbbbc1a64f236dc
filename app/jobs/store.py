"""The jobs in Redis: claim, renew and finish, each one round trip for many jobs."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Any, Literal, TypeVar

import structlog
from redis.asyncio import ConnectionPool

from app.jobs.progress import Progress
from app.jobs.queues import (
    ABORTS,
    CLAIMS,
    ENDED,
    EPOCH,
    EVENTS,
    FAILED_JOBS,
    LOST,
    PAUSED,
    PROGRESS,
    UNREADABLE_IDS,
    Queue,
    queue_by_key,
)
from app.jobs.wire import Script, Wire

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

# More would hold up every other client of the server, and Lua's unpack has an end.
MOST_JOBS_A_SCRIPT = 100
# Entries of the event stream: far more than its bound in bytes lets it have, which workers see to. This one is for a
# server that has none.
MOST_EVENTS = 1_000_000

QUEUE_KEYS = tuple(queue.key for queue in Queue)
# How the score of a job ends that waits for a limit: due times are whole milliseconds.
WAITING_MARK = b".25"

CLAIM, TAKE, RELEASE = Script("claim"), Script("take"), Script("release")
RENEW, FINISH, PROGRESS_SCRIPT = Script("renew"), Script("finish"), Script("progress")
KEEP = Script("keep")


@dataclass(slots=True, eq=False)
class ClaimedJob:
    """A job under lease, as it lies in Redis. `lost` counts the workers that it lost; `abort_ms` is when somebody
    asked to abort a job of that id; `was_due` is False for one that was taken before its time; `has_waited` tells one
    that waits, or waited until now, for a limit."""

    id: str
    queue: Queue
    token: str
    due_ms: int
    payload: bytes | None
    tries: int
    memory: bytes | None
    lost: int
    abort_ms: int | None = None
    was_due: bool = True
    has_waited: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """What one claim brought: the server's time, the next due time on that queue, and the jobs."""

    now_ms: int
    next_due_ms: int | None
    is_paused: bool
    jobs: list[ClaimedJob]


@dataclass(frozen=True, slots=True)
class Finish:
    """How one attempt ended, in the words of finish.lua."""

    op: Literal["done", "fail", "again", "keep", "move", "wait"]
    job: ClaimedJob
    number: float
    text: bytes
    tries: int = 0
    other_queue: str = ""
    limit: str = ""


class Held(IntEnum):
    """What became of a claim."""

    BY_ANOTHER = 0
    BY_US = 1
    FORGOTTEN = 2  # Redis lost its data, and the job with them


class JobStore:
    """`lease_ms` is how long a job stays with a worker that falls silent.

    `now_ms` replaces the server's clock in tests.
    """

    def __init__(self, connections: ConnectionPool, lease_ms: int, now_ms: int | None = None) -> None:
        self.lease_ms = lease_ms
        self.now_ms = now_ms
        # Claims must not wait behind the records of a hundred ends.
        self._claiming = Wire(connections)
        self._recording = Wire(connections)

    async def aclose(self) -> None:
        await self._claiming.aclose()
        await self._recording.aclose()

    @property
    def _now(self) -> str | int:
        return "" if self.now_ms is None else self.now_ms

    async def claim(self, queue: Queue, token: str, limit: int, silent_since_ms: int | None = None) -> Claim:
        """At most `limit` due jobs of the queue, oldest due first, each under a fresh lease with this token.

        Leases that ran out since Redis fell silent (ms, the server's clock) are left to their holders for another
        lease's length.
        """
        limit = min(limit, MOST_JOBS_A_SCRIPT)
        silent_since = "" if silent_since_ms is None else silent_since_ms
        now_ms, next_due, paused, epoch, *rows = await self._claiming.run(
            CLAIM,
            (queue.key, CLAIMS, LOST, PAUSED, EVENTS, EPOCH, ABORTS, PROGRESS),
            *(token, self.lease_ms, limit, self._now, queue.value, MOST_EVENTS, silent_since),
        )
        if strange := [rows[at] for at in range(0, len(rows), 7) if not _is_text(rows[at])]:
            await self._set_aside(queue, strange)
            rows = [word for at in range(0, len(rows), 7) if rows[at] not in strange for word in rows[at : at + 7]]
        jobs = list(_claimed(queue, f"{epoch.decode()} {token}", rows))
        return Claim(now_ms, _milliseconds(next_due), bool(paused), jobs)

    async def _set_aside(self, queue: Queue, ids: Sequence[bytes]) -> None:
        """Takes ids off the queue that are no text: nobody could name such a job, or read its result."""
        await self._recording.call("SADD", UNREADABLE_IDS, *ids)
        await self._recording.call("ZREM", queue.key, *ids)
        await self._recording.call("HDEL", CLAIMS, *ids)
        log.error("queue.unreadable_ids", queue=queue.value, ids=len(ids), set_aside_in=UNREADABLE_IDS)

    async def take(self, job_id: str, token: str) -> ClaimedJob | None:
        """That job, due or not, under a lease; None where it does not exist or is running."""
        epoch, *row = await self._recording.run(
            TAKE,
            (CLAIMS, LOST, EPOCH, ABORTS, EVENTS, PROGRESS, *QUEUE_KEYS),
            *(job_id, token, self.lease_ms, self._now, MOST_EVENTS, *Queue),
        )
        if not row:
            return None
        queue = queue_by_key(row.pop(0).decode())
        [job] = _claimed(queue, f"{epoch.decode()} {token}", row)
        job.was_due = False
        return job

    async def release(self, queue: Queue, tokens: Sequence[str]) -> int:
        """Gives back the jobs of claims whose answers were lost; returns how many there were."""
        return int(await self._recording.run(RELEASE, (queue.key, CLAIMS, EVENTS), self._now, MOST_EVENTS, *tokens))

    async def aborts(self) -> list[tuple[str, int]]:
        """The jobs that are to be aborted, and when (ms) that was asked."""
        reply = await self._recording.call("ZRANGE", ABORTS, 0, -1, "WITHSCORES")
        asked = [(reply[at], _milliseconds(reply[at + 1])) for at in range(0, len(reply), 2)]
        # What only a foreign hand writes is passed over: nobody could tell which job is meant, or when.
        return [(job_id.decode(), at_ms) for job_id, at_ms in asked if at_ms is not None and _is_text(job_id)]

    async def forget_abort(self, job_id: str) -> None:
        await self._recording.call("ZREM", ABORTS, job_id)

    async def is_claimed(self, job_id: str) -> bool:
        """Whether a worker holds the job, or held it when it died."""
        return bool(await self._recording.call("HEXISTS", CLAIMS, job_id))

    async def publish_progress(self, news: Iterable[tuple[ClaimedJob, Progress]]) -> None:
        """What running jobs say of how far they are; seen on the job, and told in the stream of events."""
        for batch in batches(list(news)):
            words = [word for job, said in batch for word in (job.id, job.token, said.to_bytes())]
            await self._recording.run(PROGRESS_SCRIPT, (CLAIMS, PROGRESS, EVENTS), MOST_EVENTS, *words)

    async def keep_payloads(self, queue: Queue, overdue: timedelta) -> int:
        """Makes payloads last that stock arq lets expire, of jobs that have waited so long; returns how many."""
        kept = 0
        left: int | str | None = ""
        while left is not None:
            overdue_ms = int(overdue.total_seconds() * 1000)
            left, these = await self._recording.run(KEEP, (queue.key,), left, overdue_ms, MOST_JOBS_A_SCRIPT, self._now)
            kept += these
        return kept

    async def uptime_seconds(self) -> int:
        """How long the server has been running."""
        info: bytes = await self._recording.call("INFO", "server")
        [uptime] = [line for line in info.split(b"\r\n") if line.startswith(b"uptime_in_seconds:")]
        return int(uptime.partition(b":")[2])

    async def renew(self, jobs: Sequence[ClaimedJob]) -> list[Held]:
        """Extends the leases of the jobs that are still ours."""
        held: list[Held] = []
        for batch in batches(jobs):
            words: list[Any] = []
            for job in batch:
                words += (job.id, job.token, job.queue.key)
            keys = (CLAIMS, EPOCH, EVENTS)
            reply = await self._recording.run(RENEW, keys, self.lease_ms, self._now, MOST_EVENTS, *words)
            held += map(Held, reply)
        return held

    async def finish(self, finishes: Sequence[Finish]) -> list[Held]:
        """Records the ends of the jobs that are still ours, or that Redis forgot while they ran."""
        held: list[Held] = []
        for batch in batches(finishes):
            outcome = await self._finish(batch, with_payload=False)
            forgotten = [index for index, how in enumerate(outcome) if how is Held.FORGOTTEN]
            if forgotten:
                again = await self._finish([batch[index] for index in forgotten], with_payload=True)
                for index, how in zip(forgotten, again, strict=True):
                    outcome[index] = how
            held += outcome
        return held

    async def _finish(self, finishes: Sequence[Finish], *, with_payload: bool) -> list[Held]:
        words: list[Any] = []
        for finish in finishes:
            job = finish.job
            words += (finish.op, job.id, job.token, job.queue.key, finish.other_queue or finish.limit)
            words += (finish.number, finish.text, finish.tries)
            words.append(job.payload or b"" if with_payload else b"")
        keys = (CLAIMS, LOST, PROGRESS, FAILED_JOBS, EPOCH, EVENTS, ABORTS, ENDED, *QUEUE_KEYS)
        reply = await self._recording.run(FINISH, keys, self._now, MOST_EVENTS, *words)
        return [Held(how) for how in reply]


def _claimed(queue: Queue, token: str, rows: Sequence[Any]) -> Iterator[ClaimedJob]:
    for at in range(0, len(rows), 7):
        job_id, due, payload, tries, memory, lost, abort = rows[at : at + 7]
        yield ClaimedJob(
            job_id.decode(),
            queue,
            token,
            _milliseconds(due) or 0,
            payload,
            _count(tries),
            memory,
            _count(lost),
            _milliseconds(abort),
            has_waited=due.endswith(WAITING_MARK),
        )


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _count(raw: bytes | None) -> int:
    """0 also for what is no number, which only a foreign hand writes."""
    return int(raw) if raw and raw.isdigit() else 0


def _milliseconds(score: bytes | None) -> int | None:
    """None also for a score without end, which only a foreign hand writes."""
    at = math.inf if score is None else float(score)
    return int(at) if math.isfinite(at) else None


def batches(items: Sequence[T]) -> Iterable[Sequence[T]]:
    """The items in order, as many at once as one script takes."""
    for start in range(0, len(items), MOST_JOBS_A_SCRIPT):
        yield items[start : start + MOST_JOBS_A_SCRIPT]
