"""`indostar worker`: which queues, with how many processes, and whether anybody serves them."""

import asyncio
import sys
from collections.abc import Collection
from datetime import timedelta

import typer
from redis.exceptions import RedisError

from app.jobs.queues import Queue
from app.jobs.registry import is_alive
from app.logs import configure_logging
from app.settings import QueueSettings, Settings, settings_or_exit
from app.supervisor.supervisor import Supervisor, SupervisorOptions

# What a worker may need beyond its grace time while a server is away: last words of its jobs (10 s), their records
# (30 s) and those of messages (20 s).
MARGIN = timedelta(seconds=65)


def chosen_queues(names: str | None) -> list[Queue]:
    """The queues with these comma-separated names, in the order by which workers are looked up; None is all."""
    wanted = {name.strip() for name in names.split(",")} if names is not None else set(Queue)
    if unknown := wanted - set(Queue):
        raise typer.BadParameter(
            f"{', '.join(map(repr, sorted(unknown)))} is none of {', '.join(Queue)}", param_hint="--queues"
        )
    return [queue for queue in Queue if queue in wanted]


def check(queues: Collection[Queue], *, as_json: bool = False) -> bool:
    """Prints and returns whether a worker of exactly these queues is alive on this host."""
    settings = settings_or_exit(QueueSettings)
    try:
        alive = asyncio.run(is_alive(settings.redis_url.get_secret_value(), queues))
    except RedisError as error:
        typer.echo(f"Redis can't be asked: {error}", err=True)
        return False
    if as_json:
        # A supervisor has no need of it.
        from app.cli import output

        output.print_json({"alive": alive, "queues": list(queues)})
        return alive
    typer.echo(f"{'a' if alive else 'no'} worker of {', '.join(queues)} is alive on this host")
    return alive


def supervise(queues: Collection[Queue], *, processes: int, concurrency: int | None) -> int:
    """Serves with so many child processes until told to stop; returns the exit code.

    Nothing of the tasks is imported here: this process stays small, and a new release needs new children only.
    """
    settings = settings_or_exit(Settings)
    configure_logging(settings)
    slots = [] if concurrency is None else ["--concurrency", str(concurrency)]
    serve = [sys.executable, "-m", "app", "worker", "--queues", ",".join(queues), *slots]
    options = SupervisorOptions(
        command=lambda place: [*serve, "--place", str(place), "--line"],
        processes=processes,
        patience=timedelta(seconds=settings.shutdown_grace_seconds) + MARGIN,
    )
    return asyncio.run(Supervisor(options).run())
