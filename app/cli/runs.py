"""`indostar run`, `run resume` and `reconcile`: how the deliveries of a date stand, and whether the gateway agrees."""

from datetime import date
from typing import Annotated

import typer

from app.cli.group import cli
from app.cli.options import SHOP, AsJson, read_date

OfDay = Annotated[date | None, typer.Option("--date", parser=read_date, metavar="DATE", help="Of which day: today.")]

run = typer.Typer(no_args_is_help=True, help="Show the run of a date, let it go on when it is paused.")
cli.add_typer(run, name="run", rich_help_panel=SHOP)


@run.command("show")
def show_run(day: OfDay = None, as_json: AsJson = False) -> None:
    """Show what the run of a date planned, how its charges ended, and what is still open."""
    from app.cli import asking, run_page
    from app.deliveries.days import today
    from app.operations.runs import RunView

    async def ask() -> RunView:
        async with asking.operations() as opened:
            return await opened.runs.find(day or today())

    run_page.print_run(asking.run(ask()), as_json=as_json)


@run.command("resume")
def resume_run(day: OfDay = None, as_json: AsJson = False) -> None:
    """Let a run go on that its brake, or somebody, has paused, past what paused it."""
    from app.cli import asking, run_page
    from app.deliveries.days import today
    from app.operations.runs import RunView

    async def act() -> RunView:
        async with asking.operations() as opened:
            return await opened.runs.resume(asking.operator(), day or today())

    run_page.print_run(asking.run(act()), as_json=as_json)


@cli.command(rich_help_panel=SHOP)
def reconcile(day: OfDay = None, as_json: AsJson = False) -> None:
    """Compare ledger, shop and gateway for a date, and show what differs or waits for a person. It only reads."""
    from app.cli import asking, run_page
    from app.deliveries.days import today

    asking.run(run_page.print_reconciliation(day or today(), as_json=as_json))
