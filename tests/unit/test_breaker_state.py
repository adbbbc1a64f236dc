"""When a breaker opens, when it lets a probe through, and when it closes."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.breaker_state import Asking, BreakerRules, BreakerState, Note, Verdict, followed

RULES = BreakerRules()
START = 1_700_000_000_000
WELL, FAILED, UNUSABLE, NOTHING = Verdict


def notes(*verdicts: Verdict, at: int = START, every: int = 0) -> list[Note]:
    return [Note(at + number * every, verdict, f"{number}") for number, verdict in enumerate(verdicts)]


def after(*news: Note | Asking, state: BreakerState | None = None) -> BreakerState:
    return followed(state or BreakerState(), news, RULES)


def opened(at: int = START) -> BreakerState:
    return after(Note(at, UNUSABLE, "bad key"))


def probed(state: BreakerState, at: int, verdict: Verdict) -> BreakerState:
    assert state.lets_probe(at)
    return after(Asking(at, "p"), Note(at, verdict, "again", "p"), state=state)


@pytest.mark.parametrize(
    ("verdicts", "opens"),
    [
        ([FAILED] * 4, False),
        ([FAILED] * 5, True),
        ([FAILED] * 4 + [WELL] + [FAILED] * 4, False),
        ([FAILED] * 4 + [NOTHING] + [FAILED], True),
        # One in four of twenty.
        ([FAILED, WELL, WELL, WELL] * 4 + [WELL] * 3 + [FAILED], True),
        ([FAILED, WELL, WELL, WELL] * 4 + [WELL] * 4 + [FAILED], False),
        ([WELL] * 16 + [FAILED] * 4, False),
        ([WELL] * 16 + [FAILED] * 6, True),
        ([WELL] * 100 + [FAILED] * 5, False),
        ([UNUSABLE], True),
        ([WELL] * 100 + [UNUSABLE], True),
        ([WELL] * 100, False),
    ],
)
def test_it_opens_when_too_many_calls_fail(verdicts: Sequence[Verdict], opens: bool) -> None:
    assert after(*notes(*verdicts)).is_open is opens


def test_what_has_left_the_window_counts_no_more() -> None:
    # Four in ten at first, of a hundred calls; half a minute later one in ten.
    calm = after(*notes(*[WELL, WELL, WELL, FAILED, WELL] * 6, every=100))
    assert not calm.is_open

    later = after(*notes(*[WELL, WELL, WELL, WELL, FAILED] * 4, at=START + 40_000), state=calm)

    assert sum(calls for _, calls, _ in later.spans) == 20
    assert not later.is_open


def test_a_few_failures_a_day_are_an_outage_too_where_nothing_else_happens() -> None:
    assert after(*notes(*[FAILED] * 5, every=3_600_000)).is_open


def test_it_says_why_it_opened_and_whether_that_needs_a_person() -> None:
    assert (opened().reason, opened().is_unusable) == ("bad key", True)

    failed = after(*notes(*[FAILED] * 5))
    assert (failed.reason, failed.is_unusable) == ("4", False)
    assert len(after(Note(START, UNUSABLE, "x" * 10_000)).reason) == 300


def test_it_is_probed_after_a_wait_that_doubles_up_to_five_minutes() -> None:
    state, at, waits = opened(), START, []
    for _ in range(9):
        waits.append((state.probe_from_ms - at) // 1000)
        assert not state.lets_probe(state.probe_from_ms - 1)
        at = state.probe_from_ms
        state = probed(state, at, FAILED)

    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_who_may_bring_other_settings_does_not_wait() -> None:
    new = Asking(START + 1, "new", is_new=True)

    asked = after(new, state=opened())
    well = after(Note(START + 2, WELL, "", "new"), state=asked)

    assert asked.probe == "new"
    assert well.lets_probe(START + 3)
    # Another one's trouble does not end with a start of ours.
    assert not after(new, state=after(*notes(*[FAILED] * 5))).probe


def test_one_call_probes_at_a_time() -> None:
    asked = after(Asking(START + 5_000, "a"), Asking(START + 5_001, "b"), state=opened())

    assert asked.probe == "a"
    assert not asked.lets_probe(START + 6_000)


def test_a_probe_that_is_not_heard_of_is_given_up() -> None:
    asked = after(Asking(START + 5_000, "dead"), state=opened())
    assert not asked.lets_probe(START + 34_999)

    again = after(Asking(START + 35_000, "b"), state=asked)

    assert again.probe == "b"
    # Whatever the first one says now, it has been given up.
    assert after(Note(START + 36_000, FAILED, "late", "dead"), state=again) is again


def test_it_closes_after_three_probes_that_succeeded_in_a_row() -> None:
    once = probed(opened(), START + 5_000, WELL)
    twice = probed(once, START + 5_001, WELL)
    thrown_back = probed(twice, START + 5_002, FAILED)
    assert thrown_back.is_open
    assert thrown_back.probe_from_ms == START + 15_002

    state = thrown_back
    for _ in range(3):
        assert state.is_open
        state = probed(state, START + 15_002, WELL)

    assert not state.is_open
    assert (state.opened_ms, state.closed_ms) == (START, START + 15_002)


def test_a_probe_that_tells_nothing_is_followed_by_another_at_once() -> None:
    state = probed(opened(), START + 5_000, NOTHING)

    assert state.lets_probe(START + 5_000)


def test_calls_that_were_under_way_when_it_opened_change_nothing() -> None:
    state = opened()

    assert after(*notes(WELL, FAILED, UNUSABLE), state=state) is state


def test_who_was_trusted_too_early_is_left_alone_for_longer() -> None:
    closed = opened()
    for number in range(3):
        closed = probed(closed, START + 5_000 + number, WELL)

    soon = after(Note(START + 6_000, UNUSABLE, "again"), state=closed)
    later = after(Note(START + 60_000, UNUSABLE, "again"), state=closed)

    assert soon.probe_from_ms == START + 6_000 + 10_000
    assert later.probe_from_ms == START + 60_000 + 5_000
    assert soon.opened_ms == START + 6_000


def test_an_outage_at_the_moment_of_the_last_ones_end_is_another_one() -> None:
    closed = replace(opened(), closed_ms=START + 9)

    again = after(Note(START + 9, UNUSABLE, "again"), state=closed)

    assert again.is_open
    assert again.opened_ms == START + 10


VERDICTS = st.sampled_from(list(Verdict))


@given(st.lists(st.tuples(st.integers(-5_000, 60_000), VERDICTS), max_size=200))
def test_whatever_happens_it_can_be_written_and_read_and_ends_some_day(steps: list[tuple[int, Verdict]]) -> None:
    state, at, numbers = BreakerState(), START, count()
    for pause, verdict in steps:
        at += pause
        probe = f"p{next(numbers)}" if state.lets_probe(at) else ""
        state = after(*[Asking(at, probe)] * bool(probe), Note(at, verdict, "why", probe), state=state)
        assert BreakerState.from_bytes(state.to_bytes()) == state
        assert len(state.spans) <= 11
        assert len(state.to_bytes()) < 1_000

    at = max(at, state.probe_from_ms, state.probe_until_ms)
    while state.is_open:
        state = probed(state, at, WELL)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"{",
        b'{"spans": 7}',
        b'{"spans": [[1]]}',
        b'{"spans": [], "opened_ms": "x"}',
        b'{"spans": [], "x": 1}',
        b'{"spans": [], "opened_ms": -1}',
        b'{"spans": [], "opened_ms": 1000000000000000000}',
        b'{"spans": [], "opened_ms": 1, "probe": "nul\\u0000"}',
    ],
)
def test_what_is_no_state_is_a_fresh_one(data: bytes) -> None:
    assert BreakerState.from_bytes(data) == BreakerState()


@pytest.mark.parametrize("strange", ["\xa0", "\u200b", "\u200d", "\xad", "\ue000", "\u2028", "\x00", "\ud83d"])
def test_whatever_a_provider_says_it_is_left_alone(strange: str) -> None:
    told = f"no{strange}such key"

    state = after(Note(START, UNUSABLE, told))
    again = after(Asking(START + 5_000, "p"), Note(START + 5_000, FAILED, told, "p"), state=state)

    for each in (state, again):
        assert BreakerState.from_bytes(each.to_bytes()) == each
        assert (each.is_open, each.reason) == (True, "no such key")


@pytest.mark.parametrize("reason", [b'"nul\\u0000"', b'"half a \\ud83d character"', b'"\\u00a0"', b"7", b"null"])
def test_a_strange_reason_costs_the_reason_alone(reason: bytes) -> None:
    state = BreakerState.from_bytes(b'{"spans": [], "opened_ms": 1, "reason": ' + reason + b"}")

    assert state == BreakerState(opened_ms=1)
