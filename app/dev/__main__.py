"""`python -m app.dev`, which is `make run`."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.dev.launcher import Launcher
from app.dev.processes import end_with_parent
from app.errors import NotDone, Refused
from app.settings import PROJECT_ROOT


def main(
    once: Annotated[bool, typer.Option(help="Run one day of the shop and stop.")] = False,
    state: Annotated[
        Path, typer.Option(envvar="INDOSTAR_STATE", help="Where data, logs and secrets are kept.")
    ] = PROJECT_ROOT / ".indostar",
) -> None:
    """Start the whole shop on this machine: servers, demo data, fake providers, worker and admin API."""
    # `make` may be killed too, and it passes nothing on.
    end_with_parent(os.getppid(), signal.SIGTERM)
    try:
        went_well = asyncio.run(Launcher(state, Console(highlight=False)).run(once=once))
    except (Refused, NotDone, OSError) as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(0 if went_well else 1)


if __name__ == "__main__":
    typer.run(main)
