"""What the scripts promise, in plain Python: the jobs, who holds them, and the Redis keys that this needs."""

from dataclasses import dataclass, field

from app.jobs.queues import (
    ABORTS,
    CLAIMS,
    EPOCH,
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
from app.jobs.store import ClaimedJob, Finish, Held
from tests.integration.queue_view import Keys

LEASE = 600_000
# How long claim.lua keeps a job back that a stock Job.abort() has put in front.
HURRY = 250


@dataclass
class ModelJob:
    """One job. `due` is its score: the end of its lease plus a half while somebody holds it; None once it ended."""

    id: str
    queue: Queue
    payload: bytes | None
    due: float | None
    holder: str | None = None
    tries: int | None = None
    lost: int = 0
    memory: bytes | None = None
    result: bytes | None = None
    progress: bytes | None = None
    # The due time under which it stays known on the queue where it arrived.
    mark: float | None = None
    is_told: bool = True

    @property
    def state(self) -> str:
        if self.result is not None:
            return "ended"
        return "waiting" if self.holder is None else "held"


@dataclass
class QueueModel:
    """The queues as they should be at `now` (ms)."""

    now: int
    jobs: dict[str, ModelJob] = field(default_factory=dict)
    aborts: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    paused: set[Queue] = field(default_factory=set)
    epoch: str | None = None

    @property
    def lease_end(self) -> float:
        return self.now + LEASE + 0.5

    def knows(self, job_id: str) -> bool:
        return job_id in self.jobs

    def enqueue(self, job_id: str, queue: Queue, payload: bytes, due: int, *, is_told: bool) -> None:
        self.jobs[job_id] = ModelJob(job_id, queue, payload, due, is_told=is_told)

    def hurry(self, job: ModelJob) -> bool:
        """What stock Job.abort() does first to a job whose score, in whole milliseconds, lies ahead."""
        lies_ahead = job.due is not None and int(job.due) > self.now
        if lies_ahead:
            job.due = 1
        return lies_ahead

    def claim(self, queue: Queue, token: str, limit: int, silent_since: int | None) -> list[ModelJob]:
        """The jobs that a claim is to bring, in their order."""
        if queue in self.paused:
            return []
        is_long = silent_since is not None and self.now - silent_since >= LEASE / 3
        here = [job for job in self.jobs.values() if job.queue is queue and job.due is not None]
        for job in here:
            assert job.due is not None
            if job.holder and is_long and (silent_since or 0) <= job.due <= self.now:
                job.due = self.lease_end
            if job.due == 1 and job.holder:
                job.due = self.lease_end
            elif job.due == 1 and job.id not in self.aborts:
                job.due = self.now + HURRY
        due = sorted((job.due, job.id) for job in here if job.due is not None and job.due <= self.now)
        claimed = [self.jobs[job_id] for _, job_id in due[:limit]]
        for job in claimed:
            self._hold(job, token)
        return claimed

    def take(self, job_id: str, token: str) -> ModelJob | None:
        self.epoch = self.epoch or token
        job = self.jobs.get(job_id)
        if job is None or job.due is None:
            return None
        if job.holder and job.due == 1:
            job.due = self.lease_end
        if job.holder and job.due > self.now:
            return None
        self._hold(job, token)
        return job

    def _hold(self, job: ModelJob, token: str) -> None:
        self.epoch = self.epoch or token
        if job.holder:
            job.lost += 1
            job.progress = None
        job.holder = f"{self.epoch} {token}"
        job.due = self.lease_end
        job.is_told = True

    def release(self, queue: Queue, token: str) -> int:
        given_back = [
            job
            for job in self.jobs.values()
            if job.queue is queue and job.holder is not None and job.holder.endswith(f" {token}")
        ]
        for job in given_back:
            job.holder = None
            job.due = self.now
        return len(given_back)

    def renew(self, claimed: ClaimedJob) -> Held:
        job = self.jobs.get(claimed.id)
        is_anew = job is not None and job.due is not None and job.queue is claimed.queue
        if job is not None and is_anew and self._is_forgotten(claimed):
            # Its holder lives, and nobody else should run it at the same time.
            job.holder, job.is_told = claimed.token, True
        if job is not None and job.holder == claimed.token:
            job.due = self.lease_end
            return Held.BY_US
        return Held.FORGOTTEN if self._is_forgotten(claimed) else Held.BY_ANOTHER

    def publish(self, claimed: ClaimedJob, progress: bytes) -> None:
        job = self.jobs.get(claimed.id)
        if job is not None and job.holder == claimed.token:
            job.progress = progress

    def finish(self, finish: Finish) -> Held:
        claimed = finish.job
        job = self.jobs.get(claimed.id)
        is_over = finish.op in ("done", "fail")
        if job is not None and job.holder == claimed.token:
            self._record(job, finish)
        elif job is not None and finish.text == (job.result if is_over else job.memory):
            pass  # It was recorded before, and is asked again.
        elif not self._is_forgotten(claimed) or (job is not None and (job.result is not None or not is_over)):
            return Held.BY_ANOTHER
        else:
            # FLUSHALL came in between. It counts all the same, also for a job of this id that was enqueued anew.
            payload = claimed.payload if job is None else job.payload
            self.jobs[claimed.id] = job = ModelJob(claimed.id, claimed.queue, payload, claimed.due_ms)
            self._record(job, finish)
        return Held.BY_US

    def _is_forgotten(self, claimed: ClaimedJob) -> bool:
        job = self.jobs.get(claimed.id)
        return (job is None or job.holder is None) and self.epoch != claimed.token.split()[0]

    def _record(self, job: ModelJob, finish: Finish) -> None:
        job.holder = job.progress = None
        if finish.op in ("done", "fail"):
            job.result = finish.text
            job.due = job.mark = job.tries = job.memory = None
            job.lost = 0
            self.aborts.discard(job.id)
            if finish.op == "done":
                job.payload = None
            else:
                self.failed.add(job.id)
            return
        job.memory = finish.text
        if finish.op == "again":
            job.due, job.tries = self.now + finish.number, finish.tries
        elif finish.op == "keep":
            job.due, job.tries = finish.number, finish.tries
            self.aborts.discard(job.id)
        elif finish.op == "move":
            job.due = job.mark = finish.number
            [job.queue] = [queue for queue in Queue if queue.key == finish.other_queue]

    def flush(self) -> None:
        for lost in (self.jobs, self.aborts, self.failed, self.paused):
            lost.clear()
        self.epoch = None

    def keys(self) -> Keys:
        """What Redis should hold for this, in the form of `keys_in_redis`."""
        jobs = self.jobs.values()
        scores = {(job.queue, job.id): job.due for job in jobs if job.due is not None}
        scores |= {(Queue.DEFAULT, job.id): -job.mark for job in jobs if job.mark is not None}
        return {
            "queues": scores,
            CLAIMS: {job.id: job.holder.encode() for job in jobs if job.holder is not None},
            IN_PROGRESS: {job.id: job.holder.encode() for job in jobs if job.holder is not None},
            LOST: {job.id: b"%d" % job.lost for job in jobs if job.lost},
            PROGRESS: {job.id: job.progress for job in jobs if job.progress is not None},
            PAYLOAD: {job.id: job.payload for job in jobs if job.payload is not None},
            TRIES: {job.id: b"%d" % job.tries for job in jobs if job.tries is not None},
            MEMORY: {job.id: job.memory for job in jobs if job.memory is not None},
            RESULT: {job.id: job.result for job in jobs if job.result is not None},
            ABORTS: self.aborts,
            FAILED_JOBS: self.failed,
            PAUSED: set(self.paused),
            EPOCH: None if self.epoch is None else self.epoch.encode(),
            "expiring": {
                # Stock arq lets payloads expire; from the first claim on they live as long as their job.
                *(PAYLOAD + job.id for job in jobs if not job.is_told),
                *(IN_PROGRESS + job.id for job in jobs if job.state == "held"),
                *(RESULT + job.id for job in jobs if job.state == "ended" and job.id not in self.failed),
            },
        }
