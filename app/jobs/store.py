"""The jobs in Redis: claim, renew and finish, each one round trip for many jobs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from app.jobs.queues import Queue

SCRIPTS = Path(__file__).parent / "scripts"
T = TypeVar("T")

# More would hold up every other client of the server, and Lua's unpack has an end.
MOST_JOBS_A_SCRIPT = 100


@dataclass(slots=True)
class ClaimedJob:
    """A job under lease, as it lies in Redis."""

    id: str
    queue: Queue
    token: str
    due_ms: int
    payload: bytes | None
    tries: int
    lost: int
    memory: bytes | None


@dataclass(frozen=True, slots=True)
class Claim:
    """What one claim brought: the server's time, the next due time on that queue, and the jobs."""

    now_ms: int
    next_due_ms: int | None
    jobs: list[ClaimedJob]


@dataclass(frozen=True, slots=True)
class Finish:
    """How one attempt ended, in the words of finish.lua."""

    op: Literal["done", "fail", "again", "move"]
    job: ClaimedJob
    number: int | None
    text: bytes = b""
    memory: bytes = b""
    tries: int = 0
    other_queue: str = ""

    def arguments(self) -> tuple[Any, ...]:
        job = self.job
        number = "" if self.number is None else self.number
        place = (self.op, job.id, job.token, job.queue.key, self.other_queue)
        return (*place, number, self.text, self.memory, self.tries)


class JobStore:
    """`lease_ms` is how long a job stays with a worker that falls silent.

    `now_ms` replaces the server's clock in tests.
    """

    def __init__(self, redis: Redis, lease_ms: int, now_ms: int | None = None) -> None:
        self.redis = redis
        self.lease_ms = lease_ms
        self.now_ms = now_ms
        self._claim = script(redis, "claim")
        self._renew = script(redis, "renew")
        self._finish = script(redis, "finish")

    @property
    def _now(self) -> str | int:
        return "" if self.now_ms is None else self.now_ms

    async def claim(self, queue: Queue, token: str, limit: int) -> Claim:
        """At most `limit` due jobs of the queue, oldest due first, each under a fresh lease with this token."""
        limit = min(limit, MOST_JOBS_A_SCRIPT)
        reply = await self._claim(keys=[queue.key], args=[token, self.lease_ms, limit, self._now])
        now_ms, next_due, *rows = reply
        jobs = [
            ClaimedJob(
                id=rows[at].decode(),
                queue=queue,
                token=token,
                due_ms=int(float(rows[at + 1])),
                payload=rows[at + 2],
                tries=int(rows[at + 3] or 0),
                lost=int(rows[at + 4] or 0),
                memory=rows[at + 5],
            )
            for at in range(0, len(rows), 6)
        ]
        return Claim(now_ms, None if next_due is None else int(float(next_due)), jobs)

    async def renew(self, jobs: Iterable[ClaimedJob]) -> list[ClaimedJob]:
        """Extends the leases; returns the jobs that are another worker's by now."""
        lost: list[ClaimedJob] = []
        for batch in _batches(list(jobs)):
            args: list[Any] = [self.lease_ms, self._now]
            for job in batch:
                args += (job.id, job.token, job.queue.key)
            kept = await self._renew(args=args)
            lost += [job for job, ours in zip(batch, kept, strict=True) if not ours]
        return lost

    async def finish(self, finishes: Sequence[Finish]) -> list[bool]:
        """Records the ends; False for each job that is another worker's by now, which changes nothing."""
        recorded: list[bool] = []
        for batch in _batches(finishes):
            args: list[Any] = [self._now]
            for finish in batch:
                args += finish.arguments()
            recorded += [bool(ours) for ours in await self._finish(args=args)]
        return recorded


def script(redis: Redis, name: str) -> AsyncScript:
    """The Lua script of that name, loaded into the server when it is first called there."""
    return redis.register_script((SCRIPTS / f"{name}.lua").read_text())


def _batches(items: Sequence[T]) -> Iterable[Sequence[T]]:
    for start in range(0, len(items), MOST_JOBS_A_SCRIPT):
        yield items[start : start + MOST_JOBS_A_SCRIPT]
