"""The relay: hands what is committed in the outbox to Redis, again where Redis lost it, until it has ended."""

import asyncio
from datetime import timedelta

import structlog

from app.db.engine import Database
from app.db.listening import Listener
from app.db.outbox import CHANNEL
from app.jobs.ending import run_together
from app.jobs.pool import JobPool
from app.outbox.handover import Handover
from app.outbox.store import MOST_ROWS, OutboxStore

log = structlog.stdlib.get_logger(__name__)

# How often a relay looks for itself: where PostgreSQL tells of new rows, only for the case that it fails to.
POLL = timedelta(seconds=1)
POLL_LISTENING = timedelta(seconds=5)
END_EVERY = timedelta(seconds=1)
# A Redis that was emptied has a new epoch, which each poll sees; this finds what it lost without a word.
SWEEP_EVERY = timedelta(minutes=1)


class OutboxRelay:
    """A companion of every worker. `lease` is how long workers keep their jobs.

    A job that Redis lost is enqueued to start after that time: where it was running, its holder lives and renews,
    and it must not run beside.
    """

    name = "outbox relay"

    def __init__(self, database: Database, url: str, pool: JobPool, *, lease: timedelta) -> None:
        self._database = database
        self._listener = Listener(url, CHANNEL, database)
        self._store = OutboxStore(database)
        self._handover = Handover(pool)
        self._lease = lease
        # One batch at a time: who catches up waits for the one that is under way.
        self._relaying = asyncio.Lock()
        self._swept_epoch: str | None = None

    async def run(self) -> None:
        await run_together(
            outbox_listener=self._listener.run(),
            outbox_relaying=self._relay_for_ever(),
            outbox_ends=self._end_for_ever(),
        )

    async def catch_up(self) -> None:
        """Returns when all that is due by now, and not another relay's, is on its queue."""
        while await self.relay():
            pass

    async def relay(self) -> int:
        """Hands over one batch of rows and returns how many there were."""
        async with self._relaying, self._database.session() as session:
            rows = await self._store.next_rows(session)
            if rows:
                # Asked for before the jobs are sent: Redis may be emptied at any moment after it, and shows it by this.
                epoch = await self._handover.epoch()
                await self._handover.enqueue(rows)
                await self._store.set_relayed(session, rows, epoch)
                if secret := [row for row in rows if self._handover.is_secret(row)]:
                    log.error("outbox.secret_arguments", tasks=sorted({row.task for row in secret}), rows=len(secret))
                    await self._store.forget_arguments(session, secret)
        return len(rows)

    async def sweep(self) -> int:
        """Enqueues again what was handed to Redis, has not ended and is not known there; returns how many rows."""
        epoch = await self._handover.epoch()
        count, after = 0, 0
        while page := await self._store.unfinished(epoch, after):
            lost = [row_id for row_id, is_lost in page if is_lost]
            lost += await self._handover.unknown([row_id for row_id, is_lost in page if not is_lost])
            if lost:
                count += await self._relay_again(lost)
            after = page[-1][0]
        self._swept_epoch = epoch
        if count:
            log.warning("outbox.relayed_again", jobs=count)
        return count

    async def _relay_again(self, ids: list[int]) -> int:
        async with self._database.session() as session:
            # With the rows locked nobody can record an end meanwhile: what ended is in Redis' set of those, and
            # enqueueing it changes nothing.
            rows = await self._store.locked(session, ids)
            epoch = await self._handover.epoch()
            await self._handover.enqueue(rows, delay=self._lease)
            await self._store.set_relayed(session, rows, epoch)
        return len(rows)

    async def end_some(self) -> int:
        """Records which jobs have ended, a batch of them; returns how many.

        Those that failed are not among them: they end when history has them, see app/outbox/reruns.py.
        """
        ids = await self._handover.ended()
        if ids:
            await self._store.end(ids)
            # Only now: until it is on record, nothing else keeps an ended job from being enqueued again.
            await self._handover.forget_ended(ids)
        return len(ids)

    async def _relay_for_ever(self) -> None:
        while True:
            self._listener.heard.clear()
            while await self.relay():
                pass
            is_new = await self._handover.epoch() != self._swept_epoch
            if is_new or await self._handover.takes_turn("sweep", SWEEP_EVERY):
                await self.sweep()
            poll = POLL_LISTENING if self._listener.is_listening else POLL
            try:
                async with asyncio.timeout(poll.total_seconds()):
                    await self._listener.heard.wait()
            except TimeoutError:
                pass

    async def _end_for_ever(self) -> None:
        while True:
            if await self._handover.takes_turn("ends", END_EVERY):
                # The last few wait for the next turn: a commit for each of them would take PostgreSQL from the others.
                while await self.end_some() == MOST_ROWS:
                    pass
            await asyncio.sleep(END_EVERY.total_seconds())
