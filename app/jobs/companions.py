"""What runs beside a worker's jobs for as long as it serves: relays, projectors, schedules."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, runtime_checkable

import structlog

from app.errors import Unavailable
from app.jobs.outage import REDIS_DOWN

log = structlog.stdlib.get_logger(__name__)

# Between two starts of one that fails (seconds).
FIRST_WAIT = 0.1
LONGEST_WAIT = 5.0
# One that has run for so long (seconds) is well again.
SETTLED = 10.0


class Companion(Protocol):
    """Runs until it is cancelled, or returns where it has nothing to do. It may raise: it is started again."""

    @property
    def name(self) -> str: ...

    async def run(self) -> None: ...


@runtime_checkable
class CatchesUp(Companion, Protocol):
    """One that a burst worker waits for: jobs may come from it."""

    async def catch_up(self) -> None:
        """Returns when all that waited when it was called is done."""


async def keep_running(companion: Companion) -> None:
    """Runs it, and starts it again after a growing wait where it fails. Says so once, until it is well again."""
    await _patiently(companion.name, companion.run)


async def catch_up(companions: Sequence[Companion]) -> None:
    """Returns when each that can has caught up, however long what it needs is away."""
    for companion in companions:
        if isinstance(companion, CatchesUp):
            await _patiently(companion.name, companion.catch_up)


async def _patiently(name: str, work: Callable[[], Awaitable[None]]) -> None:
    loop = asyncio.get_running_loop()
    wait = FIRST_WAIT
    is_failing = False
    while True:
        began = loop.time()
        try:
            await work()
            return
        except Exception as error:  # noqa: BLE001 -- whatever it is, jobs and worker go on
            if loop.time() - began >= SETTLED:
                wait, is_failing = FIRST_WAIT, False
            if not is_failing:
                is_failing = True
                _tell(name, _first_cause(error))
        await asyncio.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT)


def _tell(name: str, error: BaseException) -> None:
    if isinstance(error, (Unavailable, *REDIS_DOWN)):
        log.warning("companion.waits", companion=name, error=type(error).__name__)
    else:
        log.error("companion.failed", companion=name, exc_info=error)


def _first_cause(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
