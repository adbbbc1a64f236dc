"""The shop's own worker of subscriptions, quickly started: forked from a process that has everything imported."""

import asyncio
import os
from collections.abc import Mapping

from app.jobs.queues import Queue
from app.settings import Settings
from app.tasks.serving import open_worker, worker_options


def main(environment: Mapping[str, str]) -> None:
    """Serves until it is killed."""
    os.environ.update(environment)
    asyncio.run(_serve(Settings(_env_file=None)))


async def _serve(settings: Settings) -> None:
    async with open_worker(settings, worker_options(settings, [Queue.SUBSCRIPTIONS])) as worker:
        await worker.run()
