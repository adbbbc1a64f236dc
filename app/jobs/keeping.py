"""Keeping what stock pools enqueued for as long as it waits: arq lets a payload expire a day after its job was due."""

from collections.abc import Iterable
from datetime import timedelta
from functools import partial

import structlog

from app.jobs.outage import RedisLine
from app.jobs.queues import Queue
from app.jobs.store import JobStore

log = structlog.stdlib.get_logger(__name__)

# A job that was claimed is kept by its claim. The others have a day, so that an hourly look at what is an hour late
# is early enough, and hardly ever finds any.
OVERDUE = timedelta(hours=1)


class Keeper:
    """Makes payloads last whose jobs nobody has claimed for an hour, as on a paused queue."""

    INTERVAL = timedelta(hours=1)

    def __init__(self, store: JobStore, line: RedisLine, queues: Iterable[Queue]) -> None:
        self._store = store
        self._line = line
        self._queues = list(queues)

    async def keep(self) -> None:
        for queue in self._queues:
            kept = await self._line.call(partial(self._store.keep_payloads, queue, OVERDUE))
            if kept:
                log.info("queue.payloads_kept", queue=queue.value, jobs=kept)
