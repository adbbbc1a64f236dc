"""The supervisor: as many places as it is to have processes, and what signals mean to it."""

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import structlog

from app.supervisor.child import Child
from app.supervisor.place import WRONG_CALL, Place, RefusedToStart

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorOptions:
    """`command` starts the child in a place, counted from 0; it gets the descriptor of its line as one more word.

    `patience` is how long a child may take to end after SIGTERM; `ready_within` how long a replacement may take
    to serve.
    """

    command: Callable[[int], Sequence[str]]
    processes: int
    patience: timedelta
    ready_within: timedelta = timedelta(minutes=1)


class Supervisor:
    """SIGTERM and SIGINT drain all children, a second one makes them hurry; SIGHUP replaces one after another."""

    def __init__(self, options: SupervisorOptions) -> None:
        self._options = options
        self._children: set[Child] = set()
        self._stopping = asyncio.Event()
        self._renewal = asyncio.Event()

    async def run(self) -> int:
        """Serves until told to stop, and returns the exit code.

        0 when every child has drained, 1 when one has not, 2 when children refuse to start.
        """
        options = self._options
        log.info("supervisor.started", processes=options.processes)
        refused = False
        with self._handled_signals():
            try:
                await self._keep_places()
            except* RefusedToStart:
                refused = True
            finally:
                # Also where the system has no room for another child.
                drained = await self._drain()
        log.info("supervisor.stopped")
        return WRONG_CALL if refused else int(not drained)

    def stop(self) -> None:
        """Asks all children to drain; from the second time on, to hand back what they work on."""
        if not self._stopping.is_set():
            self._stopping.set()
            return
        for child in self._children:
            child.hurry()

    def renew(self) -> None:
        """Asks for a new child in every place, one place after another."""
        self._renewal.set()

    async def _keep_places(self) -> None:
        places = [
            await Place.open(partial(self._start_child, place), self._options.ready_within)
            for place in range(self._options.processes)
        ]
        async with asyncio.TaskGroup() as group:
            loops = [group.create_task(place.keep(), name="place") for place in places]
            loops.append(group.create_task(self._renew_when_asked(places), name="renewal"))
            await self._stopping.wait()
            for loop in loops:
                loop.cancel()

    async def _start_child(self, place: int) -> Child:
        child = await Child.start(self._options.command(place), self._options.patience)
        # Those that ended are of no more interest.
        self._children = {other for other in self._children if not other.ended.is_set()} | {child}
        return child

    async def _renew_when_asked(self, places: Sequence[Place]) -> None:
        while True:
            await self._renewal.wait()
            self._renewal.clear()
            log.info("supervisor.renewing")
            for place in places:
                await place.renew()
            log.info("supervisor.renewed")

    async def _drain(self) -> bool:
        """Ends all children; whether each of them ended well."""
        children = [child for child in self._children if not child.ended.is_set()]
        log.info("supervisor.draining", children=len(children))
        for child in children:
            child.drain()
        for child in children:
            await child.ended.wait()
        # One that was still starting has nothing to drain, and ends by the signal.
        return all(child.exit_code in {0, -signal.SIGTERM} for child in children)

    @contextmanager
    def _handled_signals(self) -> Iterator[None]:
        handlers = {
            signal.SIGTERM: self.stop,
            signal.SIGINT: self.stop,
            signal.SIGHUP: self.renew,
        }
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # started by nohup
            del handlers[signal.SIGHUP]
        loop = asyncio.get_running_loop()
        for sign, handler in handlers.items():
            loop.add_signal_handler(sign, handler)
        try:
            yield
        finally:
            for sign in handlers:
                loop.remove_signal_handler(sign)
