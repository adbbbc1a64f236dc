"""One reader of the stream a process, for all who watch: whoever is slow holds up neither it nor the others."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import structlog
from redis.exceptions import ResponseError

from app.history.position import Position, gap_before, number_of
from app.jobs.events import BEGINNING, Event, EventStream
from app.jobs.outage import REDIS_DOWN, is_outage
from app.jobs.task import TaskRegistry
from app.live import rendering
from app.live.changes import Changes, merged
from app.live.reader import Reader
from app.live.rendering import Chunk, Tick, Wanted

log = structlog.stdlib.get_logger(__name__)

# Seconds: a page that changes more often than four times a second is not read any better.
TICK = 0.25
# The stream keeps five seconds for those who watch: one whose id is older could not go on from it elsewhere.
HEARTBEAT_TICKS = 10
# For how long the stream is read on when nobody watches: somebody was cut off, or turns a page.
LINGER_TICKS = 40
# What one may resume from, in changes of a tick each.
MOST_KEPT = 5_000
# As the stream keeps for those who watch (ms).
BACKLOG_MS = 5_000
# At once, and at most before it is handed on.
MOST_EVENTS = 200
MOST_BYTES = 4 << 20
MOST_READINGS = 10
TOO_LONG_AGO = "the stream does not reach back that far"
# A burst of more jobs that nobody has told of lacks the names of their tasks.
MOST_LOOKED_UP = 1_000

Pause = Callable[[float], Awaitable[None]]


class LiveEvents:
    """Reads the stream while somebody watches. `pause` waits between ticks."""

    def __init__(self, stream: EventStream, tasks: TaskRegistry, *, pause: Pause = asyncio.sleep) -> None:
        self._stream = stream
        self._tasks = tasks
        self._pause = pause
        self._readers: set[Reader] = set()
        self._new: list[Reader] = []
        self._reading: asyncio.Task[None] | None = None
        self._is_closed = False
        self._forget()

    def _forget(self) -> None:
        self._changes = Changes(self._tasks)
        self._at: Position | None = None
        self._is_away = False
        # What was handed on of late, and the entry after which all of it is there.
        self._kept: deque[Tick] = deque()
        self._kept_changes = 0
        self._kept_after = BEGINNING

    @asynccontextmanager
    async def watching(self, reader: Reader) -> AsyncIterator[Reader]:
        """The reader gets everything that happens from now on, or after the entry that it knows of, until the end."""
        self._new.append(reader)
        if self._is_closed:
            reader.end()
        elif self._reading is None or self._reading.done():
            self._forget()
            self._reading = asyncio.create_task(self._read_on(), name="live events")
        try:
            await reader.is_placed.wait()
            yield reader
        finally:
            self._readers.discard(reader)
            with suppress(ValueError):
                self._new.remove(reader)

    def end_all(self) -> None:
        """Ends every reader's stream, and those of all who come: the process is about to stop."""
        self._is_closed = True
        for reader in [*self._readers, *self._new]:
            reader.end()

    async def aclose(self) -> None:
        self.end_all()
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading

    async def _read_on(self) -> None:
        idle_ticks = 0
        try:
            while self._readers or self._new or idle_ticks < LINGER_TICKS:
                idle_ticks = 0 if self._readers or self._new else idle_ticks + 1
                await self._tick()
                await self._pause(TICK)
        except Exception:
            log.exception("live.failed")
        finally:
            # Those who are left come back, and find a reading that begins anew.
            for reader in [*self._readers, *self._new]:
                reader.end()

    async def _tick(self) -> None:
        try:
            tick, gap = await self._read()
        except (*REDIS_DOWN, ResponseError) as error:
            if not is_outage(error):
                raise
            self._note_outage(error)
            return
        if self._is_away:
            self._is_away = False
            log.info("live.goes_on")
            self._say(rendering.outage(is_over=True))
        if gap is not None:
            self._hand_on_gap(gap)
        self._place_new()
        if tick is not None:
            self._hand_on(tick)
        self._keep_alive()

    async def _read(self) -> tuple[Tick | None, tuple[str, str, str] | None]:
        """What has changed, and where something is missing before it: after and until which entry, and why."""
        if self._at is None:
            await self._begin()
            return None, None
        at, events, gap = self._at, list[Event](), None
        for _ in range(MOST_READINGS):
            reading = await self._stream.read(at.last_event, most_events=MOST_EVENTS, most_bytes=MOST_BYTES)
            if (missing := gap_before(reading, at)) is not None:
                # Where it begins is told, and not what of it each reader wanted.
                there, lost = missing
                first = reading.events[0].id if reading.events else reading.last_id
                gap = (lost.after_event, max(first, lost.after_event, key=number_of), lost.reason.value)
                if there.last_event != at.last_event:
                    # What it begins with is elsewhere: it is read in the next turn.
                    self._at = there
                    return await self._tick_of(events, at.last_event), gap
                at = there
            if reading.events:
                events += reading.events
                at = at.after(len(reading.events), reading.events[-1].id)
            if not reading.has_more:
                break
        after, self._at = self._at.last_event, at
        return await self._tick_of(events, after), gap

    async def _begin(self) -> None:
        """Goes to the end of the stream, and keeps what was there of late for those who resume."""
        end = await self._stream.read(BEGINNING, most_events=0, most_bytes=MOST_BYTES)
        after = start = f"{max(0, number_of(end.last_id)[0] - BACKLOG_MS)}-0"
        events: list[Event] = []
        while True:
            reading = await self._stream.read(after, most_events=MOST_EVENTS, most_bytes=MOST_BYTES)
            events += reading.events
            after = events[-1].id if events else start
            if not reading.has_more:
                break
        has_older = reading.kept > len(events)
        is_whole = reading.added == reading.kept or has_older
        self._kept_after = start if is_whole or not events else events[0].id
        if (tick := await self._tick_of(events, self._kept_after)) is not None:
            self._keep(tick)
        self._at = Position(reading.generation, max(after, end.last_id, key=number_of), reading.added)

    async def _tick_of(self, events: list[Event], after: str) -> Tick | None:
        for event in events:
            self._changes.add(event)
        if unknown := self._changes.unknown()[:MOST_LOOKED_UP]:
            self._changes.learn(await self._stream.payloads(unknown))
        changes = self._changes.take()
        return Tick(after, events[-1].id, changes) if changes else None

    def _note_outage(self, error: Exception) -> None:
        newcomers = [reader for reader in self._new if not reader.is_placed.is_set()]
        if not self._is_away:
            self._is_away = True
            log.warning("live.waits", error=type(error).__name__)
            self._say(rendering.outage(is_over=False))
        else:
            for reader in newcomers:
                reader.say(rendering.outage(is_over=False))
        for reader in newcomers:
            reader.is_placed.set()

    def _say(self, raw: bytes) -> None:
        for reader in [*self._readers, *self._new]:
            reader.say(raw)

    def _hand_on_gap(self, gap: tuple[str, str, str]) -> None:
        after, until, reason = gap
        for reader in self._readers:
            reader.say(rendering.missed(None, after, until, reason))
        # Nobody can resume from before it.
        self._kept.clear()
        self._kept_changes = 0
        self._kept_after = until

    def _place_new(self) -> None:
        """Those who know an entry first get what was handed on after it."""
        for reader in self._new:
            if reader.since is not None:
                self._catch_up(reader, reader.since)
            self._readers.add(reader)
            reader.is_placed.set()
        self._new.clear()

    def _catch_up(self, reader: Reader, since: str) -> None:
        if number_of(since) < number_of(self._kept_after):
            reader.say(rendering.missed(None, since, self._kept_after, TOO_LONG_AGO, self._kept_after))
        later = [tick for tick in self._kept if number_of(tick.until) > number_of(since)]
        if later:
            whole = Tick(later[0].after, later[-1].until, merged([tick.changes for tick in later]))
            if (chunk := whole.chunk(reader.wanted)) is not None:
                reader.offer(chunk)

    def _hand_on(self, tick: Tick) -> None:
        chunks: dict[Wanted, Chunk | None] = {}
        for reader in self._readers:
            if reader.wanted not in chunks:
                chunks[reader.wanted] = tick.chunk(reader.wanted)
            if (chunk := chunks[reader.wanted]) is not None:
                reader.offer(chunk)
        self._keep(tick)

    def _keep(self, tick: Tick) -> None:
        self._kept.append(tick)
        self._kept_changes += len(tick.changes)
        while self._kept_changes > MOST_KEPT and len(self._kept) > 1:
            oldest = self._kept.popleft()
            self._kept_changes -= len(oldest.changes)
            self._kept_after = oldest.until

    def _keep_alive(self) -> None:
        if self._at is None:
            return
        beat = rendering.heartbeat(self._at.last_event)
        for reader in self._readers:
            reader.quiet_ticks += 1
            if reader.quiet_ticks >= HEARTBEAT_TICKS and reader.is_idle:
                reader.quiet_ticks = 0
                reader.say(beat)
