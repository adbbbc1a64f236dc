"""A preview line by line, as it is decided: there may be a hundred thousand."""

from datetime import UTC, date, datetime

import typer

from app.cli.asking import operations
from app.operations.previews import PlannedDeliveryView, PreviewTotalsView


async def print_preview(day: date, *, as_json: bool) -> None:
    async with operations() as opened:
        preview = opened.preview(day, datetime.now(UTC))
        if as_json:
            async for piece in preview.as_json():
                typer.echo(piece, nl=False)
            typer.echo()
            return
        typer.echo(f"{'SUBSCRIPTION':<12}  {'DATE':<10}  {'ACTION':<6}  {'WAY':<7}  {'AMOUNT':>10}  REASON")
        async for line in preview.lines():
            typer.echo(_line(line))
    _print_totals(preview.totals)
    if not preview.is_stock_known:
        typer.echo("what the days before it will take from the stock, and what comes in, is not known", err=True)


def _line(line: PlannedDeliveryView) -> str:
    told = (
        f"{line.subscription_id:<12}  {line.delivery_date}  {line.action:<6}  {line.way:<7}  {line.amount:>10.2f}  "
        f"{line.reason or ''}"
    )
    return told.rstrip()


def _print_totals(totals: PreviewTotalsView) -> None:
    """Apart from the lines, which a script may read."""
    for way, count in totals.charges.items():
        typer.echo(f"{count} charges by {way}: Rs {totals.amount[way]:.2f}", err=True)
    for reason, count in totals.skipped.items():
        typer.echo(f"{count} skipped: {reason}", err=True)
    for product, units in totals.short.items():
        typer.echo(f"product {product} is short of {units}", err=True)
    if not totals.charges and not totals.skipped:
        typer.echo("nothing is to be planned for that day", err=True)
