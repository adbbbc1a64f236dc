"""Running our worker under arq's command line.

`arq worker.WorkerSettings` always makes a stock `arq.worker.Worker`. Here that is only the shell: its `on_startup` does
not return but runs our worker, and what it does on SIGTERM and SIGINT, cancelling its main task, asks ours to drain.
"""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import click

from app.jobs.worker import Worker

# Makes our worker, told whether to burst, and closes what it worked with.
OpenWorker = Callable[[bool], AbstractAsyncContextManager[Worker]]


def run_instead(open_worker: OpenWorker) -> Callable[[dict[Any, Any]], Awaitable[None]]:
    """An arq `on_startup` hook that runs the worker made by `open_worker` until it is told to stop."""

    async def on_startup(_ctx: dict[Any, Any]) -> None:
        async with open_worker(_burst_wanted()) as worker:
            await run_until_cancelled(worker)
        # Returning would start arq's own loop; this is how its main task ends well.
        raise asyncio.CancelledError

    return on_startup


async def run_until_cancelled(worker: Worker) -> None:
    """Runs it to its end. The first cancellation lets it drain; a second one makes it hand back what it runs.

    The process is the worker's alone: what was imported and made so far is to live as long as it does.
    """
    # Going through all that again and again would cost the garbage collector a tenth of a busy worker's time, in pauses
    # of tens of milliseconds.
    gc.collect()
    gc.freeze()
    running = asyncio.create_task(worker.run(), name="worker")
    while True:
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            if running.done():
                raise
            hurry(worker)
        else:
            return


def hurry(worker: Worker) -> None:
    """Lets it drain; from the second time on, it hands back what it runs."""
    if worker.is_stopping:
        worker.hand_back()
    else:
        worker.stop()


def _burst_wanted() -> bool:
    """Whether arq's command line was called with --burst; the hook itself is not told."""
    context = click.get_current_context(silent=True)
    return bool(context and context.params.get("burst"))
