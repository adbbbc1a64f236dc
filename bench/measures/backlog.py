"""A million jobs waiting: whether claims stay quick and the worker small."""

import asyncio
import time

from arq.constants import job_key_prefix
from redis.asyncio import Redis

from app.jobs.queues import Queue
from app.jobs.store import JobStore
from bench.plan import Plan, percentile
from bench.report import Section, Target
from bench.systems import OURS
from bench.trial import Trial, open_trial

JOBS = 1_000_000
CLAIMED = 50
CLAIMS = 200
DRAIN_SECONDS = 10

WANTED_P50_MS = 4
WANTED_MIB = 80

# One job's payload and due time under as many ids as are asked for: enqueueing a million would take a minute, and is
# measured elsewhere.
COPIES = """
local payload, due = redis.call('GET', KEYS[2]), ARGV[1]
for number = ARGV[2], ARGV[3] do
  redis.call('SET', ARGV[4] .. number, payload)
  redis.call('ZADD', KEYS[1], due, number)
end
"""
COPIES_A_SCRIPT = 5_000


async def measure(_plan: Plan) -> Section:
    """Ours alone."""
    async with open_trial(OURS, OURS.quick) as trial:
        await _pile_up(trial)
        claims = await _claim(trial)
        async with trial.workers() as workers:
            await workers.expect("the worker begins", lambda: trial.ran().jobs > 0)
            await asyncio.sleep(DRAIN_SECONDS)
            ran, peak_mib = trial.ran(), workers.usage().peak_mib
    p50, p99 = percentile(claims, 50), percentile(claims, 99)
    return Section(
        "A million jobs waiting",
        f"{CLAIMS} claims of {CLAIMED} jobs by the worker's own script; then a worker of {OURS.quick} drains for "
        f"{DRAIN_SECONDS} s.",
        ("", "claim p50 ms", "claim p99 ms", "jobs/s", "worker's peak MiB"),
        [(OURS.name, f"{p50:.1f}", f"{p99:.1f}", f"{ran.per_second:,.0f}", f"{peak_mib:.0f}")],
        [
            Target("claim of 50 of a million, p50", f"under {WANTED_P50_MS} ms", f"{p50:.1f} ms", p50 < WANTED_P50_MS),
            Target(
                "worker with a million waiting", f"under {WANTED_MIB} MiB", f"{peak_mib:.0f} MiB", peak_mib < WANTED_MIB
            ),
        ],
    )


async def _pile_up(trial: Trial) -> None:
    await trial.fill("noop", 1)
    key = Queue.DEFAULT.key
    async with Redis.from_url(trial.valkey.url) as redis:
        [(model, due)] = await redis.zrange(key, 0, 0, withscores=True)
        copy = redis.register_script(COPIES)
        for start in range(1, JOBS, COPIES_A_SCRIPT):
            last = min(start + COPIES_A_SCRIPT, JOBS) - 1
            await copy(keys=[key, f"{job_key_prefix}{model.decode()}"], args=[int(due), start, last, job_key_prefix])


async def _claim(trial: Trial) -> list[float]:
    """Milliseconds of each claim; the jobs are given back at once."""
    took = []
    async with Redis.from_url(trial.valkey.url) as redis:
        store = JobStore(redis.connection_pool, lease_ms=15_000)
        for number in range(CLAIMS):
            token = f"bench:{number}"
            started = time.perf_counter()
            await store.claim(Queue.DEFAULT, token, CLAIMED)
            took.append((time.perf_counter() - started) * 1000)
            await store.release(Queue.DEFAULT, token)
        await store.aclose()
    return took
