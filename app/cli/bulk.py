"""Doing something about many jobs: how far it is, and what came of it."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import typer

from app.cli import output, watching
from app.cli.output import Column
from app.history.reader import JobFilter
from app.jobs.lookup import JobState
from app.jobs.queues import Queue
from app.letters.letter import LeftOut, NotALetter
from app.operations import Actor, Operations
from app.operations.failures import NoSuchJob
from app.operations.views import BulkDiscardView, BulkRetryView, RerunView, RetriedJobView

RERUNS = (Column("ID"), Column("AGAIN AS"), Column("CAN STILL"), Column("LEFT OUT"), Column("TASK", is_optional=True))
WAITING = (JobState.QUEUED, JobState.SCHEDULED, JobState.RETRYING)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows how many of how many jobs that were looked at it was done to."""
    with watching.progress_bar() as bar:
        shown = bar.add_task(what, total=None, told="")

        def tell(done: int, matched: int) -> None:
            bar.update(shown, told=f"{done} of {matched}")

        yield tell


async def resend_each(opened: Operations, actor: Actor, ids: Sequence[str]) -> BulkRetryView:
    """Begins each anew, one by one: `resend` is a decision about one message."""
    items = []
    left_out: Counter[str] = Counter()
    can: Counter[str] = Counter()
    for job_id in dict.fromkeys(ids):
        try:
            job = await opened.jobs.retry(actor, job_id, resend=True)
        except (NoSuchJob, NotALetter) as error:
            reason = _reason(error)
            left_out[reason] += 1
            items.append(RerunView(id=job_id, task=None, can="nothing", retried_as=None, left_out=reason))
            continue
        can[job.can] += 1
        items.append(RerunView(id=job_id, task=job.task, can=job.can, retried_as=job.id, left_out=None))
    return BulkRetryView(
        matched=len(items), retried=can.total(), dry_run=False, can=dict(can), left_out=dict(left_out), items=items
    )


async def discard_each(opened: Operations, actor: Actor, ids: Sequence[str]) -> tuple[BulkDiscardView, Sequence[str]]:
    """What came of it, and the reasons why some are not discarded, in words."""
    left_out: Counter[str] = Counter()
    faults: list[str] = []
    wanted = list(dict.fromkeys(ids))
    with counting("discarded") as tell:
        for number, job_id in enumerate(wanted, start=1):
            try:
                await opened.jobs.discard(actor, job_id)
            except (NoSuchJob, NotALetter) as error:
                left_out[_reason(error)] += 1
                faults.append(str(error))
            tell(number - len(faults), number)
    discarded = len(wanted) - len(faults)
    return BulkDiscardView(matched=len(wanted), discarded=discarded, dry_run=False, left_out=dict(left_out)), faults


async def discard_waiting(opened: Operations, actor: Actor, queue: Queue, *, dry_run: bool) -> BulkDiscardView:
    """All that waits on the queue, whatever it waits for."""
    matched = discarded = 0
    left_out: Counter[str] = Counter()
    with counting("discarded") as tell:

        def go_on(done: int, of: int) -> None:
            tell(discarded + done, matched + of)

        for status in WAITING:
            wanted = JobFilter(status=status, queue=queue)
            done = await opened.jobs.discard_many(actor, wanted, dry_run=dry_run, tell=go_on)
            matched += done.matched
            discarded += done.discarded
            left_out.update(done.left_out)
    return BulkDiscardView(matched=matched, discarded=discarded, dry_run=dry_run, left_out=dict(left_out))


def print_retried(done: BulkRetryView | RetriedJobView, *, as_json: bool) -> None:
    if as_json:
        output.print_json(done)
        return
    if isinstance(done, RetriedJobView):
        typer.echo(done.id)
        typer.echo(f"runs again {done.retry_of} as {done.id}; it can still: {done.can}", err=True)
        return
    rows = [(item.id, item.retried_as, item.can, item.left_out, item.task) for item in done.items]
    output.print_table(RERUNS, rows, empty="no job is so")
    did = "would run again" if done.dry_run else "ran again"
    typer.echo(f"{did} {done.retried} of {done.matched}{_reasons(done.left_out)}", err=True)


def print_discarded(done: BulkDiscardView, *, as_json: bool) -> None:
    if as_json:
        output.print_json(done)
        return
    did = "would discard" if done.dry_run else "discarded"
    typer.echo(f"{did} {done.discarded} of {done.matched}{_reasons(done.left_out)}")


def _reasons(left_out: dict[str, int]) -> str:
    return "".join(f"; {count}: {reason}" for reason, count in left_out.items())


def _reason(error: NoSuchJob | NotALetter) -> str:
    return (error.reason if isinstance(error, NotALetter) else LeftOut.NO_SUCH_JOB).value
