"""The command line: `indostar ...`. Exit code 0 done, 1 failed, 2 wrong call or settings."""

import asyncio
from typing import Annotated

import typer
import uvloop

from app.settings import DatabaseSettings, settings_or_exit

cli = typer.Typer(name="indostar", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)


@cli.callback()
def indostar() -> None:
    """IndoStar Naturals' background system."""


@cli.command()
def migrate() -> None:
    """Bring the tables of the background system (schema `tasks`) up to date."""
    from app.db.migrate import migrate as apply_migrations

    settings = settings_or_exit(DatabaseSettings)
    applied = asyncio.run(apply_migrations(settings.database_url.get_secret_value()))
    typer.echo("\n".join(f"applied {revision}" for revision in applied) or "up to date")


@cli.command()
def fakes(port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8025) -> None:
    """Serve the fake providers, for development and tests."""
    from app.dev.fakes import serve

    uvloop.run(serve(port))


@cli.command()
def tasks(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page docs/tasks.md.")] = False,
) -> None:
    """List the tasks with their queues, retries, limits and arguments."""
    from app.cli.task_list import print_table, task_page

    if markdown:
        typer.echo(task_page(), nl=False)
    else:
        print_table()


def main() -> None:
    cli()
