"""When something that fails too often is left alone, and when it is trusted again."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

# The window slides by this part of it.
SPANS = 10
# Epoch milliseconds that every calendar knows.
MOST_MS = 100_000_000_000_000
# A sentence is for whoever looks; a state is read several times a second.
MAX_REASON = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """Times are in milliseconds.

    A breaker opens when so many per cent of the calls of the window failed. A rate of fewer than `fewest_calls` tells
    nothing: then it opens after `in_a_row` failures without a success between them. It stays open for
    `first_wait_ms`, and twice as long after each probe that fails, up to `longest_wait_ms`. It closes when as many
    probes as `proofs` have succeeded, one after another. One that is not heard of for `probe_ms` is given up.
    """

    window_ms: int = 30_000
    fewest_calls: int = 20
    error_percent: float = 25
    in_a_row: int = 5
    first_wait_ms: int = 5_000
    longest_wait_ms: int = 300_000
    proofs: int = 3
    probe_ms: int = 30_000


class Verdict(StrEnum):
    """What a call tells of whoever was called."""

    WELL = "well"
    FAILED = "failed"
    UNUSABLE = "unusable"  # no call can succeed until a person has put something right
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Note:
    """That a call has ended at that time (ms); `probe` is the word of the one that it was."""

    at_ms: int
    verdict: Verdict
    reason: str = ""
    probe: str = ""


@dataclass(frozen=True, slots=True)
class Asking:
    """That a call wants to be the probe; `is_new` where who asks may know what was put right since."""

    at_ms: int
    probe: str
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class BreakerState:
    """Times are epoch milliseconds, 0 for never; `opened_ms` names an outage, and is 0 where there never was one.

    `is_unusable` where it needs a person. `spans` are parts of the window, oldest first: number of the part, calls,
    failures. `proved` counts the probes that have succeeded.
    """

    opened_ms: int = 0
    closed_ms: int = 0
    reason: str = ""
    is_unusable: bool = False
    wait_ms: int = 0
    probe_from_ms: int = 0
    probe: str = ""
    probe_until_ms: int = 0
    proved: int = 0
    in_a_row: int = 0
    spans: tuple[tuple[int, int, int], ...] = ()

    @property
    def is_open(self) -> bool:
        return self.opened_ms > self.closed_ms

    def lets_probe(self, now_ms: int, *, is_new: bool = False) -> bool:
        """Whether it is open, and time to see if it still has to be.

        Nobody waits who may bring the settings that were wrong.
        """
        is_time = now_ms >= self.probe_from_ms or (is_new and self.is_unusable)
        return self.is_open and is_time and (not self.probe or now_ms >= self.probe_until_ms)

    def after(self, news: Note | Asking, rules: BreakerRules) -> "BreakerState":
        """The state that follows. What changes nothing gives the same object."""
        if isinstance(news, Asking):
            if not self.lets_probe(news.at_ms, is_new=news.is_new):
                return self
            return replace(self, probe=news.probe, probe_until_ms=news.at_ms + rules.probe_ms)
        if self.is_open:
            # Calls that were under way when it opened say nothing new; nor does a probe that was given up.
            return self._probed(news, rules) if news.probe and news.probe == self.probe else self
        if news.verdict is Verdict.UNUSABLE:
            return self._opened(news, rules)
        if news.verdict is Verdict.NOTHING:
            return self
        return self._counted(news, rules)

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "BreakerState":
        """What `to_bytes` wrote; a fresh state where that is not what it is. A strange reason is left out."""
        try:
            fields: dict[str, Any] = json.loads(data)
            fields["spans"] = tuple((int(span), int(calls), int(failed)) for span, calls, failed in fields["spans"])
            state = cls(**fields)
        except (ValueError, TypeError, KeyError):
            return cls()
        del fields["spans"]
        reason, probe = fields.pop("reason", ""), fields.pop("probe", "")
        is_ours = (isinstance(probe, str) and probe.isprintable()) and all(
            isinstance(number, int) and 0 <= number < MOST_MS for number in fields.values()
        )
        if not is_ours:
            return cls()
        # It is for people alone: nothing else that is known of an outage depends on it.
        is_readable = isinstance(reason, str) and reason.isprintable()
        return state if is_readable else replace(state, reason="")

    def _counted(self, note: Note, rules: BreakerRules) -> "BreakerState":
        failed = note.verdict is Verdict.FAILED
        spans = _with(self.spans, note.at_ms, failed, rules)
        counted = replace(self, spans=spans, in_a_row=self.in_a_row + 1 if failed else 0)
        if not failed:
            return counted
        calls, failures = sum(span[1] for span in spans), sum(span[2] for span in spans)
        if calls < rules.fewest_calls:
            is_too_much = counted.in_a_row >= rules.in_a_row
        else:
            is_too_much = 100 * failures >= rules.error_percent * calls
        return self._opened(note, rules) if is_too_much else counted

    def _opened(self, note: Note, rules: BreakerRules) -> "BreakerState":
        # Who was trusted again too early is left alone for longer.
        is_again = self.closed_ms and note.at_ms - self.closed_ms < self.wait_ms
        wait = min(2 * self.wait_ms, rules.longest_wait_ms) if is_again else rules.first_wait_ms
        # Clocks may stand still for a moment, but no two outages are one.
        opened = max(note.at_ms, self.closed_ms + 1)
        return BreakerState(
            opened_ms=opened,
            closed_ms=self.closed_ms,
            reason=_written(note.reason),
            is_unusable=note.verdict is Verdict.UNUSABLE,
            wait_ms=wait,
            probe_from_ms=note.at_ms + wait,
        )

    def _probed(self, note: Note, rules: BreakerRules) -> "BreakerState":
        if note.verdict is Verdict.NOTHING:
            return replace(self, probe="")
        if note.verdict is not Verdict.WELL:
            wait = min(2 * self.wait_ms, rules.longest_wait_ms)
            return replace(
                self,
                probe="",
                proved=0,
                wait_ms=wait,
                probe_from_ms=note.at_ms + wait,
                reason=_written(note.reason),
                is_unusable=note.verdict is Verdict.UNUSABLE,
            )
        if self.proved + 1 < rules.proofs:
            return replace(self, probe="", proved=self.proved + 1, probe_from_ms=min(self.probe_from_ms, note.at_ms))
        return BreakerState(
            opened_ms=self.opened_ms,
            closed_ms=max(note.at_ms, self.opened_ms),
            reason=self.reason,
            wait_ms=self.wait_ms,
        )


def followed(state: BreakerState, news: Iterable[Note | Asking], rules: BreakerRules) -> BreakerState:
    """The state after all of that."""
    for each in news:
        state = state.after(each, rules)
    return state


def _written(reason: str) -> str:
    """As it can be read again, whatever characters a provider uses."""
    return "".join(char if char.isprintable() else " " for char in reason[:MAX_REASON])


def _with(
    spans: tuple[tuple[int, int, int], ...], at_ms: int, failed: bool, rules: BreakerRules
) -> tuple[tuple[int, int, int], ...]:
    """The window with one more call in it, and without what has left it."""
    now = at_ms * SPANS // rules.window_ms
    # What another process told with a clock that was ahead counts as now.
    counts = {span: (calls, failures) for span, calls, failures in spans if span > now - SPANS}
    latest = max([now, *counts])
    calls, failures = counts.get(latest, (0, 0))
    counts[latest] = (calls + 1, failures + failed)
    return tuple((span, *counts[span]) for span in sorted(counts))
