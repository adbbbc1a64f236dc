"""Keeping the stream of events within its memory while nobody puts it on record."""

import asyncio
from datetime import timedelta

import structlog

from app.jobs.events import EventStream

log = structlog.stdlib.get_logger(__name__)

# Workers write some megabytes a second at most.
EVERY = timedelta(seconds=1)


class EventBound:
    """A companion of every worker; of all that look at the same second, one does."""

    name = "event bound"

    def __init__(self, stream: EventStream, most_bytes: int) -> None:
        self._stream = stream
        self._most_bytes = most_bytes

    async def run(self) -> None:
        """Until cancelled. Raises what Redis raises."""
        while True:
            if entries := await self._stream.bound(self._most_bytes, EVERY):
                # History finds out by itself, and says what it lacks; this says why.
                log.warning("events.cut_off", entries=entries, most_bytes=self._most_bytes)
            await asyncio.sleep(EVERY.total_seconds())
