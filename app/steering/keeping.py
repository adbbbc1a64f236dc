"""Bringing together what operators decided while a server was away, or before Redis lost its data."""

import asyncio

import structlog

from app.jobs.epoch import current_epoch
from app.jobs.pool import JobPool
from app.steering import audit, pauses
from app.steering.audit import AuditTrail
from app.steering.pauses import QueuePauses

log = structlog.stdlib.get_logger(__name__)

# For so long (seconds) a queue whose pause Redis forgot may be claimed from.
LOOK_EVERY = 1.0


class SteeringKeeper:
    """A companion of every worker: pauses survive an emptied Redis, and nothing decided in an outage is forgotten.

    Where PostgreSQL is away it raises, to be started again: workers go on by what Redis says.
    """

    name = "steering"

    def __init__(self, pool: JobPool, queues: QueuePauses, trail: AuditTrail) -> None:
        self._pool = pool
        self._queues = queues
        self._trail = trail
        self._settled_epoch: str | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY)

    async def look(self) -> None:
        """Does what there is to do. Raises DatabaseUnavailable, and what Redis raises."""
        epoch = await current_epoch(self._pool)
        async with self._pool.pipeline(transaction=False) as pipe:
            pipe.exists(pauses.UNRECORDED)
            pipe.exists(audit.UNRECORDED)
            is_undecided, is_untold = await pipe.execute()
        if is_undecided or epoch != self._settled_epoch:
            await self._queues.settle()
            self._settled_epoch = epoch
        if is_untold and (count := await self._trail.catch_up()):
            log.info("audit.caught_up", records=count)
