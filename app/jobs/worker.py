"""The worker: claims jobs, runs them, keeps their leases and records their ends."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from uuid import uuid4

import structlog

from app.jobs.aborts import Aborts
from app.jobs.claimer import Claimer
from app.jobs.committer import Committer
from app.jobs.companions import Companion, catch_up, keep_running
from app.jobs.context import Resources
from app.jobs.ending import end
from app.jobs.keeping import Keeper
from app.jobs.lane import POLL, Lane
from app.jobs.leases import Leases
from app.jobs.limit_store import LimitStore
from app.jobs.limiter import LOOK_EVERY, Limiter
from app.jobs.limits import Limit
from app.jobs.outage import RedisLine
from app.jobs.pool import JobPool
from app.jobs.queues import ABORTS, PAUSED, Queue
from app.jobs.registry import MOST_RUNNING_SHOWN, Registry, WorkerEntry, resident_bytes
from app.jobs.runner import AttemptHook, JobRunner, wall_clock_ms
from app.jobs.running_jobs import RunningJobs
from app.jobs.store import JobStore
from app.jobs.wake import WakeUp
from app.jobs.watchdog import Watchdog

log = structlog.stdlib.get_logger(__name__)

# Time limits are minutes, and progress is for people: a sweep over all running jobs costs less than a timer a job.
SWEEP = timedelta(seconds=0.5)
# How long a claim that is under way may take, and so the last words with Redis.
LAST_CLAIM = timedelta(seconds=5)
# How long a cancelled job may clean up.
LAST_WORDS = timedelta(seconds=10)
# How long a worker that is to end waits for a Redis that is away before it leaves its records behind.
LAST_RECORDS = timedelta(seconds=30)


class RecordsLost(Exception):
    """The worker ended without Redis: jobs that were done will run again when their leases are over."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count

    def __str__(self) -> str:
        return f"Redis did not come back: the ends of {self.count} jobs are not recorded, and they will run again"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker serves.

    `slots` says how many jobs of each queue run at once; `lease` how long a job stays with a worker that falls silent;
    `grace` how long running jobs may go on after `stop()` before they are handed back. After `most_jobs`, or beyond
    `most_memory` bytes, the worker stops by itself, or calls `on_worn_out` once and goes on where that is given; None
    is without end. `on_ready` is called when it is registered and serves, `on_attempt` at the end of each attempt.
    `limits` are those that jobs share beside the limits of their tasks. `companions` run beside the jobs until it
    drains; a burst worker lets them catch up before it takes the queues for empty.
    """

    slots: Mapping[Queue, int]
    health_key: str
    lease: timedelta = timedelta(seconds=15)
    grace: timedelta = timedelta(seconds=25)
    result_ttl: timedelta = timedelta(hours=1)
    most_jobs: int | None = None
    most_memory: int | None = None
    on_worn_out: Callable[[], None] | None = None
    on_ready: Callable[[], None] | None = None
    on_attempt: AttemptHook | None = None
    burst: bool = False
    limits: Collection[Limit] = ()
    companions: Sequence[Companion] = ()


class Worker:
    """Serves queues until `stop()`; in burst mode until nothing on them is due."""

    def __init__(self, pool: JobPool, resources: Resources, options: WorkerOptions) -> None:
        self.id = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._options = options
        self._lease = options.lease.total_seconds()
        self._line = RedisLine()
        self._store = JobStore(pool.connection_pool, lease_ms=int(self._lease * 1000))
        self._claimer = Claimer(self._store, self._line, self.id, self._lease)
        self._committer = Committer(self._store, self._line)
        self._limiter = Limiter(
            LimitStore(pool.connection_pool, hold_ms=int(self._lease * 1000)),
            self._line,
            self.id,
            [*(task.limit for task in pool.tasks), *options.limits],
            happened=self._count_of_events,
            found_nothing=self._note_dry,
            look_every=POLL if options.burst else LOOK_EVERY,
        )
        self._runner = JobRunner(pool.tasks, resources, self._limiter, self.id, options.result_ttl, options.on_attempt)
        self._running = RunningJobs(self._runner, self._committer, self._lease, self._count)
        self._leases = Leases(self._store, self._line, self._running, self._committer, self._lease)
        self._lanes = [
            Lane(
                queue,
                slots,
                self._claimer,
                self._running.start,
                renew_if_late=self._leases.renew_if_late,
                happened=self._count_of_events,
                found_nothing=self._note_dry,
                # What empties the queues and ends should not wait to be told of more.
                is_woken=lambda: self._wake_up.is_listening and not options.burst,
            )
            for queue, slots in options.slots.items()
        ]
        self._aborts = Aborts(self._store, self._line, self._claimer, self._running)
        self._wake_up = WakeUp(
            pool.connection_pool,
            {lane.queue.key: [lane.wake] for lane in self._lanes}
            | {PAUSED: [lane.wake for lane in self._lanes], ABORTS: [self._aborts.wake]},
        )
        self._keeper = Keeper(self._store, self._line, options.slots)
        self._registry = Registry(pool, options.health_key)
        self._stopping = asyncio.Event()
        self._is_worn_out = False
        self._started_ms = wall_clock_ms()
        self._done = 0
        self._failed = 0
        # How many things had happened when each last asked and found nothing.
        self._dry: dict[Lane | Limiter, int] = {}
        # What had happened when the companions last had caught up.
        self._caught_up_at = -1
        self._catch_ups = 0

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self) -> None:
        """Asks it to drain: no more claims, running jobs may end within the grace time."""
        self._stopping.set()

    def hand_back(self) -> None:
        """Ends the running jobs now; other workers start them again, at the cost of no try."""
        self._running.hand_back()

    async def run(self) -> None:
        """Returns when it was stopped and everything is recorded; raises what ended one of its loops."""
        slots = {queue.value: count for queue, count in self._options.slots.items()}
        log.info("worker.started", worker=self.id, slots=slots)
        try:
            async with asyncio.TaskGroup() as group:
                await self._serve(group)
        except BaseExceptionGroup as group_of_errors:
            # Whatever ended a loop ends the worker. The jobs are left to their leases.
            await self._running.abandon()
            raise group_of_errors.exceptions[0] from None
        finally:
            await self._store.aclose()
            await self._limiter.aclose()
        log.info("worker.stopped", worker=self.id, done=self._done, failed=self._failed)

    async def _serve(self, group: asyncio.TaskGroup) -> None:
        def start(name: str, loop: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
            return group.create_task(_as_coroutine(loop), name=name)

        # Redis may not be there yet, and the worker can be told to stop all the same.
        opened = start("opening", self._claimer.open)

        async def serve(lane: Lane) -> None:
            await opened
            await lane.serve()

        keeping = [
            opened,
            start("records", self._committer.run),
            start("leases", lambda: _every(self._options.lease / 3, self._leases.renew)),
            start("limits and progress", lambda: _every(SWEEP, self._sweep)),
            start("registry", lambda: self._keep_registered(opened)),
            start("admissions", self._limiter.serve),
            start("permits", lambda: _every(self._options.lease / 3, self._limiter.renew)),
            start("turns", self._limiter.pace),
            start("aborts", self._aborts.serve),
            start("payloads", lambda: _every(Keeper.INTERVAL, self._keeper.keep)),
            start("wake-up", self._wake_up.run),
            start("watchdog", Watchdog(patience=min(5.0, self._lease / 3)).run),
        ]
        lanes = [start(f"lane {lane.queue}", partial(serve, lane)) for lane in self._lanes]
        beside = [start(each.name, partial(keep_running, each)) for each in self._options.companions]
        if self._options.burst and self._options.companions:
            beside.append(start("catching up", self._catch_up))
        try:
            await self._stopping.wait()
            for loop in beside:
                loop.cancel()
            await self._drain(lanes)
        finally:
            await end([*keeping, *lanes, *beside])

    async def _drain(self, lanes: list[asyncio.Task[None]]) -> None:
        for lane in self._lanes:
            lane.stop()
        grace_ends = asyncio.get_running_loop().time() + self._options.grace.total_seconds()
        if self._running:
            log.info("worker.draining", worker=self.id, running=len(self._running))
        # A lane whose claim is under way may still bring jobs; one that waits for Redis never ends by itself.
        await asyncio.wait(lanes, timeout=LAST_CLAIM.total_seconds())
        for serving in lanes:
            serving.cancel()
        await self._running.until_none(grace_ends)
        self.hand_back()
        await self._running.until_none(asyncio.get_running_loop().time() + LAST_WORDS.total_seconds())
        for stubborn in self._running:
            log.error("job.does_not_end", **stubborn.log_fields())
        try:
            async with asyncio.timeout(LAST_RECORDS.total_seconds()):
                await self._committer.drained()
        except TimeoutError:
            raise RecordsLost(len(self._committer.pending())) from None
        # Without Redis there is nobody to say it to: leases and entries run out by themselves.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_CLAIM.total_seconds()):
                await self._limiter.drained()
                await self._claimer.release_unanswered()
                await self._line.call(lambda: self._registry.sign_off(self.id))

    def _count(self, op: str) -> None:
        if op == "done":
            self._done += 1
        elif op == "fail":
            self._failed += 1
        most = self._options.most_jobs
        if most is not None and self._done + self._failed >= most:
            self._wear_out(jobs=self._done + self._failed)

    def _wear_out(self, **measured: int) -> None:
        if self._is_worn_out or self._stopping.is_set():
            return
        self._is_worn_out = True
        log.info("worker.recycling", worker=self.id, **measured)
        (self._options.on_worn_out or self.stop)()

    def _count_of_events(self) -> int:
        """Grows with each start, end and record of a job: any of them may have put another on any queue."""
        return self._running.changes + self._committer.batches + self._catch_ups

    async def _catch_up(self) -> None:
        """Lets the companions catch up after whatever happened, and has all others ask once more after that."""
        while True:
            happened = self._count_of_events()
            if happened != self._caught_up_at:
                await catch_up(self._options.companions)
                self._catch_ups += 1
                self._caught_up_at = happened + 1
            await asyncio.sleep(POLL)

    def _note_dry(self, who: Lane | Limiter, happened: int) -> None:
        """In burst mode, stops once all have asked and found nothing since the last thing that happened."""
        self._dry[who] = happened
        if not self._options.burst or self._running or self._committer.pending():
            return
        if self._options.companions and self._caught_up_at != happened:
            return
        asked: list[Lane | Limiter] = [*self._lanes, self._limiter]
        if all(self._dry.get(each) == self._count_of_events() for each in asked):
            self.stop()

    async def _sweep(self) -> None:
        if news := self._running.sweep():
            await self._line.call(lambda: self._store.publish_progress(news))

    async def _keep_registered(self, opened: asyncio.Task[None]) -> None:
        await self._report()
        await opened
        if self._options.on_ready is not None:
            self._options.on_ready()
        await _every(Registry.INTERVAL, self._report)

    async def _report(self) -> None:
        memory = resident_bytes()
        entry = WorkerEntry(
            id=self.id,
            host=socket.gethostname(),
            pid=os.getpid(),
            queues={queue.value: count for queue, count in self._options.slots.items()},
            started_ms=self._started_ms,
            seen_ms=wall_clock_ms(),
            running=[job.claimed.id for job in self._running][:MOST_RUNNING_SHOWN],
            done=self._done,
            failed=self._failed,
            memory_bytes=memory,
            is_draining=self._stopping.is_set(),
        )
        await self._line.call(lambda: self._registry.report(entry))
        most = self._options.most_memory
        if most is not None and memory > most:
            self._wear_out(memory_mib=memory >> 20)


async def _as_coroutine(loop: Callable[[], Awaitable[None]]) -> None:
    await loop()


async def _every(interval: timedelta, action: Callable[[], Awaitable[None]]) -> None:
    while True:
        await action()
        await asyncio.sleep(interval.total_seconds())
