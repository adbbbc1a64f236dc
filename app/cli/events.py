"""`indostar events`: jobs' changes of state as they happen."""

from typing import Annotated

import typer

from app.cli.group import cli
from app.cli.options import JOBS, AsJson


@cli.command(rich_help_panel=JOBS)
def events(
    task: Annotated[list[str] | None, typer.Option(help="Only of this task; may be given several times.")] = None,
    queue: Annotated[list[str] | None, typer.Option(help="Only of this queue; likewise.")] = None,
    status: Annotated[list[str] | None, typer.Option(help="Only jobs that stand so; likewise.")] = None,
    as_json: AsJson = False,
) -> None:
    """Watch jobs change, live, until Ctrl-C. Goes on by itself when Redis was away."""
    from app.cli import asking, live
    from app.cli.filters import read_queue, read_status

    queues = [read_queue(name) for name in queue or ()]
    statuses = [read_status(name) for name in status or ()]
    try:
        asking.run(live.watch(task or (), queues, statuses, as_json=as_json))
    except KeyboardInterrupt:
        # That is how one ends it.
        raise typer.Exit(0) from None
