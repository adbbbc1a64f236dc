"""One queue in one worker process: claims its jobs and starts them, as many at once as it has slots."""

import asyncio
from collections.abc import Awaitable, Callable

from app.jobs.claimer import Claimer
from app.jobs.queues import Queue
from app.jobs.store import Claim, ClaimedJob

# A lane that nobody wakes looks for itself this often (seconds): with a server that tells of new jobs only for the
# case that it fails to, else for want of better.
POLL_LISTENING = 1.0
POLL = 0.05


class Lane:
    """`run` starts a claimed job, given the loop's time at which it was asked for.

    `renew_if_late` is awaited before each claim. `found_nothing` is called after each claim that found nothing, with
    the count of what had `happened` before it. `is_woken` says whether the server tells of new jobs.
    """

    def __init__(
        self,
        queue: Queue,
        slots: int,
        claimer: Claimer,
        run: Callable[[ClaimedJob, float], "asyncio.Task[None]"],
        *,
        renew_if_late: Callable[[], Awaitable[None]],
        happened: Callable[[], int],
        found_nothing: Callable[["Lane", int], None],
        is_woken: Callable[[], bool],
    ) -> None:
        self.queue = queue
        self.slots = slots
        self.wake = asyncio.Event()
        self._claimer = claimer
        self._run = run
        self._renew_if_late = renew_if_late
        self._happened = happened
        self._found_nothing = found_nothing
        self._is_woken = is_woken
        self._busy = 0
        self._freed = asyncio.Event()
        self._stopping = False

    @property
    def is_idle(self) -> bool:
        return self._busy == 0

    def stop(self) -> None:
        """No more claims; one that is under way is still served, so that its jobs are not left to their lease."""
        self._stopping = True
        self.wake.set()
        self._freed.set()

    async def serve(self) -> None:
        while not self._stopping:
            free = self.slots - self._busy
            if free <= 0:
                self._freed.clear()
                await self._freed.wait()
                continue
            # Half of the slots a claim, so that jobs run while the next ones are on their way.
            limit = min(free, max(1, self.slots // 2))
            await self._renew_if_late()
            self.wake.clear()
            # Before the question: what happens while it is on its way may put jobs where it found none.
            happened = self._happened()
            claim, asked_at = await self._claimer.claim(self.queue, limit)
            for job in claim.jobs:
                self._start(job, asked_at)
            if not claim.jobs:
                self._found_nothing(self, happened)
            if len(claim.jobs) < limit:
                await self._until_woken(claim)

    def _start(self, job: ClaimedJob, asked_at: float) -> None:
        self._busy += 1
        self._run(job, asked_at).add_done_callback(self._ended)

    def _ended(self, _task: "asyncio.Task[None]") -> None:
        self._busy -= 1
        self._freed.set()

    async def _until_woken(self, claim: Claim) -> None:
        wait = POLL_LISTENING if self._is_woken() else POLL
        if claim.next_due_ms is not None:
            wait = min(wait, max(claim.next_due_ms - claim.now_ms, 1) / 1000)
        try:
            async with asyncio.timeout(wait):
                await self.wake.wait()
        except TimeoutError:
            pass
