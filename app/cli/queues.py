"""`indostar queues`, `pause`, `resume`, `workers`."""

from typing import Annotated

import typer

from app.cli.group import cli
from app.cli.options import QUEUES, AsJson

QueueName = Annotated[str, typer.Argument(metavar="QUEUE", help="default, notifications or subscriptions.")]


@cli.command(rich_help_panel=QUEUES)
def queues(as_json: AsJson = False) -> None:
    """Show how full the queues are, and which are paused."""
    from app.cli import asking, tables
    from app.operations.views import QueueView

    async def ask() -> list[QueueView]:
        async with asking.operations() as opened:
            return await opened.queues.all()

    tables.print_queues(asking.run(ask()), as_json=as_json)


@cli.command(rich_help_panel=QUEUES)
def pause(queue: QueueName, as_json: AsJson = False) -> None:
    """Have no worker take jobs from a queue any more. What runs goes on."""
    from app.cli import asking, tables
    from app.cli.filters import read_queue
    from app.operations.views import QueueView

    async def act() -> QueueView:
        async with asking.operations() as opened:
            return await opened.queues.pause(asking.operator(), read_queue(queue))

    tables.print_queue(asking.run(act()), as_json=as_json)


@cli.command(rich_help_panel=QUEUES)
def resume(queue: QueueName, as_json: AsJson = False) -> None:
    """Have workers take jobs from a queue again."""
    from app.cli import asking, tables
    from app.cli.filters import read_queue
    from app.operations.views import QueueView

    async def act() -> QueueView:
        async with asking.operations() as opened:
            return await opened.queues.resume(asking.operator(), read_queue(queue))

    tables.print_queue(asking.run(act()), as_json=as_json)


@cli.command(rich_help_panel=QUEUES)
def workers(as_json: AsJson = False) -> None:
    """Show the workers that are alive and what they run."""
    from app.cli import asking, tables
    from app.operations.views import WorkerView

    async def ask() -> list[WorkerView]:
        async with asking.operations() as opened:
            return await opened.workers.all()

    tables.print_workers(asking.run(ask()), as_json=as_json)
