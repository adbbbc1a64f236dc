"""A word in the log of calls that were turned away, however many they are."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Literal, NamedTuple

import structlog

from admin_api.access import owner_of

log = structlog.stdlib.get_logger(__name__)

A_MINUTE = timedelta(minutes=1)
# Of more, between two words, only the number is told.
MOST_LINES = 1_000

Why = Literal["wrong token", "too many wrong tokens", "only reads"]


class _Turned(NamedTuple):
    address: str
    why: Why
    caller: str | None


class TurnedAway:
    """Warns of them with one line a minute for each address and reason, which has their number and no token.

    `caller` is the name of a token that is valid and not enough.
    """

    def __init__(self, *, every: timedelta = A_MINUTE, most_lines: int = MOST_LINES) -> None:
        self._every = every
        self._most_lines = most_lines
        self._calls: Counter[_Turned] = Counter()
        self._others = 0
        self._timer: asyncio.TimerHandle | None = None

    def note(self, address: str, why: Why, caller: str | None = None) -> None:
        """One call."""
        turned = _Turned(owner_of(address), why, caller)
        if turned in self._calls or len(self._calls) < self._most_lines:
            self._calls[turned] += 1
        else:
            self._others += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._every.total_seconds(), self.tell)

    def tell(self) -> None:
        """Writes down what was noted since the last time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for turned, calls in self._calls.items():
            who = {} if turned.caller is None else {"caller": turned.caller}
            log.warning("admin_api.turned_away", address=turned.address, why=turned.why, calls=calls, **who)
        if self._others:
            log.warning("admin_api.turned_away", address="others", calls=self._others)
        self._calls.clear()
        self._others = 0
