"""Ending asyncio tasks for certain: a library that swallows a cancellation must not keep a process from its end."""

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any

# How long a task may take to end before it is cancelled again (seconds).
CANCEL_AGAIN = 1.0


async def end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancels the tasks, again and again, and returns when each has ended; how they ended is not looked at.

    Whoever is cancelled here ends the tasks all the same, and is cancelled then.
    """
    cancelled: asyncio.CancelledError | None = None
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        try:
            await asyncio.wait(pending, timeout=CANCEL_AGAIN)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def run_together(**loops: Coroutine[Any, Any, None]) -> None:
    """Runs endless loops, named by their keywords, until cancelled or until one ends, whose error it raises.

    A TaskGroup would cancel each once only.
    """
    tasks = [asyncio.create_task(loop, name=name.replace("_", " ")) for name, loop in loops.items()]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await end(tasks)
