"""Who is at work: each worker says every few seconds that it lives, what it runs and how it does."""

import asyncio
import os
import socket
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Self

import orjson
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from app.jobs.queues import Queue

WORKERS = "indostar:workers"
ENTRY = "indostar:worker:"
# What fits a list that somebody reads.
MOST_RUNNING_SHOWN = 200


def health_key(*queues: Queue, host: str | None = None) -> str:
    """The key that the workers of exactly these queues on a host (by default this one) keep up together."""
    return f"indostar:health:{'+'.join(queues)}:{host or socket.gethostname()}"


@dataclass(frozen=True, slots=True)
class WorkerEntry:
    """One worker process; times in epoch milliseconds, memory in bytes, `running` the first job ids."""

    id: str
    host: str
    pid: int
    queues: dict[str, int]
    started_ms: int
    seen_ms: int
    running: list[str]
    done: int
    failed: int
    memory_bytes: int
    is_draining: bool

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        said: dict[str, Any] = orjson.loads(raw)
        # A later release, in the midst of a deployment, may say more.
        return cls(**{field.name: said[field.name] for field in fields(cls)})


class Registry:
    """Writes one worker's entry, and keeps up the health key of its kind and host."""

    INTERVAL: ClassVar = timedelta(seconds=3)
    # Two reports may be late before it counts as dead.
    TTL: ClassVar = timedelta(seconds=10)

    def __init__(self, redis: Redis, key: str) -> None:
        self._redis = redis
        self._key = key
        # A report that is under way must not come after the worker's last word.
        self._speaking = asyncio.Lock()
        self._has_left = False

    async def report(self, entry: WorkerEntry) -> None:
        async with self._speaking, self._redis.pipeline(transaction=False) as pipe:
            if self._has_left:
                return
            pipe.set(ENTRY + entry.id, orjson.dumps(asdict(entry)), px=self.TTL)
            pipe.zadd(WORKERS, {entry.id: entry.seen_ms})
            pipe.zremrangebyscore(WORKERS, "-inf", entry.seen_ms - 10 * int(self.TTL.total_seconds() * 1000))
            pipe.set(self._key, entry.id, px=self.TTL)
            await _execute(pipe)

    async def sign_off(self, worker: str) -> None:
        """Removes the entry for good. The health key stays to its siblings; without any it runs out."""
        async with self._speaking, self._redis.pipeline(transaction=False) as pipe:
            self._has_left = True
            pipe.delete(ENTRY + worker)
            pipe.zrem(WORKERS, worker)
            await _execute(pipe)


async def _execute(pipe: Pipeline) -> None:
    """Raises what Redis says of a command in its own words, before which redis-py would put others."""
    for answer in await pipe.execute(raise_on_error=False):
        if isinstance(answer, Exception):
            raise answer


async def workers(redis: Redis) -> list[WorkerEntry]:
    """The workers that are alive, the longest at work first."""
    ids = await redis.zrange(WORKERS, 0, -1)
    if not ids:
        return []
    entries = await redis.mget([ENTRY + worker.decode() for worker in ids])
    alive = [WorkerEntry.from_bytes(entry) for entry in entries if entry is not None]
    return sorted(alive, key=lambda worker: worker.started_ms)


async def is_alive(redis_url: str, queues: Collection[Queue] = tuple(Queue)) -> bool:
    """Whether a worker of these queues on this host reported within the last seconds."""
    async with Redis.from_url(redis_url) as redis:
        return bool(await redis.exists(health_key(*queues)))


def resident_bytes() -> int:
    """This process's memory; 0 where the system does not tell it in Linux's way."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
