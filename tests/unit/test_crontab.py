"""What is read from arq's cron objects, and what is refused."""

from typing import Any

import pytest
from arq.cron import cron

from app.jobs.crontab import Crontab


async def nothing(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> None:
    """What the schedules of these tests run."""


def crontab(**fields: Any) -> Crontab:
    return Crontab.of(cron(nothing, **fields))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"hour": 24}, "hour 24 is not from 0 to 23"),
        ({"minute": {0, 60}}, "minute 60 is not from 0 to 59"),
        ({"second": -1}, "second -1 is not from 0 to 59"),
        ({"day": 0}, "day 0 is not from 1 to 31"),
        ({"month": 13}, "month 13 is not from 1 to 12"),
        ({"month": True}, "month True is not"),
        ({"hour": "2"}, "hour '2' is not"),
        ({"hour": 2.0}, "hour 2.0 is not"),
        ({"hour": {2: 3}}, "hour {2: 3} is not"),
        ({"weekday": 7}, "weekday 7 is not from 0 to 6"),
        ({"weekday": "tue"}, "weekday 'tue' is not .* mon, tues, wed"),
        ({"minute": set()}, "minute is empty"),
        ({"microsecond": 1_000_000}, "microsecond 1000000 is not"),
        ({"month": 2, "day": 30}, r"no day ever matches \* \* 30 2 \*"),
        ({"month": {4, 6, 9, 11}, "day": 31}, "no day ever matches"),
        ({"run_at_startup": True}, "run_at_startup can't be said"),
        ({"unique": False}, "unique can't be said"),
        ({"job_id": "one"}, "job_id can't be said"),
        ({"timeout": 5}, "timeout_s can't be said"),
        ({"max_tries": 3}, "max_tries can't be said"),
        ({"keep_result": 5}, "keep_result_s can't be said"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        crontab(**fields)


@pytest.mark.parametrize(
    ("fields", "expression"),
    [
        ({}, "* * * * *"),
        ({"hour": 2, "minute": 0}, "0 2 * * *"),
        ({"minute": {30, 0}, "hour": [9, 8], "day": (1,), "month": 2}, "0,30 8,9 1 2 *"),
        # arq counts weekdays from Monday, crontab from Sunday: names mean the same to both.
        ({"hour": 0, "minute": 0, "weekday": 0}, "0 0 * * mon"),
        ({"hour": 0, "minute": 0, "weekday": {"Tues", "sun"}}, "0 0 * * tue,sun"),
        ({"second": {0, 30}}, "0,30 * * * * *"),
        ({"second": None}, "* * * * * *"),
        ({"month": 2, "day": 29, "weekday": "mon"}, "* * 29 2 mon"),
    ],
)
def test_an_expression_says_it_as_a_crontab_does(fields: dict[str, Any], expression: str) -> None:
    assert crontab(**fields).expression == expression


def test_two_ways_to_say_it_are_the_same() -> None:
    assert crontab(hour=set(range(24)), minute=5) == crontab(minute=[5])
