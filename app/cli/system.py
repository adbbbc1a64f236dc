"""`indostar migrate`, `worker`, `fakes`, `tasks`."""

from typing import Annotated

import typer
import uvloop

from app.cli.group import cli
from app.cli.options import QUEUES, SYSTEM, AsJson


@cli.command(rich_help_panel=SYSTEM)
def migrate(as_json: AsJson = False) -> None:
    """Bring the tables of the background system (schema `tasks`) up to date."""
    import asyncio

    from app.cli import output
    from app.db.migrate import migrate as apply_migrations
    from app.settings import DatabaseSettings, settings_or_exit

    settings = settings_or_exit(DatabaseSettings)
    applied = asyncio.run(apply_migrations(settings.database_url.get_secret_value()))
    if as_json:
        output.print_json({"applied": applied})
    else:
        typer.echo("\n".join(f"applied {revision}" for revision in applied) or "up to date")


@cli.command(rich_help_panel=QUEUES)
def worker(
    queues: Annotated[str | None, typer.Option(help="Which, separated by commas: all of them by default.")] = None,
    processes: Annotated[int, typer.Option(min=1, max=64, help="How many processes serve.")] = 1,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Jobs of each queue at once in each process.")
    ] = None,
    burst: Annotated[bool, typer.Option("--burst", help="Empty the queues in this process, and end.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only tell whether a worker of these queues is alive.")
    ] = False,
    as_json: AsJson = False,
    place: Annotated[int, typer.Option(hidden=True, help="Which of a supervisor's processes it is.")] = 0,
    line: Annotated[int | None, typer.Option(hidden=True, help="Serve in this process, for a supervisor.")] = None,
) -> None:
    """Serve queues with processes that are replaced when they are worn out and restarted when they crash.

    SIGTERM drains them, a second one hands back what they run; SIGHUP replaces one after another.
    """
    from app.cli import supervise

    chosen = supervise.chosen_queues(queues)
    if burst and (processes > 1 or check):
        raise typer.BadParameter("goes neither with --processes nor with --check", param_hint="--burst")
    if as_json and not check:
        raise typer.BadParameter("goes with --check only", param_hint="--json")
    if check:
        raise typer.Exit(0 if supervise.check(chosen, as_json=as_json) else 1)
    if not burst and line is None:
        raise typer.Exit(supervise.supervise(chosen, processes=processes, concurrency=concurrency))

    # With the tasks and all that they work with, which a supervisor has no need of.
    from app.cli import serve

    if line is None:
        serve.empty_queues(chosen, concurrency=concurrency)
    else:
        serve.serve_supervised(chosen, concurrency=concurrency, line=line, place=place)


@cli.command(rich_help_panel=SYSTEM)
def fakes(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1.")] = 8025,
    smtp_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the mail server there.")] = 1025,
) -> None:
    """Serve the fake providers, for development and tests."""
    try:
        from app.dev.fakes import serve
    except ModuleNotFoundError as missing:
        typer.echo(f"{missing.name} is not installed: the fakes need the dependency group dev", err=True)
        raise typer.Exit(1) from None

    uvloop.run(serve(port, smtp_port))


@cli.command(rich_help_panel=SYSTEM)
def tasks(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page docs/tasks.md.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the tasks with their queues, retries, limits and arguments."""
    from app.cli import output, task_list

    if markdown:
        typer.echo(task_list.task_page(), nl=False)
    elif as_json:
        output.print_json(task_list.views())
    else:
        task_list.print_table()
