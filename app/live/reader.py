"""One watcher: what waits to be sent, and what it was too slow for."""

import asyncio
from collections.abc import AsyncIterator

from fastapi.sse import format_sse_event

from app.live import rendering
from app.live.rendering import Chunk, Wanted

# What waits for one reader (bytes); two hundred that read nothing then take some hundred megabytes at most.
MOST_WAITING = 512 * 1024
# How soon a browser that was cut off comes back (ms).
COME_BACK_AFTER_MS = 1_000


class Reader:
    """Takes whatever it is offered at once, and hands it on at its own pace.

    Beyond `most_waiting` bytes what is offered is dropped until the reader has caught up; then it is told how much.
    """

    def __init__(self, wanted: Wanted, since: str | None = None, *, most_waiting: int = MOST_WAITING) -> None:
        self.wanted = wanted
        # The last entry that it knows of; None for one that begins now.
        self.since = since
        # Ticks since it was last sent anything.
        self.quiet_ticks = 0
        self.is_placed = asyncio.Event()
        self._most_waiting = most_waiting
        self._waiting: list[bytes] = [format_sse_event(retry=COME_BACK_AFTER_MS)]
        self._size = 0
        self._dropped: Chunk | None = None
        self._has_ended = False
        self._something = asyncio.Event()
        self._something.set()

    @property
    def is_idle(self) -> bool:
        """Nothing waits to be sent."""
        return not self._waiting and self._dropped is None

    def offer(self, chunk: Chunk) -> None:
        self.quiet_ticks = 0
        is_full = self._size > 0 and self._size + len(chunk.raw) > self._most_waiting
        if self._dropped is not None or is_full:
            before = self._dropped
            changes, after = (before.changes, before.after) if before else (0, chunk.after)
            self._dropped = Chunk(b"", changes + chunk.changes, after, chunk.until)
        else:
            self.say(chunk.raw)

    def say(self, raw: bytes) -> None:
        """Something short beside the changes; not for one that has fallen behind."""
        if self._dropped is None:
            self._waiting.append(raw)
            self._size += len(raw)
            self._something.set()

    def end(self) -> None:
        """Its stream ends, whatever still waits."""
        self._has_ended = True
        self.is_placed.set()
        self._something.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        """What it was offered, until it has ended."""
        while True:
            await self._something.wait()
            if self._has_ended:
                return
            yield self._take()

    def _take(self) -> bytes:
        if self._waiting:
            raw = b"".join(self._waiting)
            self._waiting.clear()
            self._size = 0
        else:
            raw = b""
        if self._dropped is not None:
            lost, self._dropped = self._dropped, None
            raw += rendering.missed(lost.changes, lost.after, lost.until, "this reader was too slow", resume=lost.until)
        self._something.clear()
        return raw
