"""The brake while charging: planning is over long before the first thousand charges have told how they went."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

import structlog

from app.db.engine import Database
from app.db.subscription_runs import SubscriptionRun
from app.deliveries import runs
from app.deliveries.brake import BrakeBounds, Usual, usual_before, why_brake
from app.deliveries.runs import Announcement

log = structlog.stdlib.get_logger(__name__)

# How long what was seen of a run is good for (seconds): some hundred charges begin meanwhile.
LOOKS_EVERY = 1.0


@dataclass(slots=True)
class _Watched:
    usual: Usual | None = None
    why: str | None = None
    looked_at: float = float("-inf")
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)


class RunWatch:
    """Keeps an eye on the runs whose deliveries this process charges. `clock` tells seconds.

    `at_brake` writes what follows in the transaction in which a run is paused here.
    """

    def __init__(
        self,
        database: Database,
        bounds: BrakeBounds,
        *,
        at_brake: Announcement | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._bounds = bounds
        self._at_brake = at_brake
        self._clock = clock
        self._watched: dict[date, _Watched] = {}

    async def why_paused(self, day: date, *, may_pause: bool = True) -> str | None:
        """Why nothing of that date is to be charged now: what paused its run, or pauses it now by its outcomes.

        It is not paused here where it `may_pause` no more: when its day is over there is nothing left to hold back.
        As of a second ago at most. None as well for deliveries that no run has planned. Raises DatabaseUnavailable.
        """
        watched = self._watched.setdefault(day, _Watched())
        if self._clock() - watched.looked_at >= LOOKS_EVERY:
            # One looks for all who come at the same time.
            async with watched.looking:
                if self._clock() - watched.looked_at >= LOOKS_EVERY:
                    watched.why = await self._look(day, watched, may_pause=may_pause)
                    watched.looked_at = self._clock()
        return watched.why

    async def _look(self, day: date, watched: _Watched, *, may_pause: bool) -> str | None:
        async with self._database.session() as session:
            run = await session.get(SubscriptionRun, day)
            if run is None:
                return None
            if run.paused_at is not None:
                return run.paused_because
            if not may_pause:
                return None
            if watched.usual is None:
                watched.usual = await usual_before(session, day)
            reason = await why_brake(session, run, watched.usual, self._bounds)
        if reason is None:
            return None
        paused = await runs.pause(self._database, day, reason, self._at_brake)
        log.error("subscriptions.run_paused", date=day.isoformat(), reason=paused.paused_because)
        return paused.paused_because
