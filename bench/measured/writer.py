"""A customer who writes without a pause, in a process of its own: `python -m bench.measured.writer URL STATEMENT`.

Says "ready" once it has written for a while. Each line of its input, and the input's end, it answers with what it did
since the one before, as JSON: how many writes a second, how long the slowest hundredth of them and the slowest took.
"""

import asyncio
import json
import sys
import time
from random import Random

import asyncpg

from bench.plan import percentile

# Whom it writes for: a number below this is the statement's argument.
CUSTOMERS = 100_000
# So many first writes do not count: they meet cold caches, and log whole pages after the copy of the database.
WARM = 10_000


async def write(url: str, statement: str) -> None:
    random = Random(1)
    connection = await asyncpg.connect(url, ssl=False)
    # The users that rows belong to are not there.
    await connection.execute("SET session_replication_role = replica")

    async def write_one() -> float:
        at = time.perf_counter()
        await connection.execute(statement, random.randrange(CUSTOMERS))
        return (time.perf_counter() - at) * 1000

    for _ in range(WARM):
        await write_one()
    _say("ready")
    is_over = False
    while not is_over:
        asked = asyncio.ensure_future(asyncio.to_thread(sys.stdin.readline))
        began = time.perf_counter()
        took_ms = [await write_one()]
        while not asked.done():
            took_ms.append(await write_one())
        per_second = len(took_ms) / (time.perf_counter() - began)
        figures = {"per_second": per_second, "p99_ms": percentile(took_ms, 99), "longest_ms": max(took_ms)}
        _say(json.dumps(figures))
        is_over = not asked.result()
    await connection.close()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], sys.argv[2]))
