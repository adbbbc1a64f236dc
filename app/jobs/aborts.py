"""Ending jobs that somebody asked to abort, waiting or running; stock `Job.abort()` asks in the same way."""

import asyncio
from functools import partial

import structlog

from app.jobs.claimer import Claimer
from app.jobs.outage import RedisLine
from app.jobs.running import Stop
from app.jobs.running_jobs import RunningJobs
from app.jobs.store import JobStore

log = structlog.stdlib.get_logger(__name__)

LOOK_EVERY = 1.0


class Aborts:
    """Looks whenever `wake` is set, and once a second in any case.

    A job that is waiting is claimed and started here: its attempt finds that it is to be aborted.
    """

    def __init__(self, store: JobStore, line: RedisLine, claimer: Claimer, running: RunningJobs) -> None:
        self.wake = asyncio.Event()
        self._store = store
        self._line = line
        self._claimer = claimer
        self._running = running

    async def serve(self) -> None:
        while True:
            self.wake.clear()
            for job_id, asked_ms in await self._line.call(self._store.aborts):
                await self._line.call(partial(self._abort, job_id, asked_ms))
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await self.wake.wait()
            except TimeoutError:
                pass

    async def _abort(self, job_id: str, asked_ms: int) -> None:
        """Ends it where it runs here or nowhere; its end removes the request. One that hits nothing is stale."""
        here = self._running.get(job_id)
        if here is not None:
            if not here.has_begun:
                # It is not known yet whether this job is meant; the next look will tell.
                return
            if here.enqueued_ms <= asked_ms:
                here.end(Stop.ABORTED)
            else:
                await self._store.forget_abort(job_id)
            return
        now = asyncio.get_running_loop().time()
        job = await self._store.take(job_id, self._claimer.new_token())
        if job is not None:
            self._running.start(job, now)
        elif not await self._store.is_claimed(job_id):
            await self._store.forget_abort(job_id)
