"""Claiming for a worker: every claim under a token of its own, none of them lost with an answer."""

import asyncio
from functools import partial
from itertools import count

from app.jobs.outage import LONGEST_WAIT, REDIS_DOWN, RedisLine
from app.jobs.queues import Queue
from app.jobs.store import Claim, JobStore


class Claimer:
    """Claims under tokens that begin with the worker's name; `lease` in seconds."""

    def __init__(self, store: JobStore, line: RedisLine, worker: str, lease: float) -> None:
        self._store = store
        self._line = line
        self._worker = worker
        self._lease = lease
        self._numbers = count(1)
        # Claims whose answer never came, and which may have been made all the same.
        self._unanswered: list[tuple[Queue, str]] = []
        # The server's clock (ms) less the event loop's, once known.
        self._offset_ms: float | None = None
        # Until when (the loop's time) those who lived through the server's start may still be on their way back to it.
        self._awaits_others_until = 0.0

    async def open(self) -> None:
        """Asks how long the server has been up: one that has just started was away for everybody."""
        seconds = await self._line.call(self._store.uptime_seconds)
        started_at = asyncio.get_running_loop().time() - seconds
        # A start ends all connections: whoever lives asks again, and renews once a third of a lease.
        self._awaits_others_until = started_at + 2 * LONGEST_WAIT + self._lease / 3

    def new_token(self) -> str:
        return f"{self._worker}:{next(self._numbers)}"

    async def claim(self, queue: Queue, limit: int) -> tuple[Claim, float]:
        """At most `limit` due jobs, and when they were asked for (the loop's time). Waits for Redis if it is away."""
        loop = asyncio.get_running_loop()
        asked_at, token = 0.0, ""

        async def ask() -> Claim:
            nonlocal asked_at, token
            asked_at, token = loop.time(), self.new_token()
            try:
                return await self._store.claim(queue, token, limit, self._silent_since_ms(asked_at))
            except (*REDIS_DOWN, asyncio.CancelledError):
                self._unanswered.append((queue, token))
                raise

        while True:
            claim = await self._line.call(ask)
            self._offset_ms = claim.now_ms - asked_at * 1000
            is_late = loop.time() - asked_at >= self._lease
            if claim.jobs and is_late:
                # We or Redis stood still meanwhile, and others may have the jobs by now.
                self._unanswered.append((queue, token))
            try:
                await self.release_unanswered()
            except asyncio.CancelledError:
                # Nobody will start them.
                self._unanswered.append((queue, token))
                raise
            if not (claim.jobs and is_late):
                return claim, asked_at

    async def release_unanswered(self) -> None:
        """Gives back what was claimed without our hearing of it, so that it need not wait for its lease."""
        while self._unanswered:
            # Taken out first: every lane comes by here.
            unanswered, self._unanswered = self._unanswered, []
            try:
                for queue in {queue for queue, _ in unanswered}:
                    tokens = [token for its_queue, token in unanswered if its_queue is queue]
                    await self._line.call(partial(self._store.release, queue, tokens))
            except asyncio.CancelledError:
                self._unanswered += unanswered
                raise

    def _silent_since_ms(self, now: float) -> int | None:
        """Since when (ms, the server's clock) holders of leases may not have been heard that live all the same."""
        line = self._line
        back_at = now if line.back_at is None else line.back_at
        # Whoever lives has renewed within the last third of its lease: a shorter outage did nobody harm.
        if line.lost_at is not None and back_at - line.lost_at >= self._lease / 3 and now - back_at < self._lease:
            return self._server_ms(line.lost_at)
        if now < self._awaits_others_until:
            return 0
        # A server that stands still may take this claim up when the leases of all who wait for it have run out. It has
        # stood still since the oldest question that it has not answered, of which this claim may be the first.
        unanswered_since = now if line.unanswered_since is None else line.unanswered_since
        return None if self._offset_ms is None else self._server_ms(unanswered_since)

    def _server_ms(self, at: float) -> int:
        return 0 if self._offset_ms is None else int(at * 1000 + self._offset_ms)
