"""Group commit: the attempts that end at about the same time are recorded in one round trip."""

import asyncio

import structlog

from app.jobs.outage import RedisLine
from app.jobs.store import MOST_JOBS_A_SCRIPT, Finish, JobStore

log = structlog.stdlib.get_logger(__name__)


class Committer:
    """Collects finishes while the last batch is on its way, and sends them together."""

    def __init__(self, store: JobStore, line: RedisLine) -> None:
        self._store = store
        self._line = line
        self._waiting: list[Finish] = []
        self._in_flight: list[Finish] = []
        self.batches = 0
        self._something = asyncio.Event()
        self._nothing = asyncio.Event()
        self._nothing.set()

    def add(self, finish: Finish) -> None:
        self._waiting.append(finish)
        self._something.set()
        self._nothing.clear()

    def pending(self) -> list[Finish]:
        """What has ended and is not recorded yet; its leases have to be renewed until it is."""
        return self._in_flight + self._waiting

    async def run(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            while self._waiting:
                self._in_flight = self._waiting[:MOST_JOBS_A_SCRIPT]
                del self._waiting[:MOST_JOBS_A_SCRIPT]
                recorded = await self._line.call(lambda: self._store.finish(self._in_flight))
                for finish, ours in zip(self._in_flight, recorded, strict=True):
                    if not ours:
                        log.warning("job.lease_lost", job_id=finish.job.id, op=finish.op)
                self._in_flight = []
                self.batches += 1
            self._nothing.set()

    async def drained(self) -> None:
        """Returns when everything that was added is recorded."""
        await self._nothing.wait()
