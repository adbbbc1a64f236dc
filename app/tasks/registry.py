"""The one list of tasks: `@task(...)` puts a function on it."""

from app.jobs.task import TaskRegistry

TASKS = TaskRegistry()
task = TASKS.task
