"""A customer who writes without a pause, in a process of its own: `python -m bench.measured.writer URL STATEMENT`.

Ends at the end of its input, and prints how many writes a second it did and how long the longest took (ms), as JSON.
"""

import asyncio
import json
import sys
import time
from random import Random

import asyncpg

# Whom it writes for: a number below this is the statement's argument.
CUSTOMERS = 100_000


async def write(url: str, statement: str) -> None:
    random = Random(1)
    connection = await asyncpg.connect(url, ssl=False)
    # The users that rows belong to are not there.
    await connection.execute("SET session_replication_role = replica")
    told = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    began = time.perf_counter()
    took = []
    while not told.done():
        at = time.perf_counter()
        await connection.execute(statement, random.randrange(CUSTOMERS))
        took.append(time.perf_counter() - at)
    seconds = time.perf_counter() - began
    await connection.close()
    sys.stdout.write(json.dumps({"per_second": len(took) / seconds, "longest_ms": max(took) * 1000}))


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], sys.argv[2]))
