"""The worker: claims jobs, runs them, keeps their leases and records their ends."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import timedelta
from uuid import uuid4

import structlog

from app.jobs.committer import Committer
from app.jobs.context import Resources
from app.jobs.health import Health
from app.jobs.outage import RedisLine
from app.jobs.pool import JobPool
from app.jobs.queues import Queue
from app.jobs.runner import JobRunner, RunningJob, Stop
from app.jobs.scheduler import Scheduler
from app.jobs.store import Claim, ClaimedJob, JobStore

log = structlog.stdlib.get_logger(__name__)

# An idle lane looks again this often (seconds).
POLL = 0.1
# Time limits are minutes; a sweep over all running jobs costs less than a timer a job.
LIMIT_SWEEP = 0.5


class Lane:
    """One queue in this process: at most `slots` of its jobs run at once."""

    def __init__(self, worker: "Worker", queue: Queue, slots: int) -> None:
        self.worker = worker
        self.queue = queue
        self.slots = slots
        self.running: set[RunningJob] = set()
        # The worker's activity at the time of the last claim that found nothing.
        self.dry_since = -1
        self._freed = asyncio.Event()

    async def serve(self) -> None:
        """Claims and starts jobs until it is cancelled."""
        while True:
            free = self.slots - len(self.running)
            if free <= 0:
                self._freed.clear()
                await self._freed.wait()
                continue
            # Half of the slots a claim, so that jobs run while the next ones are on their way.
            activity = self.worker.activity
            claim = await self.worker.claim(self.queue, min(free, max(1, self.slots // 2)))
            for job in claim.jobs:
                self._start(job)
            if not claim.jobs:
                self.dry_since = activity
                self.worker.check_burst()
                wait = POLL if claim.next_due_ms is None else (claim.next_due_ms - claim.now_ms) / 1000
                await asyncio.sleep(min(max(wait, 0.001), POLL))

    def _start(self, job: ClaimedJob) -> None:
        worker = self.worker
        now = asyncio.get_running_loop().time()
        worker.note_activity()
        running = RunningJob(job, started=now, held_until=now + worker.lease.total_seconds())
        self.running.add(running)
        running.asyncio_task = asyncio.create_task(self._run(running), name=f"job {job.id}")

    async def _run(self, running: RunningJob) -> None:
        try:
            finish = await self.worker.runner.run(running)
        finally:
            self.worker.note_activity()
            self.running.discard(running)
            running.asyncio_task = None
            self._freed.set()
        if finish is not None:
            self.worker.committer.add(finish)


class Worker:
    """Serves queues until `stop()`; in burst mode until nothing on them is due.

    `slots` says how many jobs of each queue run at once; `lease` how long a job stays with a worker that falls silent;
    `grace` how long running jobs may go on after `stop()` before they are handed back.
    """

    def __init__(
        self,
        pool: JobPool,
        resources: Resources,
        slots: Mapping[Queue, int],
        *,
        health_key: str,
        lease: timedelta = timedelta(seconds=15),
        grace: timedelta = timedelta(seconds=25),
        result_ttl: timedelta = timedelta(hours=1),
        burst: bool = False,
    ) -> None:
        self.id = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self.pool = pool
        self.lease = lease
        self.grace = grace
        self.burst = burst
        self.line = RedisLine()
        self.store = JobStore(pool, lease_ms=int(lease.total_seconds() * 1000))
        self.committer = Committer(self.store, self.line)
        self.runner = JobRunner(pool.tasks, resources, self.id, result_ttl)
        self.lanes = [Lane(self, queue, count) for queue, count in slots.items()]
        self._scheduler = Scheduler(pool, self.line)
        self._health = Health(pool, health_key, self.id)
        self._stopping = asyncio.Event()
        self._claims = 0
        self._started_and_ended = 0

    def running(self) -> Iterator[RunningJob]:
        return (job for lane in self.lanes for job in lane.running)

    @property
    def activity(self) -> int:
        """Grows with every start, end and record of a job: each may have put another job on any queue."""
        return self._started_and_ended + self.committer.batches

    def note_activity(self) -> None:
        self._started_and_ended += 1

    def stop(self) -> None:
        """Asks it to drain: no more claims, running jobs may end within the grace time."""
        self._stopping.set()

    def hand_back(self) -> None:
        """Ends the running jobs now; other workers start them again, at the cost of no try."""
        for job in list(self.running()):
            job.end(Stop.SHUTDOWN)

    async def run(self) -> None:
        """Returns when it was stopped and everything is recorded; raises what ended one of its loops."""
        log.info("worker.started", worker=self.id, queues={lane.queue.value: lane.slots for lane in self.lanes})
        async with asyncio.TaskGroup() as group:
            keeping = [
                group.create_task(self.committer.run(), name="commit"),
                group.create_task(self._every(self.lease / 3, self._renew), name="renew leases"),
                group.create_task(self._every(timedelta(seconds=LIMIT_SWEEP), self._check_limits), name="limits"),
                group.create_task(self._every(Health.INTERVAL, self._report_health), name="health"),
            ]
            claiming = [group.create_task(lane.serve(), name=f"claim {lane.queue}") for lane in self.lanes]
            if not self.burst:
                claiming.append(group.create_task(self._scheduler.run(), name="schedules"))
            try:
                await self._stopping.wait()
                for loop in claiming:
                    loop.cancel()
                await asyncio.gather(*claiming, return_exceptions=True)
                await self._drain()
            finally:
                for loop in keeping:
                    loop.cancel()
        await self._health.forget()
        log.info("worker.stopped", worker=self.id)

    async def claim(self, queue: Queue, limit: int) -> Claim:
        self._claims += 1
        token = f"{self.id}:{self._claims}"
        return await self.line.call(lambda: self.store.claim(queue, token, limit))

    def check_burst(self) -> None:
        """In burst mode, stops once every lane found nothing and nothing is running or unrecorded."""
        idle = all(lane.dry_since == self.activity and not lane.running for lane in self.lanes)
        if self.burst and idle and not self.committer.pending():
            self.stop()

    async def _drain(self) -> None:
        tasks = [job.asyncio_task for job in self.running() if job.asyncio_task is not None]
        if tasks:
            log.info("worker.draining", worker=self.id, running=len(tasks))
            await asyncio.wait(tasks, timeout=self.grace.total_seconds())
            self.hand_back()
            await asyncio.wait(tasks)
        await self.committer.drained()

    async def _renew(self) -> None:
        held = {job.claimed.token + job.claimed.id: job for job in self.running()}
        claims = [job.claimed for job in held.values()] + [finish.job for finish in self.committer.pending()]
        if not claims:
            return
        asked = asyncio.get_running_loop().time()
        lost = await self.line.call(lambda: self.store.renew(claims))
        gone = {claim.token + claim.id for claim in lost}
        for key, job in held.items():
            if key in gone:
                job.end(Stop.LEASE_LOST)
            else:
                job.held_until = asked + self.lease.total_seconds()

    async def _check_limits(self) -> None:
        now = asyncio.get_running_loop().time()
        for job in list(self.running()):
            job.check_limits(now)

    async def _report_health(self) -> None:
        running = sum(len(lane.running) for lane in self.lanes)
        await self.line.call(lambda: self._health.report(running))

    async def _every(self, interval: timedelta, action: Callable[[], Awaitable[None]]) -> None:
        while True:
            await action()
            await asyncio.sleep(interval.total_seconds())
