"""A worker's part in a breaker that all workers share: whether to call, and what became of the calls."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random
from typing import Final
from uuid import uuid4

from redis.exceptions import ResponseError

from app.errors import Unavailable
from app.jobs.breaker_state import Asking, BreakerRules, BreakerState, Note, Verdict, followed
from app.jobs.breaker_store import BreakerStore
from app.jobs.outage import REDIS_DOWN

# Seconds. What the others found is asked for in the background when it is older than GOOD_FOR, and waited for only
# when it is older than STALE.
GOOD_FOR: Final = 0.25
STALE: Final = 2.0
# Nobody waits longer for Redis: without it a worker goes by what it knows.
REDIS_WITHIN: Final = 0.5
# Of the news that Redis could not be told, so many are kept for it.
MOST_UNTOLD: Final = 1_000
# How often two workers may get in each other's way before one leaves its news for the next time.
MOST_SWAPS: Final = 10
# The calls that waited come back one after another, within this part of the wait.
SPREAD: Final = 0.25

_BEGAN = time.time() - time.monotonic()

Listener = Callable[[str, BreakerState, int], None]
"""Is told the name, the state and the time (ms) whenever this worker has looked."""


def steady_time() -> float:
    """Unix time that goes on evenly even when somebody sets the clock."""
    return _BEGAN + time.monotonic()


class BreakerOpen(Unavailable):
    """Whoever was to be called fails too often, and is left alone for now."""

    def __init__(self, name: str, reason: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(name, reason, retry_after=retry_after)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name} is left alone for now: {self.reason}"


class Breaker:
    """Lets calls through while they succeed, and one at a time to see if they do again.

    `store` None, or a Redis that is away, leaves this process with what it finds itself. `clock` is in Unix seconds.
    """

    def __init__(
        self,
        name: str,
        store: BreakerStore | None = None,
        rules: BreakerRules | None = None,
        *,
        clock: Callable[[], float] = steady_time,
        listener: Listener | None = None,
        random: Random | None = None,
    ) -> None:
        self.name = name
        self._store = store
        self._rules = rules or BreakerRules()
        self._clock = clock
        self._listener = listener
        self._random = random or Random()  # noqa: S311 -- spreads calls
        # What Redis had when it was last asked, and that with what happened here since.
        self._there = b""
        self._state = BreakerState()
        self._untold: deque[Note | Asking] = deque(maxlen=MOST_UNTOLD)
        # How far Redis' clock is ahead of ours (ms).
        self._ahead_ms = 0
        self._looked_at: float | None = None
        # A process that has just started may have been given other settings.
        self._is_new = True
        self._is_redis_away = False
        self._sharing: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """As far as this process knows."""
        return self._state.is_open

    def rest(self) -> timedelta:
        """How long until it is worth coming back; not everybody at the same moment."""
        state, now = self._state, self._now_ms()
        wait = state.probe_from_ms - now
        if wait <= 0:
            # Somebody is trying it.
            wait = self._rules.first_wait_ms
        return timedelta(milliseconds=wait * self._random.uniform(1, 1 + SPREAD))

    @asynccontextmanager
    async def passage(self) -> AsyncIterator["Passage"]:
        """A block in which to call. Raises BreakerOpen where nobody should."""
        probe = await self._admit()
        passage = Passage(self, probe)
        try:
            yield passage
        finally:
            if probe:
                # Whatever became of it, somebody else may try.
                passage.note(Verdict.NOTHING)

    def note(self, verdict: Verdict, reason: str, probe: str) -> None:
        """Counts a call that has ended."""
        self._follow(Note(self._now_ms(), verdict, reason, probe))
        # That all is well can wait for the next look.
        if verdict in (Verdict.FAILED, Verdict.UNUSABLE) or probe:
            self._share_soon()

    async def aclose(self) -> None:
        """Returns when Redis has been told what happened here, or does not answer."""
        if self._untold or (self._sharing is not None and not self._sharing.done()):
            await self._share_soon()

    async def _admit(self) -> str:
        """The word of a probe, '' for any other call. Raises BreakerOpen."""
        await self._look()
        state, now_ms = self._state, self._now_ms()
        is_new, self._is_new = self._is_new, False
        if not state.is_open:
            return ""
        if state.lets_probe(now_ms, is_new=is_new):
            probe = uuid4().hex
            self._follow(Asking(now_ms, probe, is_new))
            try:
                await asyncio.shield(self._share_soon())
            except asyncio.CancelledError:
                self.note(Verdict.NOTHING, "", probe)
                raise
            state = self._state
            if state.probe == probe:
                return probe
            # Another process was first, and may even have an answer.
            if not state.is_open:
                return ""
        raise BreakerOpen(self.name, state.reason, retry_after=self.rest())

    async def _look(self) -> None:
        now = self._clock()
        age = STALE if self._looked_at is None else now - self._looked_at
        if age < GOOD_FOR:
            return
        looking = self._share_soon()
        if age >= STALE and not self._is_redis_away:
            await asyncio.shield(looking)

    def _follow(self, news: Note | Asking) -> None:
        before, self._state = self._state, self._state.after(news, self._rules)
        if self._state is not before:
            self._untold.append(news)

    def _share_soon(self) -> "asyncio.Task[None]":
        if self._sharing is None or self._sharing.done():
            self._sharing = asyncio.create_task(self._share(), name=f"breaker {self.name}")
        return self._sharing

    async def _share(self) -> None:
        """Tells Redis what happened here, and learns what happened elsewhere."""
        try:
            if self._store is None:
                self._untold.clear()
            else:
                async with asyncio.timeout(REDIS_WITHIN):
                    await self._agree(self._store)
            self._is_redis_away = False
        except (*REDIS_DOWN, ResponseError):
            # The worker itself says so, and it is not why mail should stop.
            self._is_redis_away = True
        self._looked_at = self._clock()
        if self._listener is not None:
            self._listener(self.name, self._state, self._now_ms())

    async def _agree(self, store: BreakerStore) -> None:
        for _ in range(MOST_SWAPS):
            told = len(self._untold)
            state = self._state.to_bytes() if told else b""
            now_ms, is_done, there = await store.swap(self.name, self._there, state)
            self._ahead_ms = now_ms - round(self._clock() * 1000)
            if is_done:
                for _ in range(min(told, len(self._untold))):
                    self._untold.popleft()
            elif there != self._there:
                # Somebody else was here. What happened while Redis was away is not what happens now.
                recent = [news for news in self._untold if news.at_ms > now_ms - self._rules.window_ms]
                self._state = followed(BreakerState.from_bytes(there), recent, self._rules)
            self._there = there
            if not self._untold:
                return

    def _now_ms(self) -> int:
        return round(self._clock() * 1000) + self._ahead_ms


class Passage:
    """A call that a breaker let through. `is_probe` where it shows if the breaker must stay open."""

    def __init__(self, breaker: Breaker, probe: str) -> None:
        self.is_probe = bool(probe)
        self._breaker = breaker
        self._probe = probe

    def note(self, verdict: Verdict, reason: str = "") -> None:
        """What became of the call. Of a probe only the first word counts."""
        self._breaker.note(verdict, reason, self._probe)
