"""A worker's part in the limits that all workers share: asking for its jobs, and giving turns to whoever waits."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from functools import partial
from itertools import count

from app.jobs.failures import OverLimit
from app.jobs.limit_store import Entry, Exit, LimitStore
from app.jobs.limits import Limit
from app.jobs.outage import RedisLine
from app.jobs.store import MOST_JOBS_A_SCRIPT, ClaimedJob

# How often turns are given out while jobs wait (seconds); they are given half a second ahead.
PACE_EVERY = 0.2
# How often a worker looks whether any wait: one whose own job begins to wait knows without looking.
LOOK_EVERY = 1.0


class Limiter:
    """Knows the limits that were declared, and those that jobs have asked for since.

    `found_nothing` is called whenever nobody waits, with the count of what had `happened` before it was asked, which
    is every so many seconds.
    """

    def __init__(
        self,
        store: LimitStore,
        line: RedisLine,
        worker: str,
        limits: Collection[Limit],
        *,
        happened: Callable[[], int],
        found_nothing: Callable[["Limiter", int], None],
        look_every: float = LOOK_EVERY,
    ) -> None:
        self._store = store
        self._line = line
        self._worker = worker
        self._limits = {limit.name: limit for limit in limits}
        self._happened = happened
        self._found_nothing = found_nothing
        self._look_every = look_every
        self._numbers = count(1)
        self._asking: list[tuple[Entry, asyncio.Future[bool]]] = []
        self._leaving: list[Exit] = []
        # Those that count as within; where only the rate is limited, nobody does.
        self._within: set[Entry] = set()
        self._something = asyncio.Event()
        self._nothing = asyncio.Event()
        self._nothing.set()
        self._refused = asyncio.Event()

    @asynccontextmanager
    async def within(self, job: ClaimedJob, limit: Limit) -> AsyncIterator[None]:
        """A block within the limit. Raises OverLimit where the job has to wait.

        An OverLimit that leaves the block was raised by another limit within: the turn has done nothing yet, and is
        kept for the job until it comes back.
        """
        if not limit:
            yield
            return
        self._limits[limit.name] = limit
        entry = Entry(limit, job.id, f"{job.id} {self._worker}:{next(self._numbers)}")
        if not await self._may_enter(entry):
            self._refused.set()
            raise OverLimit(limit)
        if limit.in_flight is not None:
            self._within.add(entry)
        keeps_turn = False
        try:
            yield
        except OverLimit:
            keeps_turn = True
            raise
        finally:
            self._within.discard(entry)
            if keeps_turn or limit.in_flight is not None:
                self._leave(Exit(entry, keeps_turn))

    def forgo(self, job: ClaimedJob, limit: Limit) -> None:
        """The job does without the turn that it may have, which is somebody else's then."""
        if limit:
            self._leave(Exit(Entry(limit, job.id, "")))

    async def aclose(self) -> None:
        await self._store.aclose()

    async def renew(self) -> None:
        """Keeps the permits of the jobs that are within from lapsing."""
        if self._within:
            await self._line.call(lambda: self._store.hold(list(self._within)))

    async def drained(self) -> None:
        """Returns when everything that was taken is given back."""
        await self._nothing.wait()

    async def serve(self) -> None:
        """Takes the jobs' questions and returns to Redis, those of one turn of the loop together."""
        while True:
            await self._something.wait()
            self._something.clear()
            while self._asking or self._leaving:
                asking, leaving = self._asking[:MOST_JOBS_A_SCRIPT], self._leaving[:MOST_JOBS_A_SCRIPT]
                del self._asking[:MOST_JOBS_A_SCRIPT], self._leaving[:MOST_JOBS_A_SCRIPT]
                if leaving:
                    await self._line.call(partial(self._store.leave, leaving))
                if asking:
                    await self._ask(asking)
            self._nothing.set()

    async def pace(self) -> None:
        """Gives out turns for as long as jobs wait; every worker does, whichever queues it serves."""
        active: set[str] = set()
        while True:
            happened = self._happened()
            # With turns given to the last who waited, a limit is not waited for any more; but they have not come yet.
            names = active | await self._line.call(self._store.waited_for)
            active = set()
            for limit in [self._limits[name] for name in names if name in self._limits]:
                if await self._line.call(partial(self._store.pace, limit)):
                    active.add(limit.name)
            if not active:
                self._found_nothing(self, happened)
            await self._until_due(is_waited_for=bool(active))

    async def _until_due(self, *, is_waited_for: bool) -> None:
        if not is_waited_for:
            try:
                async with asyncio.timeout(self._look_every):
                    await self._refused.wait()
            except TimeoutError:
                return
        # A job that was refused a moment ago is not in line yet.
        self._refused.clear()
        await asyncio.sleep(PACE_EVERY)

    async def _may_enter(self, entry: Entry) -> bool:
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asking.append((entry, answer))
        self._something.set()
        self._nothing.clear()
        try:
            return await answer
        except asyncio.CancelledError:
            # It may have been let in; what was not is not harmed by leaving.
            self._leave(Exit(entry))
            raise

    def _leave(self, exit_: Exit) -> None:
        self._leaving.append(exit_)
        self._something.set()
        self._nothing.clear()

    async def _ask(self, asking: list[tuple[Entry, "asyncio.Future[bool]"]]) -> None:
        # Whoever was cancelled before does not want to enter any more.
        wanted = [(entry, answer) for entry, answer in asking if not answer.done()]
        if not wanted:
            return
        entries = [entry for entry, _ in wanted]
        admitted = await self._line.call(partial(self._store.admit, entries))
        for (_, answer), may_enter in zip(wanted, admitted, strict=True):
            if not answer.done():
                answer.set_result(may_enter)
