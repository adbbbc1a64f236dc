"""What Redis holds of jobs, and what the stream of events tells of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.jobs.pool import JobPool
from app.jobs.queues import (
    ABORTS,
    CLAIMS,
    EPOCH,
    EVENTS,
    FAILED_JOBS,
    IN_PROGRESS,
    LOST,
    MEMORY,
    PAUSED,
    PAYLOAD,
    PROGRESS,
    RESULT,
    TRIES,
    Queue,
)

# By kind of key: what stands under it for each job.
Keys = Mapping[str, Any]


async def keys_in_redis(pool: JobPool) -> Keys:
    """Everything there is of jobs, by kind of key. Fails where there is a key of no known kind."""
    names = sorted(await pool.keys())
    async with pool.pipeline(transaction=True) as pipe:
        for queue in Queue:
            pipe.zrange(queue.key, 0, -1, withscores=True)
        for key in (CLAIMS, LOST, PROGRESS):
            pipe.hgetall(key)
        pipe.zrange(ABORTS, 0, -1)
        pipe.zrange(FAILED_JOBS, 0, -1)
        pipe.smembers(PAUSED)
        pipe.get(EPOCH)
        prefixes = (PAYLOAD, IN_PROGRESS, TRIES, MEMORY, RESULT)
        of_jobs = [name.decode() for name in names if name.decode().startswith(prefixes)]
        for name in of_jobs:
            pipe.get(name)
            pipe.pttl(name)
        *queues, claims, lost, progress, aborts, failed, paused, epoch = (answers := await pipe.execute())[:10]
        values = answers[10:]
    others = {name.decode() for name in names} - set(of_jobs)
    strange = others - {CLAIMS, LOST, PROGRESS, ABORTS, FAILED_JOBS, PAUSED, EPOCH, EVENTS, *(q.key for q in Queue)}
    assert not strange, f"keys of no known kind: {strange}"
    found: dict[str, Any] = {prefix: {} for prefix in prefixes}
    expiring = set()
    for name, value, ttl in zip(of_jobs, values[::2], values[1::2], strict=True):
        prefix = next(prefix for prefix in prefixes if name.startswith(prefix))
        job_id = name.removeprefix(prefix)
        found[prefix][job_id] = value
        if ttl != -1:
            expiring.add(name)
    return found | {
        "queues": {
            (queue, job_id.decode()): score
            for queue, entries in zip(Queue, queues, strict=True)
            for job_id, score in entries
        },
        CLAIMS: _by_text(claims),
        LOST: _by_text(lost),
        PROGRESS: _by_text(progress),
        ABORTS: {job_id.decode() for job_id in aborts},
        FAILED_JOBS: {job_id.decode() for job_id in failed},
        PAUSED: {Queue(name.decode()) for name in paused},
        EPOCH: epoch,
        "expiring": expiring,
    }


def _by_text(entries: Mapping[bytes, bytes]) -> dict[str, bytes]:
    return {name.decode(): value for name, value in entries.items()}


@dataclass
class Story:
    """The states of jobs as the stream of events tells them, and nothing else."""

    read_until: str = "-"
    states: dict[str, str] = field(default_factory=dict)
    progress: dict[str, bytes] = field(default_factory=dict)

    def forget(self) -> None:
        self.read_until = "-"
        self.states.clear()
        self.progress.clear()

    async def read_on(self, pool: JobPool) -> None:
        for entry_id, fields in await pool.xrange(EVENTS, self.read_until):
            self.read_until = f"({entry_id.decode()}"
            told = {name.decode(): value for name, value in fields.items()}
            for name, value in told.items():
                if name.startswith("job:"):
                    self._tell(told["kind"].decode(), name.removeprefix("job:"), value.split(b" "))

    def _tell(self, kind: str, job_id: str, words: Sequence[bytes]) -> None:
        before = self.states.get(job_id)
        if kind == "progress":
            assert before == "held"
            self.progress[job_id] = b" ".join(words)
            return
        self.progress.pop(job_id, None)
        match kind:
            case "enqueued":
                assert before is None or before == "ended"
                self.states[job_id] = "waiting"
            case "started":
                assert before != "held" or words[0].endswith(b".5")
                self.states[job_id] = "held"
            case "released":
                assert before == "held"
                self.states[job_id] = "waiting"
            case "ended":
                self.states[job_id] = "ended" if words[0] in (b"done", b"fail") else "waiting"
            case _:
                raise AssertionError(f"an event of unknown kind: {kind}")
