"""The outbox: rows that wait are relayed, run and put on record; and from one transaction to its job."""

import asyncio
import time
from contextlib import AsyncExitStack

import asyncpg

from bench.measures.latency import Waited
from bench.measures.mails import open_database
from bench.plan import Plan, median
from bench.report import Section, Target
from bench.systems import OURS_WITH_OUTBOX
from bench.trial import open_trial

TRIES = 3
ROWS = 20_000
WITHIN = 120
# How often PostgreSQL is asked how many rows have ended (seconds).
LOOK = 0.1
SECONDS = 6
WANTED_PER_SECOND = 3_000
WANTED_P50_MS = 50


async def measure(_plan: Plan) -> Section:
    """Ours alone."""
    rate = median([await _drained() for _ in range(TRIES)])
    waited = await _waited()
    return Section(
        "Outbox",
        f"{ROWS:,} no-op rows, from the first start until all ends are on record in the outbox, with the projector; "
        f"median of {TRIES}. Then milliseconds from the begin of a transaction with one row to the job's first line.",
        ("", "jobs/s", "p50", "p99", "longest"),
        [
            ("rows that wait", f"{rate:,.0f}", "", "", ""),
            ("one by one", "", *(f"{each:.1f}" for each in (waited.p50, waited.p99, waited.longest))),
        ],
        [
            Target(
                "outbox jobs/s, ends on record", f"{WANTED_PER_SECOND:,}", f"{rate:,.0f}", rate >= WANTED_PER_SECOND
            ),
            Target(
                "outbox to start, p50", f"under {WANTED_P50_MS} ms", f"{waited.p50:.1f} ms", waited.p50 < WANTED_P50_MS
            ),
        ],
    )


async def _drained() -> float:
    """Jobs per second."""
    system = OURS_WITH_OUTBOX
    async with AsyncExitStack() as stack:
        database_url = await open_database(stack)
        trial = await stack.enter_async_context(open_trial(system, system.quick, database_url=database_url))
        connection = await asyncpg.connect(database_url, ssl=False)
        stack.push_async_callback(connection.close)
        await connection.execute(
            "INSERT INTO tasks.outbox (task, kwargs)"
            f" SELECT 'noop', jsonb_build_object('number', number) FROM generate_series(1, {ROWS}) AS number"
        )
        workers = await stack.enter_async_context(trial.workers())
        await workers.expect(f"{system.name} begins", lambda: trial.ran().jobs > 0)
        async with asyncio.timeout(WITHIN):
            while await connection.fetchval("SELECT count(*) FROM tasks.outbox WHERE ended_at IS NULL"):
                await asyncio.sleep(LOOK)
        return ROWS / (time.monotonic_ns() - trial.ran().first_ns) * 1e9


async def _waited() -> Waited:
    system = OURS_WITH_OUTBOX
    async with AsyncExitStack() as stack:
        database_url = await open_database(stack)
        trial = await stack.enter_async_context(open_trial(system, system.quick, database_url=database_url))
        workers = await stack.enter_async_context(trial.workers())
        await trial.warm(workers)
        answer = await trial.produce("spaced", SECONDS)
        await workers.expect(f"{system.name} ends", lambda: len(trial.notes("waited")) >= answer["sent"])
        return Waited.of([note.number / 1e6 for note in trial.notes("waited")])
