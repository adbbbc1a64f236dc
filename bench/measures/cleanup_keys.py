"""Cleaning up a million tokens among three million keys, beside a bare SCAN with a pipeline of TTLs."""

import asyncio
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from redis.asyncio import Redis

from app.cleanup.keys import TokensRedis
from app.dev.valkey import EmbeddedValkey
from app.jobs.context import Context, Resources
from app.jobs.registry import resident_bytes
from app.tasks.cleanup import cleanup_expired_tokens
from bench.plan import Plan, median
from bench.report import Section, Target

TRIES = 3
KEYS = 3_000_000
# Each third key is a token, and each tenth token an orphan.
KINDS = ("otp", "session", "order", "password_reset", "session", "order", "email_verification", "session", "order")
FILL = """
for number = ARGV[1], ARGV[2] do
  local key = ARGV[3 + number % (#ARGV - 2)] .. ':' .. number
  if number % 30 == 0 then redis.call('SET', key, 'asha@example.com')
  else redis.call('SET', key, 'asha@example.com', 'EX', 86400) end
end
"""
KEYS_A_SCRIPT = 10_000
PREFIXES = (b"otp:", b"password_reset:", b"email_verification:")

WANTED_TIMES = 1.3
WANTED_COMMAND_MS = 5


async def measure(plan: Plan) -> Section:
    """Bare and ours in turn; the orphans are there again before each."""
    bare, ours, slow = [], [], 0.0
    with TemporaryDirectory(prefix="indostar-bench-") as name:
        async with EmbeddedValkey(Path(name), durable=False) as valkey, Redis.from_url(valkey.url) as redis:
            await redis.config_set("slowlog-log-slower-than", 1000)
            keys = int(KEYS * plan.scale)
            await _fill(redis, keys)
            before = resident_bytes()
            for _ in range(TRIES):
                bare.append(await _seconds(_scan(redis)))
                await redis.slowlog_reset()
                ours.append(await _seconds(_clean(valkey.url)))
                slowest = await redis.slowlog_get(1000)
                slow = max(slow, *(entry["duration"] / 1000 for entry in slowest), 0.0)
                await _fill(redis, keys)
            grown_mib = (resident_bytes() - before) / 2**20
    bare_s, ours_s = median(bare), median(ours)
    times = ours_s / bare_s
    command = f"{slow:.1f} ms" if slow else "under 1 ms"
    return Section(
        "Cleaning up keys",
        f"Seconds for {keys:,} keys, a third of them tokens of which each tenth has no expiry; medians of {TRIES}. The "
        "longest command of ours by the server's slow log; how much the worker's memory grew.",
        ("", "bare SCAN and TTL s", "ours s", "longest command", "memory MiB"),
        [("tokens", f"{bare_s:.1f}", f"{ours_s:.1f}", command, f"{grown_mib:.0f}")],
        [
            Target("tokens", f"{WANTED_TIMES} x a bare SCAN and TTL", f"{times:.2f} x", times <= WANTED_TIMES),
            Target("tokens", f"no command over {WANTED_COMMAND_MS} ms", command, slow <= WANTED_COMMAND_MS),
        ],
    )


async def _fill(redis: Redis, keys: int) -> None:
    fill = redis.register_script(FILL)
    for first in range(0, keys, KEYS_A_SCRIPT):
        await fill(args=[first, min(first + KEYS_A_SCRIPT, keys) - 1, *KINDS])


async def _scan(redis: Redis) -> None:
    """What anybody would write first: it finds the orphans and leaves them."""
    cursor = -1
    orphans = 0
    while cursor != 0:
        cursor, keys = await redis.scan(max(cursor, 0), count=1_000)
        async with redis.pipeline(transaction=False) as pipe:
            for key in keys:
                if key.startswith(PREFIXES):
                    pipe.ttl(key)
            orphans += (await pipe.execute()).count(-1)


async def _clean(url: str) -> None:
    tokens = TokensRedis.from_url(url)
    await cleanup_expired_tokens(Context("bench", "bench", "tokens", 1, 1, datetime.now(UTC), Resources([tokens])))
    await tokens.aclose()


async def _seconds(work: Awaitable[None]) -> float:
    began = time.perf_counter()
    await asyncio.ensure_future(work)
    return time.perf_counter() - began
