"""The jobs that a worker runs, from their claim until their end is with the committer."""

import asyncio
from collections.abc import Callable, Iterator

import structlog

from app.jobs.committer import Committer
from app.jobs.progress import Progress
from app.jobs.runner import JobRunner
from app.jobs.running import RunningJob, Stop
from app.jobs.store import ClaimedJob

log = structlog.stdlib.get_logger(__name__)


class RunningJobs:
    """`lease` is how long a claim holds (seconds); `ended` is called with the op of each end that is recorded."""

    def __init__(self, runner: JobRunner, committer: Committer, lease: float, ended: Callable[[str], None]) -> None:
        self._runner = runner
        self._committer = committer
        self._lease = lease
        self._ended = ended
        self._jobs: dict[str, RunningJob] = {}
        # Starts and ends so far.
        self.changes = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[RunningJob]:
        """Those of this moment, whatever becomes of them meanwhile."""
        return iter(list(self._jobs.values()))

    def __contains__(self, job: RunningJob) -> bool:
        return self._jobs.get(job.claimed.id) is job

    def get(self, job_id: str) -> RunningJob | None:
        return self._jobs.get(job_id)

    def start(self, job: ClaimedJob, asked_at: float) -> asyncio.Task[None]:
        """Runs a job that was asked for at that time of the loop."""
        running = RunningJob(job, started=asyncio.get_running_loop().time(), held_until=asked_at + self._lease)
        self.changes += 1
        if (before := self._jobs.get(job.id)) is not None:
            # Its lease ran out, and this worker was the first to notice.
            before.end(Stop.LEASE_LOST)
        self._jobs[job.id] = running
        running.asyncio_task = task = asyncio.create_task(self._run(running), name=f"job {job.id}")
        return task

    def hand_back(self) -> None:
        """Ends them now; other workers start them again, at the cost of no try."""
        for job in self:
            job.end(Stop.SHUTDOWN)

    async def abandon(self) -> None:
        """Ends them and records nothing: they are left to their leases."""
        tasks = self._tasks()
        self.hand_back()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def until_none(self, deadline: float) -> None:
        """Returns when none of those that run now is left, or at that time of the loop."""
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=max(0.0, deadline - asyncio.get_running_loop().time()))

    def sweep(self) -> list[tuple[ClaimedJob, Progress]]:
        """Ends those that are beyond a time limit; returns what was said of progress since the last time."""
        now = asyncio.get_running_loop().time()
        news = []
        for job in self:
            job.check_limits(now)
            if job.progress is not None:
                news.append((job.claimed, job.progress))
                job.progress = None
        return news

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [job.asyncio_task for job in self if job.asyncio_task is not None]

    async def _run(self, running: RunningJob) -> None:
        running.has_begun = True
        try:
            finish = await self._runner.run(running)
        finally:
            self.changes += 1
            # The same id may have been claimed again since, by this very worker.
            if running in self:
                del self._jobs[running.claimed.id]
        # Task, coroutine and job refer to each other: cut here, they need no garbage collector.
        running.asyncio_task = running.interruptible = None
        if finish is not None:
            self._committer.add(finish)
            self._ended(finish.op)
