"""The list of tasks as a table and as the page docs/tasks.md."""

from typing import Any

from rich.console import Console
from rich.table import Table

from app.jobs.task import Task
from app.operations.views import TaskView
from app.tasks import TASKS


def print_table() -> None:
    table = Table()
    for column in ("Task", "Queue", "Retries", "Limits", "Arguments", "What it does"):
        table.add_column(column, overflow="fold")
    for task in TASKS:
        soft, hard = (_minutes(limit.total_seconds()) for limit in (task.soft_time_limit, task.time_limit))
        arguments = ", ".join(_arguments(task))
        table.add_row(task.name, task.queue, str(task.retry.retries), f"{soft}, {hard}", arguments, task.summary)
    Console().print(table)


def as_json() -> list[dict[str, Any]]:
    """The same for scripts, as the admin API gives it."""
    return [TaskView.of(task).model_dump(mode="json") for task in TASKS]


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
