"""A task's schedule as it is declared: when it is due, how late it may start, and what the task is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from arq.cron import CronJob

from app.jobs.arguments import TaskArguments
from app.jobs.crontab import Crontab

# How late the latest slot that was missed may still start, where a task does not say.
CATCH_UP = timedelta(hours=24)
# Arguments that stand for the day a task works for.
DATES = ("delivery_date", "date")


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a task runs by itself. `catch_up` is how late it may start where nothing ran at its time.

    `date_argument` names the argument that takes the slot's date, None where the task has none.
    """

    cron: CronJob
    crontab: Crontab
    catch_up: timedelta
    date_argument: str | None

    @classmethod
    def declared(cls, cron: CronJob, catch_up: timedelta, arguments: TaskArguments) -> "Schedule":
        """Raises ValueError, naming the task, where the schedule makes no sense or can't start the task."""
        fields = arguments.model.model_fields
        date_argument = next((name for name in DATES if name in fields), None)
        try:
            crontab = Crontab.of(cron)
        except ValueError as error:
            raise ValueError(f"the schedule of {arguments.task}: {error}") from None
        if catch_up < timedelta(0):
            raise ValueError(f"the schedule of {arguments.task}: catch_up {catch_up} is negative")
        needed = [name for name, field in fields.items() if field.is_required() and name != date_argument]
        if needed:
            raise ValueError(f"the schedule of {arguments.task}: nobody gives it {', '.join(needed)}")
        return cls(cron, crontab, catch_up, date_argument)

    def kwargs(self, day: date) -> Mapping[str, Any]:
        """The arguments of the job that works for that day, as JSON holds them."""
        return {} if self.date_argument is None else {self.date_argument: day.isoformat()}
