"""Names the job that blocks the event loop, while it does."""

import asyncio
import sys
import threading
import time
import traceback
from types import FrameType

import structlog

log = structlog.stdlib.get_logger(__name__)


class Watchdog:
    """A thread that notices when the event loop has not turned for `patience` seconds.

    What blocks the loop holds up every other job and, in the end, the renewal of their leases; so `patience` is well
    below those.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._turned_at = 0.0
        self._told = False
        self._ended = threading.Event()

    async def run(self) -> None:
        """Watches the running loop until cancelled."""
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=self._watch, args=(loop, threading.get_ident()), name="watchdog", daemon=True)
        self._turned_at = time.monotonic()
        thread.start()
        try:
            while True:
                now = time.monotonic()
                if self._told:
                    log.info("loop.free_again", seconds=round(now - self._turned_at, 1))
                    self._told = False
                self._turned_at = now
                await asyncio.sleep(self._patience / 4)
        finally:
            self._ended.set()

    def _watch(self, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        looked_at = time.monotonic()
        while not self._ended.wait(self._patience / 4):
            now = time.monotonic()
            since_last_look, looked_at = now - looked_at, now
            blocked = now - self._turned_at
            # This thread was late as well: the whole process stood still (SIGSTOP, a paused machine), and no job is to
            # blame.
            if blocked < self._patience or self._told or since_last_look > self._patience / 2:
                continue
            frame = sys._current_frames().get(thread)  # noqa: SLF001 -- documented, and the only way
            task = asyncio.current_task(loop)
            # The name that its lane gave it: "job" and the id.
            name = task.get_name() if task is not None else "no task"
            log.error("loop.blocked", by=name, seconds=round(blocked, 1), stack=_stack(frame))
            self._told = True


def _stack(frame: FrameType | None) -> str:
    return "" if frame is None else "".join(traceback.format_stack(frame, limit=20))
