"""`indostar enqueue`, `jobs`, `job`, `abort`."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from app.cli.group import cli
from app.cli.options import JOBS, AsJson, read_arguments, read_past, read_span, read_time

JobIdArgument = Annotated[str, typer.Argument(metavar="ID", show_default=False)]
Status = Annotated[
    str | None,
    typer.Option(help="queued, scheduled, running, retrying, succeeded, failed or cancelled.", show_default=False),
]
QueueOption = Annotated[str | None, typer.Option("--queue", help="default, notifications or subscriptions.")]
TaskOption = Annotated[str | None, typer.Option("--task", help="A task's name.")]
Since = Annotated[
    datetime | None,
    typer.Option(parser=read_past, metavar="TIME", help="Enqueued at or after: a time, or 2h for two hours ago."),
]
Until = Annotated[datetime | None, typer.Option(parser=read_past, metavar="TIME", help="Enqueued before: likewise.")]


@cli.command(rich_help_panel=JOBS)
def enqueue(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task's name; `indostar tasks` lists them.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="NAME=VALUE", help="The task's arguments.", show_default=False)
    ] = None,
    json_args: Annotated[str | None, typer.Option(help="The arguments as a JSON object.", metavar="JSON")] = None,
    delay: Annotated[
        timedelta | None, typer.Option("--in", parser=read_span, metavar="SPAN", help="Run it later, as in 5m.")
    ] = None,
    at: Annotated[datetime | None, typer.Option("--at", parser=read_time, metavar="TIME", help="Run it then.")] = None,
    job_id: Annotated[str | None, typer.Option("--id", help="An id of your own, at most once.")] = None,
    queue: QueueOption = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end; exit code 1 if it did not succeed.")] = False,
    timeout: Annotated[
        timedelta | None, typer.Option(parser=read_span, metavar="SPAN", help="How long to wait, as in 10m.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Enqueue a job of a task."""
    if delay is not None and at is not None:
        raise typer.BadParameter("goes not with --at", param_hint="--in")
    from app.cli import asking, job_page, watching
    from app.cli.filters import read_queue
    from app.operations.views import JobView

    named = None if queue is None else read_queue(queue)

    async def act() -> JobView:
        async with asking.operations() as opened:
            kwargs = read_arguments(arguments or (), json_args, opened.pool.tasks[task].arguments.json_schema())
            job = await opened.jobs.enqueue(
                asking.operator(), task, kwargs, run_at=at, delay=delay, job_id=job_id, queue=named
            )
            return await watching.until_ended(opened, job, timeout) if wait else job

    job_page.tell_enqueued(asking.run(act()), was_awaited=wait, as_json=as_json)


@cli.command(rich_help_panel=JOBS)
def jobs(
    status: Status = None,
    queue: QueueOption = None,
    task: TaskOption = None,
    q: Annotated[
        str | None,
        typer.Option("--q", help="An id, the first one of a line of re-runs, or what a visible argument says."),
    ] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, newest first.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on where a page ended (`next_cursor`).")] = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    from app.cli import asking, job_page, output, watching
    from app.cli.filters import job_filter
    from app.operations.views import JobPageView, JobView

    wanted = job_filter(status=status, queue=queue, task=task, q=q, since=since, until=until)

    async def ask() -> tuple[JobPageView, bool]:
        found: list[JobView] = []
        async with asking.operations() as opened:
            page = await opened.jobs.page(wanted, asking.operator().role, limit=limit, cursor=cursor)
            found += page.items
            while page.next_cursor is not None and len(found) < limit:
                page = await opened.jobs.page(
                    wanted, asking.operator().role, limit=limit - len(found), cursor=page.next_cursor
                )
                found += page.items
            is_kept_up = as_json or await watching.is_anybody_at_work(opened)
        return JobPageView(items=found, next_cursor=page.next_cursor), is_kept_up

    page, is_kept_up = asking.run(ask())
    if as_json:
        output.print_json(page)
        return
    job_page.print_jobs(page.items, now=datetime.now(UTC))
    if not is_kept_up:
        typer.echo("no worker is alive, by whom the list is kept up: it may be out of date", err=True)
    if page.next_cursor is not None:
        typer.echo(f"There are more: --cursor {page.next_cursor}", err=True)


@cli.command(rich_help_panel=JOBS)
def job(job_id: JobIdArgument, as_json: AsJson = False) -> None:
    """Show a job and explain it: why there is one, what happened, why it waits, what comes next."""
    from app.cli import asking, job_page, output
    from app.operations.explaining import ExplainedJobView

    async def ask() -> ExplainedJobView:
        async with asking.operations() as opened:
            return await opened.explainer.view(job_id, asking.operator().role)

    explained = asking.run(ask())
    if as_json:
        output.print_json(explained)
    else:
        job_page.print_job(explained)


@cli.command(rich_help_panel=JOBS)
def abort(job_id: JobIdArgument, as_json: AsJson = False) -> None:
    """End a job that waits or runs; a worker does so within a second."""
    from app.cli import asking, output
    from app.operations.views import JobView

    async def act() -> JobView:
        async with asking.operations() as opened:
            return await opened.jobs.abort(asking.operator(), job_id)

    aborted = asking.run(act())
    if as_json:
        output.print_json(aborted)
    else:
        typer.echo(f"{aborted.id} {'is about to end' if aborted.finished_at is None else 'has ended'}")
