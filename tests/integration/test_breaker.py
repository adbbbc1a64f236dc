"""Breakers that workers share in Redis, with the clock as an argument."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import redis.asyncio
from redis.asyncio import ConnectionPool

from app.jobs.breaker import GOOD_FOR, STALE, Breaker, BreakerOpen
from app.jobs.breaker_state import BreakerRules, BreakerState, Verdict
from app.jobs.breaker_store import BREAKERS, BreakerStore, breakers
from app.jobs.wire import Wire

START = 1_700_000_000


@dataclass
class Workers:
    """Worker processes, each with a connection and a breaker of its own; and the time that all of them have."""

    url: str
    now: float = START
    stores: list[BreakerStore] = field(default_factory=list)
    made: list[Breaker] = field(default_factory=list)

    def breaker(self, url: str | None = None, *, ahead: float = 0, rules: BreakerRules | None = None) -> Breaker:
        store = BreakerStore(ConnectionPool.from_url(url or self.url), lambda: round(self.now * 1000))
        self.stores.append(store)
        breaker = Breaker("sendgrid", store, rules, clock=lambda: self.now + ahead)
        self.made.append(breaker)
        return breaker

    async def state(self) -> BreakerState:
        wire = Wire(ConnectionPool.from_url(self.url))
        try:
            return (await breakers(wire))["sendgrid"]
        finally:
            await wire.aclose()


@pytest.fixture
async def workers(redis_url: str) -> AsyncIterator[Workers]:
    workers = Workers(redis_url)
    yield workers
    for breaker in workers.made:
        await breaker.aclose()
    for store in workers.stores:
        await store.aclose()


async def call(breaker: Breaker, verdict: Verdict) -> bool:
    async with breaker.passage() as passage:
        passage.note(verdict, "503: away")
        return passage.is_probe


async def test_a_worker_that_starts_tries_at_once_whether_the_settings_are_right_now(workers: Workers) -> None:
    first, second = workers.breaker(), workers.breaker()
    await call(first, Verdict.UNUSABLE)
    await first.aclose()

    assert await call(second, Verdict.UNUSABLE)
    with pytest.raises(BreakerOpen):
        await call(second, Verdict.WELL)
    restarted = workers.breaker()

    assert [await call(restarted, Verdict.WELL) for _ in range(4)] == [True, True, True, False]


async def test_what_one_worker_finds_all_know(workers: Workers) -> None:
    first, second = workers.breaker(), workers.breaker()
    await call(second, Verdict.WELL)
    await call(first, Verdict.UNUSABLE)
    await first.aclose()
    workers.now += STALE

    with pytest.raises(BreakerOpen, match="503: away"):
        await call(second, Verdict.WELL)


async def test_the_failures_of_all_workers_count_together(workers: Workers) -> None:
    made = [workers.breaker() for _ in range(5)]

    for breaker in made:
        await call(breaker, Verdict.FAILED)
    for breaker in made:
        await breaker.aclose()

    state = await workers.state()
    assert (state.is_open, state.in_a_row) == (True, 0)


async def test_calls_of_many_workers_at_once_are_all_counted(workers: Workers) -> None:
    rules = BreakerRules(fewest_calls=1_000)
    made = [workers.breaker(rules=rules) for _ in range(6)]

    for _ in range(10):
        await asyncio.gather(*(call(breaker, Verdict.WELL) for breaker in made for _ in range(5)))
        workers.now += GOOD_FOR
    await asyncio.gather(*(breaker.aclose() for breaker in made))

    assert sum(calls for _, calls, _ in (await workers.state()).spans) == 300


async def test_of_all_workers_one_probes(workers: Workers) -> None:
    made = [workers.breaker() for _ in range(4)]
    await call(made[0], Verdict.UNUSABLE)
    await made[0].aclose()
    workers.now += 5
    admitted = asyncio.Event()
    may_end = asyncio.Event()

    async def probe(breaker: Breaker) -> None:
        async with breaker.passage() as passage:
            admitted.set()
            await may_end.wait()
            passage.note(Verdict.WELL)

    works = [asyncio.create_task(probe(breaker)) for breaker in made]
    await admitted.wait()
    done, waiting = await asyncio.wait(works, timeout=None, return_when=asyncio.FIRST_COMPLETED)
    while len(done) < 3:
        done, waiting = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0)
    may_end.set()
    ends = await asyncio.gather(*works, return_exceptions=True)

    assert len(waiting) == 1
    assert [type(end) for end in ends].count(BreakerOpen) == 3


async def test_a_worker_that_died_while_it_probed_is_replaced(workers: Workers) -> None:
    first, second = workers.breaker(), workers.breaker()
    await call(first, Verdict.UNUSABLE)
    workers.now += 5
    never_left = first.passage()
    await never_left.__aenter__()

    with pytest.raises(BreakerOpen):
        await call(second, Verdict.WELL)
    workers.now += 30

    assert await call(second, Verdict.WELL)


async def test_it_closes_for_all_workers(workers: Workers) -> None:
    first, second = workers.breaker(), workers.breaker()
    await call(first, Verdict.UNUSABLE)
    workers.now += 5

    assert [await call(first, Verdict.WELL) for _ in range(3)] == [True] * 3
    await first.aclose()

    assert not await call(second, Verdict.WELL)
    assert not (await workers.state()).is_open


async def test_clocks_of_machines_may_differ(workers: Workers) -> None:
    ahead, behind = workers.breaker(ahead=3_600), workers.breaker(ahead=-3_600)
    for breaker in (ahead, behind):
        await call(breaker, Verdict.WELL)
    await call(ahead, Verdict.UNUSABLE)
    await ahead.aclose()
    workers.now += STALE

    with pytest.raises(BreakerOpen):
        await call(behind, Verdict.WELL)
    workers.now += 5

    assert await call(behind, Verdict.WELL)
    assert (await workers.state()).opened_ms == START * 1000


async def test_without_redis_each_worker_goes_by_what_it_finds(workers: Workers) -> None:
    alone, other = workers.breaker("redis://127.0.0.1:9/0"), workers.breaker("redis://127.0.0.1:9/0")

    for _ in range(5):
        await call(alone, Verdict.FAILED)

    with pytest.raises(BreakerOpen):
        await call(alone, Verdict.WELL)
    assert not await call(other, Verdict.WELL)
    workers.now += 5
    assert [await call(alone, Verdict.WELL) for _ in range(4)] == [True, True, True, False]


async def test_a_redis_that_says_nothing_holds_nobody_up(workers: Workers) -> None:
    silent = asyncio.Event()

    async def listen(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    breaker = workers.breaker(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")

    async with asyncio.timeout(30):
        for _ in range(1_000):
            await call(breaker, Verdict.WELL)
            workers.now += STALE

    await breaker.aclose()
    silent.set()
    server.close()


async def test_a_redis_that_was_emptied_is_a_fresh_start(workers: Workers) -> None:
    breaker = workers.breaker()
    await call(breaker, Verdict.UNUSABLE)
    await breaker.aclose()
    async with redis.asyncio.Redis.from_url(workers.url) as client:
        await client.flushall()
    workers.now += STALE

    assert not await call(breaker, Verdict.WELL)


@pytest.mark.parametrize("foreign", [b"", b"\xff\x00", b'{"opened_ms": "x"}', b"[]"])
async def test_what_a_foreign_hand_wrote_is_a_fresh_start(workers: Workers, foreign: bytes) -> None:
    async with redis.asyncio.Redis.from_url(workers.url) as client:
        await client.hset(BREAKERS, "sendgrid", foreign)
    breaker = workers.breaker()

    await call(breaker, Verdict.WELL)
    await call(breaker, Verdict.UNUSABLE)
    await breaker.aclose()

    assert (await workers.state()).is_open


async def test_a_key_of_another_kind_stops_nobody(workers: Workers) -> None:
    async with redis.asyncio.Redis.from_url(workers.url) as client:
        await client.set(BREAKERS, "x")
    breaker = workers.breaker()

    assert not await call(breaker, Verdict.WELL)


async def test_redis_is_asked_a_few_times_a_second_however_many_calls_there_are(workers: Workers) -> None:
    breaker = workers.breaker()
    async with redis.asyncio.Redis.from_url(workers.url) as client:
        await call(breaker, Verdict.WELL)
        before = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]

        for _ in range(1_000):
            await call(breaker, Verdict.WELL)
            workers.now += 0.001
        await breaker.aclose()

        asked = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"] - before
    assert 1 <= asked <= 8
