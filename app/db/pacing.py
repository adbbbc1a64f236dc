"""Transactions one after the other, with rests between them that leave the server to whoever else writes."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.engine import Database

# Of the time that a transaction took, for which nothing is done after it: while nobody else writes, and while somebody
# does. A seventh of the time is ours then: who gets nothing done in it loses 14 %.
REST = 0.02
REST_FOR_OTHERS = 6.0
# Who waits for a row that others have (an item of a cart) holds what it has already, and may be what those wait for:
# far below deadlock_timeout (1 s), it is always us who give way.
_MANNERS = text("SELECT set_config('lock_timeout', '100ms', true), set_config('synchronous_commit', :commit, true)")
# What a crash of the server takes back can be done again, so that nobody has to wait for the disk. But others who
# commit wait for what we have written, too: then the disk's time is part of ours, to be rested for as well.
_ALONE, _BESIDE_OTHERS = "off", "local"
# Transactions are numbered when they first write, those of all databases of a server in one line, as they fill one
# log. Our own number is null where we have not written. Anybody may ask, other than for what others are doing.
_NUMBERS = text("""
    SELECT own, greatest(own, CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint) - 1) AS newest
    FROM (SELECT CAST(CAST(pg_current_xact_id_if_assigned() AS text) AS bigint) AS own) AS this
""")


class PacedTransactions:
    """Transactions each of which comes after a rest: a short one, or a long one while others write.

    Whoever was given a number since our last transaction counts, but not who was given one before and sits idle.
    `worked` is how many seconds all of them took, without the rests.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float] = time.monotonic,
        rest: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._clock = clock
        self._rest = rest
        self._owed = 0.0
        self._others_write = False
        # The newest number at the end of our last transaction; None after one that failed: it may have had one.
        self._newest: int | None = None
        self.worked = 0.0

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """The next one: committed when the block ends, rolled back when it raises. While it rests it holds nothing."""
        if self._owed:
            await self._rest(self._owed)
        before, self._newest = self._newest, None
        began = self._clock()
        try:
            async with self._database.session() as session:
                await session.execute(_MANNERS, {"commit": _BESIDE_OTHERS if self._others_write else _ALONE})
                yield session
                own, newest = (await session.execute(_NUMBERS)).one()
            if before is None:
                before = newest if own is None else own - 1
            self._others_write = newest > before + (own is not None)
            self._newest = newest
        finally:
            took = self._clock() - began
            self.worked += took
            self._owed = took * (REST_FOR_OTHERS if self._others_write else REST)
