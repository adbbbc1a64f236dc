"""`indostar preview`: what the run of a date would do."""

from datetime import date
from typing import Annotated

import typer

from app.cli.group import cli
from app.cli.options import SHOP, AsJson, read_date


@cli.command(rich_help_panel=SHOP)
def preview(
    day: Annotated[
        date | None, typer.Option("--date", parser=read_date, metavar="DATE", help="Of which day: today.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what the run of a date would charge and skip, and why. Nothing is written."""
    from app.cli import asking, preview_page
    from app.deliveries.days import today

    asking.run(preview_page.print_preview(day or today(), as_json=as_json))
