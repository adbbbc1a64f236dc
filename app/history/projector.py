"""The projector: folds the stream of events into history, in one worker at a time."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.engine import Database, DatabaseUnavailable, is_passing
from app.db.leases import Lease
from app.history.fold import Fold, JobChange
from app.history.position import Gap, GapReason, Position, gap_before, start_of
from app.history.store import advance, earlier_jobs, position, write_changes, write_gap
from app.jobs.events import BEGINNING, Event, EventStream
from app.jobs.outage import is_outage
from app.jobs.task import TaskRegistry

log = structlog.stdlib.get_logger(__name__)

NAME = "history"
# Entries read at once; each tells of up to a hundred jobs.
MOST_EVENTS = 100
# Folded in one turn of the worker's loop, and written by one statement: more would keep its jobs waiting.
MOST_JOBS_A_TURN = 100
MOST_JOBS_A_STATEMENT = 500
# What fits a worker's memory beside its jobs.
MOST_BYTES = 4 << 20
# A job that takes less than this is written once instead of three times (seconds).
GATHER = 0.25
# A turn of waiting for news; the lease is looked after in between (seconds).
WAIT = 2.0
# Who watches the stream live has so long to read it (ms).
LEFT_FOR_VIEWERS_MS = 5_000
FIRST_WAIT = 0.1
LONGEST_WAIT = 5.0
GIVE_UP_WITHIN = 2.0

# Is called with the ids of jobs that failed, in the transaction that puts this on record.
FailedHook = Callable[[AsyncSession, Sequence[str]], Awaitable[None]]


class Projector:
    """Puts on record what the stream tells, each event once: how far it read is written in the same transaction.

    `lease` elects it. `on_failed` may write what follows from a failure that is on record for good.
    """

    name = NAME

    def __init__(
        self,
        database: Database,
        stream: EventStream,
        tasks: TaskRegistry,
        lease: Lease,
        on_failed: FailedHook | None = None,
        *,
        most_events: int = MOST_EVENTS,
    ) -> None:
        self._database = database
        self._stream = stream
        self._tasks = tasks
        self._lease = lease
        self._on_failed = on_failed
        self._most_events = most_events
        self._is_waiting = False

    async def run(self) -> None:
        """Until cancelled. Waits where PostgreSQL or Redis is away; raises what waiting does not help against."""
        wait = FIRST_WAIT
        try:
            while True:
                try:
                    if await self._lease.take():
                        wait = FIRST_WAIT
                        await self._project_while_elected()
                    await asyncio.sleep(self._lease.length.total_seconds() / 3)
                except (DatabaseUnavailable, DBAPIError, RedisError, OSError) as error:
                    if not _will_pass(error):
                        raise
                    self._note_outage(error)
                    await asyncio.sleep(wait)
                    wait = min(2 * wait, LONGEST_WAIT)
        finally:
            # Another one goes on at once, and need not wait for the lease.
            with contextlib.suppress(DatabaseUnavailable, DBAPIError, TimeoutError):
                async with asyncio.timeout(GIVE_UP_WITHIN):
                    await self._lease.give_up()

    async def catch_up(self) -> None:
        """Returns when all that has happened by now is on record, whoever is elected.

        Raises DatabaseUnavailable, or what Redis raises.
        """
        at, is_behind = await self._position(), True
        while is_behind:
            step = await self._step(at)
            at, is_behind = (await self._position(), True) if step is None else step

    def _note_outage(self, error: Exception) -> None:
        if not self._is_waiting:
            self._is_waiting = True
            log.warning("history.waits", error=type(error).__name__)

    def _note_success(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            log.info("history.goes_on")

    async def _project_while_elected(self) -> None:
        """Returns when another has the lease."""
        clock = asyncio.get_running_loop().time
        at, elected_at = await self._position(), clock()
        while True:
            if clock() - elected_at > self._lease.length.total_seconds() / 3:
                if not await self._lease.take():
                    return
                elected_at = clock()
            step = await self._step(at)
            self._note_success()
            if step is None:
                # Another one was faster, however that may be.
                return
            at, is_behind = step
            if not is_behind:
                await self._stream.wait(at.last_event, WAIT)
                await asyncio.sleep(GATHER)

    async def _position(self) -> Position | None:
        async with self._database.session() as session:
            return await position(session, NAME)

    async def _step(self, at: Position | None) -> tuple[Position, bool] | None:
        """Reads and writes once. Where it is then, and whether there is more to read at once; None where another one
        has written meanwhile."""
        after = BEGINNING if at is None else at.last_event
        reading = await self._stream.read(after, most_events=self._most_events, most_bytes=MOST_BYTES)
        if at is None:
            start = start_of(reading)
            return (start, True) if await self._write_position(None, start) else None
        if (missing := gap_before(reading, at)) is not None:
            there, gap = missing
            log.error("history.gap", after_event=gap.after_event, entries=gap.entries, reason=gap.reason.value)
            return (there, True) if await self._write_position(at, there, gap) else None
        if not reading.events:
            return at, False
        written = await self._write(at, reading.events)
        if written is None:
            return None
        milliseconds = int(written.last_event.partition("-")[0]) - LEFT_FOR_VIEWERS_MS
        await self._stream.trim(f"{max(0, milliseconds)}-0")
        return written, reading.has_more

    async def _write(self, at: Position, events: Sequence[Event]) -> Position | None:
        """Where it is then; None where another one has written meanwhile."""
        try:
            return await self._write_together(at, events)
        except DBAPIError as error:
            if _will_pass(error):
                raise
            if len(events) == 1:
                # It would be refused for ever, and everything behind it would wait.
                reason = type(error.orig).__name__
                # Without a traceback, which may repeat arguments.
                log.error("history.event_refused", event_id=events[0].id, error=reason)  # noqa: TRY400
                there = at.after(1, events[0].id)
                gap = Gap(at.last_event, 1, GapReason.UNSTORABLE)
                return there if await self._write_position(at, there, gap) else None
        there = at
        for event in events:
            step = await self._write(there, [event])
            if step is None:
                return None
            there = step
        return there

    async def _write_together(self, at: Position, events: Sequence[Event]) -> Position | None:
        there = at.after(len(events), events[-1].id)
        fold = Fold(self._tasks)
        for event in events:
            fold.add(event)
            await asyncio.sleep(0)
        async with self._database.session() as session:
            if not await advance(session, NAME, at, there):
                return None
            earlier = await earlier_jobs(session, fold.needed(), fold.retried())
            changes: list[JobChange] = []
            failed: list[str] = []
            for count, change in enumerate(fold.changes(earlier), start=1):
                changes.append(change)
                if change.row.status == "failed":
                    failed.append(change.row.id)
                if count % MOST_JOBS_A_STATEMENT == 0:
                    # Not all at the end: the garbage collector would go through what waits, again and again.
                    await write_changes(session, changes)
                    changes = []
                elif count % MOST_JOBS_A_TURN == 0:
                    await asyncio.sleep(0)
            await write_changes(session, changes)
            if failed and self._on_failed is not None:
                await self._on_failed(session, failed)
        return there

    async def _write_position(self, at: Position | None, there: Position, gap: Gap | None = None) -> bool:
        async with self._database.session() as session:
            if not await advance(session, NAME, at, there):
                return False
            if gap is not None:
                await write_gap(session, gap)
        return True


def _will_pass(error: Exception) -> bool:
    if isinstance(error, DBAPIError):
        return is_passing(error)
    return isinstance(error, DatabaseUnavailable) or is_outage(error)
