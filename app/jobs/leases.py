"""Keeping the leases of what a worker runs, and of what has ended and is not recorded yet."""

import asyncio

import structlog

from app.jobs.committer import Committer
from app.jobs.outage import RedisLine
from app.jobs.running import Stop
from app.jobs.running_jobs import RunningJobs
from app.jobs.store import Held, JobStore

log = structlog.stdlib.get_logger(__name__)


class Leases:
    """`lease` in seconds; `renew` is to be called every third of it."""

    def __init__(
        self, store: JobStore, line: RedisLine, running: RunningJobs, committer: Committer, lease: float
    ) -> None:
        self._store = store
        self._line = line
        self._running = running
        self._committer = committer
        self._lease = lease
        self._renewed_at = 0.0

    async def renew(self) -> None:
        """Extends them, and ends the jobs that are another worker's by now."""
        running = list(self._running)
        claims = [job.claimed for job in running] + [finish.job for finish in self._committer.pending()]
        asked_at = 0.0

        async def ask() -> list[Held]:
            # Again and again where Redis is away: what counts is when it was asked for what it granted.
            nonlocal asked_at
            asked_at = asyncio.get_running_loop().time()
            return await self._store.renew(claims) if claims else []

        held = await self._line.call(ask)
        self._renewed_at = asked_at
        for job, how in zip(running, held, strict=False):
            if job not in self._running:
                continue  # It ended meanwhile.
            if how is Held.BY_ANOTHER:
                log.warning("job.lease_lost", **job.log_fields())
                job.end(Stop.LEASE_LOST)
            else:
                job.held_until = asked_at + self._lease

    async def renew_if_late(self) -> None:
        """A worker that was stopped or blocked must not take its own running jobs for those of a lost one."""
        if asyncio.get_running_loop().time() - self._renewed_at > self._lease / 2:
            await self.renew()
