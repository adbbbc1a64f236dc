"""`indostar retry`, `discard`, `purge`."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from app.cli.group import FAILED, cli
from app.cli.jobs import QueueOption, Since, Status, TaskOption, Until
from app.cli.options import JOBS, AsJson, DryRun

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", show_default=False)]


@cli.command(rich_help_panel=JOBS)
def retry(
    ids: Ids = None,
    status: Status = None,
    queue: QueueOption = None,
    task: TaskOption = None,
    since: Since = None,
    until: Until = None,
    resend: Annotated[
        bool, typer.Option("--resend", help="Send again what was sent; with ids only, and never what was charged.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Run failed jobs again: those with these ids, or those that meet the filter. What was sent is not sent again."""
    has_filter = any(value is not None for value in (status, queue, task, since, until))
    if bool(ids) == has_filter:
        raise typer.BadParameter("name ids, or a filter such as --status failed", param_hint="ids")
    if resend and (not ids or dry_run):
        raise typer.BadParameter("goes with ids, and not with --dry-run", param_hint="--resend")
    from app.cli import asking, bulk
    from app.cli.filters import job_filter
    from app.operations.views import BulkRetryView, RetriedJobView

    async def act() -> BulkRetryView | RetriedJobView:
        actor = asking.operator()
        async with asking.operations() as opened:
            if not ids:
                wanted = job_filter(status=status, queue=queue, task=task, since=since, until=until)
                with bulk.counting("run again") as tell:
                    return await opened.jobs.retry_many(actor, wanted, dry_run=dry_run, tell=tell)
            if len(ids) == 1 and not dry_run:
                return await opened.jobs.retry(actor, ids[0], resend=resend)
            if resend:
                return await bulk.resend_each(opened, actor, ids)
            return await opened.jobs.retry_these(actor, ids, dry_run=dry_run)

    done = asking.run(act())
    bulk.print_retried(done, as_json=as_json)
    if ids and isinstance(done, BulkRetryView) and done.retried < done.matched:
        raise typer.Exit(FAILED)


@cli.command(rich_help_panel=JOBS)
def discard(ids: Annotated[list[str], typer.Argument(metavar="ID")], as_json: AsJson = False) -> None:
    """Drop failed jobs for good, and end those that wait."""
    from app.cli import asking, bulk
    from app.operations.views import BulkDiscardView

    async def act() -> tuple[BulkDiscardView, Sequence[str]]:
        async with asking.operations() as opened:
            return await bulk.discard_each(opened, asking.operator(), ids)

    done, faults = asking.run(act())
    bulk.print_discarded(done, as_json=as_json)
    for fault in faults:
        typer.echo(fault, err=True)
    if faults:
        raise typer.Exit(FAILED)


@cli.command(rich_help_panel=JOBS)
def purge(
    queue: Annotated[str, typer.Argument(metavar="QUEUE", help="default, notifications or subscriptions.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Discard everything that waits on a queue. What runs goes on, and what is in the outbox for later stays there."""
    from app.cli import asking, bulk
    from app.cli.filters import read_queue
    from app.operations.views import BulkDiscardView

    meant = read_queue(queue)

    async def act(*, dry_run: bool) -> BulkDiscardView:
        async with asking.operations() as opened:
            return await bulk.discard_waiting(opened, asking.operator(), meant, dry_run=dry_run)

    if not dry_run and not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("nobody is there to be asked; give --yes", param_hint="--yes")
        waiting = asking.run(act(dry_run=True)).discarded
        typer.confirm(f"Discard {waiting} jobs that wait on {meant}?", abort=True, err=True)
    bulk.print_discarded(asking.run(act(dry_run=dry_run)), as_json=as_json)
