"""Waiting for a job's end, with its progress shown to whoever sits at a terminal."""

import asyncio
from datetime import timedelta

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from app.cli import output
from app.jobs.lookup import JobState
from app.jobs.outage import REDIS_DOWN
from app.operations import Operations, Role
from app.operations.views import JobView

LOOK_EVERY = 0.2
ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


async def is_anybody_at_work(opened: Operations) -> bool:
    """Whether a worker is alive, as far as Redis can tell: workers keep history up."""
    try:
        return bool(await opened.workers.all())
    except REDIS_DOWN:
        return False


def progress_bar() -> Progress:
    """On stderr, and only where that is a terminal."""
    out = output.console(err=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
    return Progress(*columns, TimeElapsedColumn(), console=out, transient=True, disable=not out.is_terminal)


async def until_ended(opened: Operations, job: JobView, at_most: timedelta | None = None) -> JobView:
    """The job once it has ended, or as it stands when the time is over. Says so where nobody is there to run it."""
    await _say_if_nobody_serves(opened, job)
    with progress_bar() as bar:
        shown = bar.add_task(job.task, total=None, told="")
        try:
            async with asyncio.timeout(None if at_most is None else at_most.total_seconds()):
                while job.status not in ENDED:
                    await asyncio.sleep(LOOK_EVERY)
                    job = await opened.jobs.find(job.id, Role.OPERATOR)
                    _show(bar, shown, job)
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            typer.echo(f"it goes on: indostar job {job.id}", err=True)
            raise
    return job


def _show(bar: Progress, shown: TaskID, job: JobView) -> None:
    progress = job.progress
    if progress is None:
        bar.update(shown, told=job.status.value)
        return
    of = "" if progress.total is None else f" of {progress.total}"
    told = f"{progress.done}{of} {progress.message or ''}".rstrip()
    bar.update(shown, completed=progress.done, total=progress.total, told=told)


async def _say_if_nobody_serves(opened: Operations, job: JobView) -> None:
    workers = await opened.workers.all()
    if not any(job.queue in worker.queues for worker in workers):
        typer.echo(
            f"no worker that is alive serves the queue {job.queue}: the job waits for one "
            f"(indostar worker --queues {job.queue})",
            err=True,
        )
    [queue] = [queue for queue in await opened.queues.all() if queue.name is job.queue]
    if queue.paused:
        typer.echo(f"the queue {job.queue} is paused: the job waits (indostar resume {job.queue})", err=True)
