"""Which jobs are meant, in the words of the command line."""

from datetime import datetime

import typer

from app.history.reader import JobFilter
from app.jobs.failures import UnknownQueue
from app.jobs.lookup import JobState
from app.jobs.queues import Queue, queue_by_key


def job_filter(
    *,
    status: str | None = None,
    queue: str | None = None,
    task: str | None = None,
    q: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> JobFilter:
    """Raises BadParameter for a status or a queue that there is none of."""
    return JobFilter(
        status=None if status is None else read_status(status),
        queue=None if queue is None else read_queue(queue),
        task=task,
        q=q,
        since=since,
        until=until,
    )


def read_status(name: str) -> JobState:
    try:
        return JobState(name)
    except ValueError:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(JobState)}", param_hint="--status") from None


def read_queue(name: str) -> Queue:
    """The queue of that name, or with that key in Redis."""
    try:
        return queue_by_key(name)
    except UnknownQueue:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(Queue)}", param_hint="queue") from None
