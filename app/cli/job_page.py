"""Jobs as people read them: a table of many, a page of one, and a line about an end."""

from collections.abc import Sequence
from datetime import datetime

import orjson
import typer
from rich.console import RenderableType
from rich.text import Text

from app.cli import output
from app.cli.group import FAILED
from app.cli.output import Column
from app.jobs.lookup import JobState
from app.operations.explaining import ExplainedJobView, ExplanationView
from app.operations.explaining.wording import span
from app.operations.views import JobView

COLUMNS = (
    Column("ID"),
    Column("TASK"),
    Column("STATUS"),
    Column("QUEUE", is_optional=True),
    Column("ENQUEUED (UTC)"),
    Column("TRIES", is_right=True, is_optional=True),
    Column("WAITED", is_right=True, is_optional=True),
    Column("RAN", is_right=True, is_optional=True),
    Column("ERROR", is_optional=True),
)


def print_jobs(jobs: Sequence[JobView], *, now: datetime) -> None:
    rows = [
        (
            job.id,
            job.task,
            job.status,
            job.queue,
            output.time(job.enqueued_at),
            job.tries if job.max_tries is None else f"{job.tries}/{job.max_tries}",
            _waited(job, now),
            _ran(job, now),
            "" if job.error is None else job.error.type,
        )
        for job in jobs
    ]
    output.print_table(COLUMNS, rows, empty="no job is so")


def _waited(job: JobView, now: datetime) -> str:
    started = job.started_at or (now if job.finished_at is None and not job.attempts else None)
    return "" if started is None else span(started - job.enqueued_at)


def _ran(job: JobView, now: datetime) -> str:
    return "" if job.started_at is None else span((job.finished_at or now) - job.started_at)


def print_job(job: ExplainedJobView) -> None:
    """All of it, and its explanation in full sentences."""
    head = Text.assemble((job.id, "bold"), f"  {job.task}  ", (job.status, output.STYLES.get(job.status, "")))
    output.show(head, *_facts(job), *_explanation(job.explanation))
    if job.error is not None and job.error.traceback:
        traceback = Text(job.error.traceback.rstrip(), style="dim")
        output.show(Text(), Text("Traceback", style="bold"), output.indented(traceback))


def _facts(job: ExplainedJobView) -> Sequence[Text]:
    facts = {
        "queue": job.queue.value,
        "enqueued": _time(job.enqueued_at),
        "to run": _time(job.run_at),
        "started": _time(job.started_at),
        "ended": _time(job.finished_at),
        "re-run of": job.retry_of,
        **{f"  {name}": _json(value) for name, value in job.kwargs.items()},
        "result": None if job.result is None else _json(job.result),
    }
    width = max(map(len, facts)) + 2
    return [Text.assemble((f"{title:<{width}}", "dim"), value) for title, value in facts.items() if value]


def _explanation(told: ExplanationView) -> Sequence[RenderableType]:
    chapters = {
        "Why there is one": [told.origin],
        "What happened": told.attempts,
        "How it stands": [told.because],
        "What comes next": [told.next],
        "Running it again": [told.rerun],
    }
    lines: list[RenderableType] = []
    for title, sentences in chapters.items():
        if sentences:
            lines += [Text(), Text(title, style="bold"), *(output.indented(Text(sentence)) for sentence in sentences)]
    return lines


def _time(at: datetime | None) -> str | None:
    return None if at is None else f"{output.time(at)} UTC"


def tell_enqueued(job: JobView, *, was_awaited: bool, as_json: bool) -> None:
    """Its id, or how it ended where that was waited for: unless it succeeded, the command failed."""
    if as_json:
        output.print_json(job)
    elif not was_awaited:
        typer.echo(job.id)
    elif job.finished_at is None:
        typer.echo(f"{job.id} is still {job.status}; it goes on: indostar job {job.id}", err=True)
    elif job.error is not None:
        typer.echo(f"{job.id} {job.status}: {job.error.type}: {job.error.message}", err=True)
    else:
        typer.echo(f"{job.id} {job.status}" + ("" if job.result is None else f": {_json(job.result)}"))
    if was_awaited and job.status is not JobState.SUCCEEDED:
        raise typer.Exit(FAILED)


def _json(value: object) -> str:
    return orjson.dumps(value, default=str).decode()
