"""Keeps jobs from a provider that can't be used until a person has put that right."""

import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, ParamSpec, TypeVar

import structlog

from app.providers.failures import Misconfigured, ProviderRefused

FIRST_WAIT: Final = timedelta(seconds=5)
LONGEST_WAIT: Final = timedelta(minutes=5)

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger(__name__)


class Gate:
    """Closes when a call raises Misconfigured; after each wait one call is let through to see if it still does.

    Meanwhile the others raise the same Misconfigured at once, with the rest of the wait as `retry_after`. Waits
    double from 5 seconds to 5 minutes. One gate a provider, in each process.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._fault: Misconfigured | None = None  # while it is closed
        self._wait = FIRST_WAIT
        self._closed_at = 0.0
        self._probing = False

    async def call(self, send: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `send` returns or raises; Misconfigured without calling it while the gate is closed."""
        probe = self._admit()
        try:
            answer = await send(*args, **kwargs)
        except Misconfigured as fault:
            # Calls that were under way when it closed say nothing new.
            if probe or self._fault is None:
                self._close(fault)
            fault.retry_after = self._rest()
            raise
        except ProviderRefused:
            if probe:  # who judges a message knows our keys
                self._open()
            raise
        finally:
            if probe:
                self._probing = False
        if probe:
            self._open()
        return answer

    def _admit(self) -> bool:
        """Whether this call is the probe. Raises Misconfigured if it may not pass."""
        if self._fault is None:
            return False
        wait = FIRST_WAIT if self._probing else self._rest()
        if wait > timedelta(0):
            raise Misconfigured(*self._fault.args, retry_after=wait)
        self._probing = True
        return True

    def _rest(self) -> timedelta:
        return self._wait - timedelta(seconds=self._clock() - self._closed_at)

    def _close(self, fault: Misconfigured) -> None:
        if self._fault is None:
            self._wait = FIRST_WAIT
            log.error("provider.misconfigured", provider=fault.provider, code=fault.code, reason=fault.message)
        else:
            self._wait = min(2 * self._wait, LONGEST_WAIT)
        self._closed_at = self._clock()
        self._fault = Misconfigured(*fault.args)  # a copy: the raised one's traceback holds on to a message

    def _open(self) -> None:
        if self._fault is not None:
            log.info("provider.usable_again", provider=self._fault.provider)
            self._fault = None
