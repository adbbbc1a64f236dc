"""What an arq `cron(...)` says: the days and the times of day at which a clock on the wall matches."""

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Any

from arq.cron import CronJob
from arq.typing import WEEKDAYS

DAY = timedelta(days=1)
# The range of each field, the largest value included.
RANGES: Mapping[str, range] = MappingProxyType(
    {
        "month": range(1, 13),
        "day": range(1, 32),
        "weekday": range(7),
        "hour": range(24),
        "minute": range(60),
        "second": range(60),
    }
)
# Every combination of a date and a weekday comes round within so many years, in a century without an exception.
CALENDAR_CYCLE = (date(2000, 1, 1), date(2028, 1, 1))
# What arq's `cron()` takes beside the times, its default, and who says it here.
SAID_ELSEWHERE: Mapping[str, tuple[Any, str]] = MappingProxyType(
    {
        "run_at_startup": (False, "workers start at any time, and more than one of them"),
        "unique": (True, "a slot fires once, however many workers there are"),
        "job_id": (None, "each slot is a job of its own"),
        "timeout_s": (None, "the time limit is the task's"),
        "max_tries": (1, "retries are the task's"),
        "keep_result_s": (0, "how long results are kept is a setting"),
        "keep_result_forever": (False, "how long results are kept is a setting"),
    }
)


@dataclass(frozen=True)
class Crontab:
    """Matches where month, day of the month, weekday (0 is Monday) and time of day all do, as in arq.

    In a crontab file a day of the month and a weekday are alternatives; here, as in arq, both must match.
    """

    months: tuple[int, ...]
    days: tuple[int, ...]
    weekdays: tuple[int, ...]
    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: tuple[int, ...]

    @classmethod
    def of(cls, cron: CronJob) -> "Crontab":
        """What arq's object says. Raises ValueError where it makes no sense, or says what is not the schedule's."""
        for option, (default, reason) in SAID_ELSEWHERE.items():
            if getattr(cron, option) != default:
                raise ValueError(f"{option} can't be said in a schedule: {reason}")
        # It only moves arq's runs away from the top of the second, where slots are.
        if type(cron.microsecond) is not int or not 0 <= cron.microsecond < 1_000_000:
            raise ValueError(f"microsecond {cron.microsecond!r} is not from 0 to 999999")
        crontab = cls(*(_values(field, getattr(cron, field)) for field in RANGES))
        first, end = CALENDAR_CYCLE
        if not any(crontab.matches(first + DAY * number) for number in range((end - first).days)):
            raise ValueError(f"no day ever matches {crontab.expression}")
        return crontab

    @property
    def is_hourly(self) -> bool:
        """Whether every hour has its slots."""
        return len(self.hours) == 24

    @cached_property
    def expression(self) -> str:
        """In crontab's five fields, weekdays by their names; with a first field for seconds where there are any."""
        names = {index: name[:3] for index, name in enumerate(WEEKDAYS)}
        fields = [
            _field(self.minutes, "minute"),
            _field(self.hours, "hour"),
            _field(self.days, "day"),
            _field(self.months, "month"),
            _field(self.weekdays, "weekday", names),
        ]
        if self.seconds != (0,):
            fields.insert(0, _field(self.seconds, "second"))
        return " ".join(fields)

    def matches(self, day: date) -> bool:
        """Whether the day has slots."""
        return day.month in self.months and day.day in self.days and day.weekday() in self.weekdays

    def between(self, first: datetime, end: datetime) -> Iterator[datetime]:
        """The readings of a clock in [first, end) that match, ascending: naive, in whole seconds."""
        day = first.date()
        while day <= end.date():
            if self.matches(day):
                midnight = datetime.combine(day, time.min)
                begin = bisect_left(self._times, (first - midnight).total_seconds())
                until = bisect_left(self._times, (end - midnight).total_seconds())
                for index in range(begin, until):
                    yield midnight + timedelta(seconds=self._times[index])
            day += DAY

    @cached_property
    def _times(self) -> Sequence[int]:
        """The times of a day that match, in seconds since midnight."""
        return [
            hour * 3600 + minute * 60 + second
            for hour in self.hours
            for minute in self.minutes
            for second in self.seconds
        ]


def _values(field: str, given: object) -> tuple[int, ...]:
    if given is None:
        return tuple(RANGES[field])
    values: Collection[object] = given if isinstance(given, (set, frozenset, list, tuple)) else [given]
    if not values:
        raise ValueError(f"{field} is empty")
    return tuple(sorted({_value(field, value) for value in values}))


def _value(field: str, given: object) -> int:
    if field == "weekday" and isinstance(given, str) and given.lower() in WEEKDAYS:
        return WEEKDAYS.index(given.lower())
    # True is an int to Python, and no hour.
    if type(given) is not int or given not in RANGES[field]:
        allowed = f"from {RANGES[field][0]} to {RANGES[field][-1]}"
        if field == "weekday":
            allowed += f" or one of {', '.join(WEEKDAYS)}"
        raise ValueError(f"{field} {given!r} is not {allowed}")
    return given


def _field(values: Sequence[int], field: str, names: Mapping[int, str] = MappingProxyType({})) -> str:
    if len(values) == len(RANGES[field]):
        return "*"
    return ",".join(names.get(value, str(value)) for value in values)
