"""Queues, workers and schedules as tables."""

from collections.abc import Sequence
from datetime import timedelta

from app.cli import output
from app.cli.output import Column
from app.operations.explaining.wording import span
from app.operations.views import QueueView, ScheduleView, WorkerView

QUEUES = (
    Column("QUEUE"),
    Column("WAITING", is_right=True),
    Column("SCHEDULED", is_right=True),
    Column("RUNNING", is_right=True),
    Column("OLDEST WAIT", is_right=True),
    Column("STATE"),
)
WORKERS = (
    Column("WORKER"),
    Column("QUEUES (SLOTS)"),
    Column("RUNNING", is_right=True),
    Column("DONE", is_right=True),
    Column("FAILED", is_right=True),
    Column("STARTED (UTC)", is_optional=True),
    Column("MEMORY", is_right=True, is_optional=True),
    Column("STATE", is_optional=True),
    Column("JOBS", is_optional=True),
)
SCHEDULES = (
    Column("SCHEDULE"),
    Column("CRON"),
    Column("CLOCKS", is_optional=True),
    Column("NEXT RUN (UTC)"),
    Column("LAST RUN (UTC)"),
    Column("LAST", is_optional=True),
    Column("LAST JOB", is_optional=True),
    Column("STATE"),
)
# Of a worker that runs very many the first ones tell enough; `--json` has more.
MOST_JOBS_SHOWN = 3


def print_queues(queues: Sequence[QueueView], *, as_json: bool) -> None:
    if as_json:
        output.print_json(queues)
        return
    rows = [
        (
            queue.name,
            queue.waiting,
            queue.scheduled,
            queue.running,
            "" if queue.oldest_wait_seconds is None else span(timedelta(seconds=queue.oldest_wait_seconds)),
            "paused" if queue.paused else "open",
        )
        for queue in queues
    ]
    output.print_table(QUEUES, rows, empty="there is no queue")


def print_queue(queue: QueueView, *, as_json: bool) -> None:
    """As one object where it is for a script, as the admin API answers."""
    if as_json:
        output.print_json(queue)
    else:
        print_queues([queue], as_json=False)


def print_workers(workers: Sequence[WorkerView], *, as_json: bool) -> None:
    if as_json:
        output.print_json(workers)
        return
    rows = [
        (
            worker.id,
            ", ".join(f"{queue} ({slots})" for queue, slots in worker.slots.items()),
            len(worker.running),
            worker.done,
            worker.failed,
            output.time(worker.started_at),
            f"{worker.memory_bytes / 2**20:.0f} MiB",
            "ending" if worker.draining else "serving",
            _some(worker.running),
        )
        for worker in workers
    ]
    output.print_table(WORKERS, rows, empty="no worker is alive")


def print_schedules(schedules: Sequence[ScheduleView], *, as_json: bool) -> None:
    if as_json:
        output.print_json(schedules)
        return
    rows = [
        (
            schedule.name,
            schedule.cron,
            schedule.timezone,
            output.time(schedule.next_run_at),
            output.time(schedule.last_run_at),
            schedule.last_status or "",
            schedule.last_job_id or "",
            "paused" if schedule.paused else "on",
        )
        for schedule in schedules
    ]
    output.print_table(SCHEDULES, rows, empty="no task has a schedule")


def print_schedule(schedule: ScheduleView, *, as_json: bool) -> None:
    """As one object where it is for a script, as the admin API answers."""
    if as_json:
        output.print_json(schedule)
    else:
        print_schedules([schedule], as_json=False)


def _some(jobs: Sequence[str]) -> str:
    more = len(jobs) - MOST_JOBS_SHOWN
    return " ".join(jobs[:MOST_JOBS_SHOWN]) + (f" and {more} more" if more > 0 else "")
