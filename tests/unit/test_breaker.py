"""A breaker in one process, without Redis."""

import asyncio
from datetime import timedelta
from random import Random

import pytest

from app.jobs.breaker import Breaker, BreakerOpen
from app.jobs.breaker_state import BreakerState, Verdict
from tests.waiting import until


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class NoSpread(Random):
    def uniform(self, a: float, b: float) -> float:
        return a


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("sendgrid", clock=clock, random=NoSpread())


async def call(breaker: Breaker, verdict: Verdict, reason: str = "401: bad key") -> bool:
    """Whether the call was let through as a probe."""
    async with breaker.passage() as passage:
        passage.note(verdict, reason)
        return passage.is_probe


async def turned_away(breaker: Breaker) -> timedelta | None:
    with pytest.raises(BreakerOpen, match="sendgrid is left alone for now: 401: bad key") as caught:
        await call(breaker, Verdict.WELL)
    return caught.value.retry_after


async def test_calls_pass_while_they_succeed(breaker: Breaker) -> None:
    for _ in range(100):
        assert not await call(breaker, Verdict.WELL)


async def test_who_can_not_be_used_is_called_once(breaker: Breaker, clock: Clock) -> None:
    await call(breaker, Verdict.UNUSABLE)

    assert await turned_away(breaker) == timedelta(seconds=5)
    clock.now += 2
    assert await turned_away(breaker) == timedelta(seconds=3)


async def test_who_comes_while_it_is_probed_comes_back_later(breaker: Breaker, clock: Clock) -> None:
    await call(breaker, Verdict.UNUSABLE)
    clock.now += 5

    async with breaker.passage() as passage:
        assert passage.is_probe
        assert await turned_away(breaker) == timedelta(seconds=5)


async def test_three_probes_one_after_another_close_it(breaker: Breaker, clock: Clock) -> None:
    await call(breaker, Verdict.UNUSABLE)
    clock.now += 5

    assert [await call(breaker, Verdict.WELL) for _ in range(4)] == [True, True, True, False]


async def test_a_probe_without_a_word_makes_way_for_another(breaker: Breaker, clock: Clock) -> None:
    await call(breaker, Verdict.UNUSABLE)
    clock.now += 5

    with pytest.raises(KeyError):
        async with breaker.passage():
            raise KeyError

    assert await call(breaker, Verdict.FAILED)
    assert await turned_away(breaker) is not None


async def test_a_call_that_is_cancelled_while_it_asks_makes_way_for_another(breaker: Breaker, clock: Clock) -> None:
    await call(breaker, Verdict.UNUSABLE)
    clock.now += 5
    asking = asyncio.create_task(call(breaker, Verdict.WELL))
    while not breaker._state.probe:
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    assert await call(breaker, Verdict.WELL)


async def test_a_success_from_before_it_opened_does_not_close_it(breaker: Breaker) -> None:
    async with breaker.passage() as early:
        await call(breaker, Verdict.UNUSABLE)
        early.note(Verdict.WELL)

    await turned_away(breaker)


async def test_those_who_wait_do_not_come_back_at_one_moment(clock: Clock) -> None:
    breaker = Breaker("sendgrid", clock=clock, random=Random(7))
    await call(breaker, Verdict.UNUSABLE)

    waits = [wait for _ in range(50) if (wait := await turned_away(breaker))]

    assert timedelta(seconds=5) <= min(waits) < max(waits) <= timedelta(seconds=6.25)
    assert len(set(waits)) > 40


async def test_whoever_wants_to_know_is_told(clock: Clock) -> None:
    told: list[tuple[str, bool, int]] = []

    def listen(name: str, state: BreakerState, now_ms: int) -> None:
        told.append((name, state.is_open, now_ms))

    breaker = Breaker("sendgrid", clock=clock, listener=listen)
    await call(breaker, Verdict.WELL)
    await call(breaker, Verdict.UNUSABLE)
    await breaker.aclose()

    assert told[0] == ("sendgrid", False, 1_700_000_000_000)
    assert told[-1] == ("sendgrid", True, 1_700_000_000_000)


async def test_of_many_at_once_one_probes(breaker: Breaker, clock: Clock) -> None:
    await call(breaker, Verdict.UNUSABLE)
    clock.now += 5
    may_end, inside = asyncio.Event(), 0

    async def work() -> None:
        nonlocal inside
        async with breaker.passage() as passage:
            inside += 1
            await may_end.wait()
            passage.note(Verdict.WELL)

    works = [asyncio.create_task(work()) for _ in range(20)]
    await until(lambda: sum(work.done() for work in works) == 19)
    await until(lambda: inside)
    may_end.set()
    ends = await asyncio.gather(*works, return_exceptions=True)

    assert [type(end) for end in ends].count(BreakerOpen) == 19
    assert inside == 1
