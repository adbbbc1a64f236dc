"""One worker process of `indostar worker`: a supervisor's child, or one that empties the queues and ends."""

import asyncio
import signal
from collections.abc import Collection
from dataclasses import replace
from functools import partial

import structlog
import uvloop

from app.jobs.queues import Queue
from app.jobs.shell import hurry, run_until_cancelled
from app.jobs.worker import Worker, WorkerOptions
from app.logs import configure_logging
from app.settings import Settings, settings_or_exit
from app.supervisor.line import LineToSupervisor, Word
from app.tasks.serving import open_worker, worker_options

log = structlog.stdlib.get_logger(__name__)


def empty_queues(queues: Collection[Queue], *, concurrency: int | None) -> None:
    """Runs everything on these queues that is due, and what that enqueues, to its end."""
    settings = _settings(queues, concurrency)
    uvloop.run(_serve(settings, worker_options(settings, queues, burst=True)))


def serve_supervised(queues: Collection[Queue], *, concurrency: int | None, line: int, place: int) -> None:
    """Serves until SIGTERM, or until the supervisor at the other end of the socket `line` is gone.

    `place` tells it from the supervisor's other children.
    """
    settings = _settings(queues, concurrency)
    to_supervisor = LineToSupervisor(line)
    options = replace(
        worker_options(settings, queues),
        on_ready=partial(to_supervisor.say, Word.READY),
        on_worn_out=partial(to_supervisor.say, Word.RETIRING),
    )
    uvloop.run(_serve(settings, options, to_supervisor, place))


def _settings(queues: Collection[Queue], concurrency: int | None) -> Settings:
    settings = settings_or_exit(Settings)
    configure_logging(settings)
    if concurrency is None:
        return settings
    # In the settings, because connections to databases and providers are reckoned from the same numbers.
    return settings.model_copy(update={f"{queue}_concurrency": concurrency for queue in queues})


async def _serve(
    settings: Settings, options: WorkerOptions, line: LineToSupervisor | None = None, place: int = 0
) -> None:
    loop = asyncio.get_running_loop()
    async with open_worker(settings, options, place) as worker:
        # The supervisor, and whoever stops a whole group of processes, may both send it.
        loop.add_signal_handler(signal.SIGTERM, worker.stop)
        loop.add_signal_handler(signal.SIGINT, partial(hurry, worker))
        if line is not None:
            line.when_gone(partial(_leave, worker))
        await run_until_cancelled(worker)


def _leave(worker: Worker) -> None:
    log.warning("supervisor.gone", worker=worker.id)
    worker.stop()
