"""A run's figures, and what a reconciliation found."""

from datetime import date

import typer

from app.cli import output, watching
from app.cli.asking import operations
from app.cli.output import Column
from app.notify.run_report import headline, sections
from app.operations.reconciling import DeliveryReconciliation, open_gateway
from app.operations.runs import RunView
from app.settings import GatewaySettings, settings_or_exit

DISCREPANCIES = (Column("SUBSCRIPTION"), Column("WHAT"), Column("SAID"), Column("WHAT CAN BE DONE", is_optional=True))


def print_run(run: RunView, *, as_json: bool) -> None:
    if as_json:
        output.print_json(run)
        return
    typer.echo(f"{run.delivery_date}: {headline(run.figures)}")
    planned = "finished" if run.finished_at else "not finished"
    typer.echo(f"begun {output.time(run.started_at)} UTC, {planned}; {run.charges} charges, Rs {run.amount:.2f}")
    if run.paused_because is not None:
        typer.echo(f"paused {output.time(run.paused_at)} UTC: {run.paused_because}")
        typer.echo(f"indostar run resume --date {run.delivery_date} lets it go on")
    if run.resumed_by is not None:
        typer.echo(f"resumed {output.time(run.resumed_at)} UTC by {run.resumed_by}")
    for section in sections(run.figures):
        typer.echo(f"\n{section.title}")
        for row in section.rows:
            typer.echo(f"  {row.label}: {row.value}" if row.value else f"  {row.label}")
        if section.more:
            typer.echo(f"  and {section.more} more")


async def print_reconciliation(day: date, *, as_json: bool) -> None:
    settings = settings_or_exit(GatewaySettings)
    async with operations() as opened, open_gateway(settings, opened.pool) as gateway:
        reconciliation = DeliveryReconciliation(opened.database, gateway, day)
        with watching.progress_bar() as bar:
            shown = bar.add_task("in doubt", total=None, told="")

            def tell(done: int, there_are: int) -> None:
                bar.update(shown, total=there_are, completed=done, told=f"{done} of {there_are}")

            found = [discrepancy async for discrepancy in reconciliation.discrepancies(tell)]
    summary = reconciliation.summary(found)
    if as_json:
        output.print_json(summary)
        return
    rows = [(each.subscription_id, each.kind, each.sentence, each.next_step) for each in found]
    output.print_table(DISCREPANCIES, rows, empty="ledger, shop and gateway agree, and nothing waits for a person")
    states = ", ".join(f"{count} {state}" for state, count in summary.deliveries.items()) or "no deliveries"
    typer.echo(f"{day}: {states}; captured Rs {summary.captured:.2f}", err=True)
