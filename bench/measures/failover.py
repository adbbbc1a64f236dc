"""What choosing a provider costs a message: with one that works, and past one that is left alone."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from redis.asyncio import ConnectionPool

from app.dev.valkey import EmbeddedValkey
from app.jobs.breaker import Breaker
from app.jobs.breaker_state import BreakerRules, Verdict
from app.jobs.breaker_store import BreakerStore
from app.notify.ways import Way, called, first_open
from bench.plan import Plan, median, percentile
from bench.report import Section, Target

WANTED_MS = 5
TRIES = 3
NO_PROBES = BreakerRules(first_wait_ms=3_600_000)
# Spread over some seconds, so that Redis is asked as often as in a worker.
MESSAGES = 2_000
PAUSE = 0.001


async def measure(_plan: Plan) -> Section:
    """Both in turn, on one Valkey; the provider itself answers at once."""
    alone: list[float] = []
    past: list[float] = []
    with TemporaryDirectory(prefix="indostar-bench-") as name:
        async with EmbeddedValkey(Path(name), durable=False) as valkey, AsyncExitStack() as stack:
            store = BreakerStore(ConnectionPool.from_url(valkey.url))
            stack.push_async_callback(store.aclose)
            first, second = Breaker("first", store, NO_PROBES), Breaker("second", store)
            async with first.passage() as passage:
                passage.note(Verdict.UNUSABLE, "401: bad key")
            for _ in range(TRIES):
                alone += await _milliseconds([Way("second", second, None, _answer)])
                past += await _milliseconds([Way(each.name, each, None, _answer) for each in (first, second)])
            await first.aclose()
            await second.aclose()
    added = median(past) - median(alone)
    slowest = percentile(past, 99)
    return Section(
        "Going around a provider",
        f"Milliseconds a message, of {TRIES * MESSAGES:,} each.",
        ("", "median", "p99"),
        [
            ("one provider", f"{median(alone):.3f}", f"{percentile(alone, 99):.3f}"),
            ("two, of which the first is left alone", f"{median(past):.3f}", f"{slowest:.3f}"),
        ],
        [Target("what fail-over adds to a message", f"{WANTED_MS} ms", f"{added:.3f} ms", slowest < WANTED_MS)],
    )


async def _answer() -> str:
    return "m1"


async def _milliseconds(ways: Sequence[Way]) -> list[float]:
    times = []
    for _ in range(MESSAGES):
        started = time.perf_counter()
        async with AsyncExitStack() as stack:
            way, passage = await first_open(ways, stack)
            await called(passage, way.send())
        times.append((time.perf_counter() - started) * 1000)
        await asyncio.sleep(PAUSE)
    return times
