"""A customer who writes without a pause, in a process of its own: `python -m bench.measured.writer URL STATEMENT`.

Says "ready" once it has written for a while, counts from the next line of its input to the input's end, and prints how
many writes a second it did and how long the longest took (ms), as JSON.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from random import Random

import asyncpg

# Whom it writes for: a number below this is the statement's argument.
CUSTOMERS = 100_000
# So many first writes do not count: they meet cold caches.
WARM = 2_000


async def write(url: str, statement: str) -> None:
    random = Random(1)
    connection = await asyncpg.connect(url, ssl=False)
    # The users that rows belong to are not there.
    await connection.execute("SET session_replication_role = replica")

    async def write_one() -> float:
        at = time.perf_counter()
        await connection.execute(statement, random.randrange(CUSTOMERS))
        return time.perf_counter() - at

    for _ in range(WARM):
        await write_one()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await _written_until(asyncio.to_thread(sys.stdin.readline), write_one)
    began = time.perf_counter()
    took = await _written_until(asyncio.to_thread(sys.stdin.read), write_one)
    seconds = time.perf_counter() - began
    await connection.close()
    sys.stdout.write(json.dumps({"per_second": len(took) / seconds, "longest_ms": max(took) * 1000}))


async def _written_until(told: Awaitable[object], write_one: Callable[[], Awaitable[float]]) -> list[float]:
    """How long each write took (s), of those done until something was read."""
    end = asyncio.ensure_future(told)
    took = []
    while not end.done():
        took.append(await write_one())
    return took


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], sys.argv[2]))
