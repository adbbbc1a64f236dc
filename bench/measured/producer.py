"""`python -m bench.measured.producer MODULE:SENDER ORDER ARGUMENT...`: puts jobs on a system's queue by its client.

Prints how many were sent, or jobs per second, as JSON. Runs in the environment of the system that it serves.
"""

import asyncio
import importlib
import json
import random
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import uvloop

from bench.measured.sender import AnySender, BlockingSender, BulkSender, Sender, SenderFactory, send

CALLERS = 50
# As many as a page of due subscriptions has.
BULK = 1_000
# Between two jobs to an idle worker (seconds): drawn, so that no poll's rhythm is met by accident.
PAUSE = (0.01, 0.04)
WARM_UP = 20
TRIES = 3


async def fill(sender: AnySender, task: str, count: int, callers: int) -> int:
    """So many jobs, as fast as the client can: numbered from 0. Only clients that await have callers."""
    numbers = range(count)
    if isinstance(sender, BulkSender):
        for start in range(0, len(numbers), BULK):
            await sender.send_many(task, numbers[start : start + BULK])
    elif isinstance(sender, BlockingSender):
        for number in numbers:
            sender.send_blocking(task, number)
    else:
        left = iter(numbers)

        async def caller() -> None:
            for number in left:
                await sender.send(task, number)

        await asyncio.gather(*(caller() for _ in range(callers)))
    return count


async def one_by_one(sender: AnySender, seconds: float) -> float:
    """Jobs per second of a single caller."""
    count = 0
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        await send(sender, "noop", count)
        count += 1
    return count / elapsed


async def together(sender: AnySender, seconds: float) -> float:
    """Jobs per second of fifty callers in one process: coroutines, or threads where the client blocks."""
    started = time.perf_counter()

    async def caller(sender: Sender) -> int:
        count = 0
        while time.perf_counter() - started < seconds:
            await sender.send("noop", count)
            count += 1
        return count

    def thread(sender: BlockingSender) -> int:
        count = 0
        while time.perf_counter() - started < seconds:
            sender.send_blocking("noop", count)
            count += 1
        return count

    if isinstance(sender, BlockingSender):
        with ThreadPoolExecutor(CALLERS) as threads:
            loop = asyncio.get_running_loop()
            callers = (loop.run_in_executor(threads, thread, sender) for _ in range(CALLERS))
            counts = await asyncio.gather(*callers)
    else:
        counts = await asyncio.gather(*(caller(sender) for _ in range(CALLERS)))
    return sum(counts) / (time.perf_counter() - started)


async def bulk(sender: BulkSender, seconds: float) -> float:
    """Jobs per second of a single caller who hands over a thousand at a time."""
    count = 0
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        await sender.send_many("noop", range(count, count + BULK))
        count += BULK
    return count / elapsed


async def spaced(sender: AnySender, seconds: float) -> int:
    """Jobs that carry the time at which they were sent, with a pause after each; returns how many."""
    count = 0
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        await send(sender, "stamp", time.monotonic_ns())
        await asyncio.sleep(random.uniform(*PAUSE))
        count += 1
    return count


async def rates(sender: AnySender, seconds: float) -> dict[str, float]:
    """Jobs per second in each way that the client has; medians of three times so many seconds."""
    for number in range(WARM_UP):
        await send(sender, "noop", number)
    alone = [await one_by_one(sender, seconds) for _ in range(TRIES)]
    # Once for nothing: the client makes the connections that its callers need.
    await together(sender, seconds)
    many = [await together(sender, seconds) for _ in range(TRIES)]
    answer = {"one by one": statistics.median(alone), "together": statistics.median(many)}
    if isinstance(sender, BulkSender):
        answer["bulk"] = statistics.median([await bulk(sender, seconds) for _ in range(TRIES)])
    return answer


async def main(address: str, order: str, *arguments: str) -> None:
    module, _, factory = address.partition(":")
    open_sender: SenderFactory = getattr(importlib.import_module(module), factory)
    async with open_sender() as sender:
        match order, *arguments:
            case "fill", task, count, callers:
                answer: dict[str, float] = {"sent": await fill(sender, task, int(count), int(callers))}
            case "spaced", seconds:
                answer = {"sent": await spaced(sender, float(seconds))}
            case "rates", seconds:
                answer = await rates(sender, float(seconds))
            case _:
                raise ValueError(f"no such order: {order} {arguments}")
    sys.stdout.write(f"{json.dumps(answer)}\n")


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
