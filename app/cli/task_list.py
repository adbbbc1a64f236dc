"""The list of tasks as a table and as the page docs/tasks.md."""

from typing import Any

from app.cli import output
from app.cli.output import Column
from app.jobs.task import Task, TaskRegistry
from app.operations.views import TaskView
from app.settings import OperationsSettings, SettingsFault
from app.tasks import TASKS
from app.tasks.schedules import tasks_by

COLUMNS = (
    Column("TASK"),
    Column("QUEUE"),
    Column("RETRIES", is_right=True),
    Column("LIMITS"),
    Column("ARGUMENTS"),
    Column("WHAT IT DOES"),
)


def print_table() -> None:
    rows = []
    for task in _known():
        soft, hard = (_minutes(limit.total_seconds()) for limit in (task.soft_time_limit, task.time_limit))
        arguments = ", ".join(_arguments(task))
        rows.append((task.name, task.queue, task.retry.retries, f"{soft}, {hard}", arguments, task.summary))
    output.print_table(COLUMNS, rows, empty="there is no task")


def views() -> list[TaskView]:
    """The same for scripts; limits in seconds."""
    return [TaskView.of(task) for task in _known()]


def _known() -> TaskRegistry:
    """With the schedules that this process's settings give them; without settings as they are declared."""
    try:
        return tasks_by(OperationsSettings())
    except SettingsFault:
        return TASKS


def task_page() -> str:
    """docs/tasks.md, in full."""
    lines = ["# Tasks", "", "Written by `make docs` from the tasks as they are declared in `app/tasks`.", ""]
    for task in TASKS:
        lines += _section(task)
    return "\n".join(lines)


def _section(task: Task[Any, Any]) -> list[str]:
    limits = (
        f"at most {task.retry.retries} retries; soft limit {_minutes(task.soft_time_limit.total_seconds())}, "
        f"hard limit {_minutes(task.time_limit.total_seconds())}"
    )
    shared = f"; {task.limit} in all workers" if task.limit else ""
    schedule = "" if task.schedule is None else f"; schedule `{task.schedule.crontab.expression}`"
    return [
        f"## `{task.name}`",
        "",
        task.summary,
        "",
        f"Queue `{task.queue}`; {limits}{shared}{schedule}.",
        "",
        *(f"- {argument}" for argument in _arguments(task)),
        "",
    ]


def _arguments(task: Task[Any, Any]) -> list[str]:
    return [
        name if field.is_required() else f"{name}={field.default!r}"
        for name, field in task.arguments.model.model_fields.items()
    ]


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:g} min"
