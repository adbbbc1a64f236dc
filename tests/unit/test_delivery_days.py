"""Which days may be planned, reminded of and asked about."""

from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.deliveries.days import (
    DateFarAhead,
    DateLongOver,
    DateNotCome,
    ensure_at_hand,
    ensure_begun,
    ensure_not_long_over,
)
from app.jobs.failures import WrongArguments
from app.jobs.queues import Queue
from app.jobs.task import Task
from app.tasks import TASKS

DAY = date(2026, 3, 2)
UTC_ZONE = ZoneInfo("UTC")
# Mails show whatever date they are given.
OF_A_DAY = [task for task in TASKS if "delivery_date" in task.arguments.names and task.queue is not Queue.NOTIFICATIONS]


@pytest.mark.parametrize(
    ("timezone", "now", "is_refused"),
    [
        ("UTC", "2026-03-01T23:59:59+00:00", True),
        ("UTC", "2026-03-02T00:00:00+00:00", False),
        ("Asia/Kolkata", "2026-03-01T18:29:59+00:00", True),
        ("Asia/Kolkata", "2026-03-01T18:30:00+00:00", False),
        ("America/New_York", "2026-03-02T00:00:00+00:00", False),
    ],
)
def test_a_day_that_has_not_begun_is_refused(timezone: str, now: str, is_refused: bool) -> None:
    sentence = "^the deliveries of 2026-03-02 can't be planned before that day has begun$"
    with pytest.raises(DateNotCome, match=sentence) if is_refused else nullcontext():
        ensure_begun(DAY, datetime.fromisoformat(now), ZoneInfo(timezone))


@pytest.mark.parametrize(
    ("timezone", "now", "is_refused"),
    [
        ("UTC", "2026-02-28T23:59:59+00:00", True),
        ("UTC", "2026-03-01T00:00:00+00:00", False),
        ("Asia/Kolkata", "2026-02-28T18:29:59+00:00", True),
        ("Asia/Kolkata", "2026-02-28T18:30:00+00:00", False),
        ("America/New_York", "2026-03-01T00:00:00+00:00", False),
    ],
)
def test_customers_are_reminded_of_no_day_later_than_tomorrow(timezone: str, now: str, is_refused: bool) -> None:
    sentence = "^customers can be reminded of the deliveries of 2026-03-02 from 2026-03-01 on$"
    with pytest.raises(DateFarAhead, match=sentence) if is_refused else nullcontext():
        ensure_at_hand(DAY, datetime.fromisoformat(now), ZoneInfo(timezone))


@pytest.mark.parametrize(("days", "is_refused"), [(31, False), (32, True)])
def test_a_day_that_is_long_over_is_refused(days: int, is_refused: bool) -> None:
    now = datetime(2026, 3, 2, 12, tzinfo=UTC) + timedelta(days=days)
    sentence = "^the deliveries of 2026-03-02 can't be planned any more: that can be done for 31 days$"
    with pytest.raises(DateLongOver, match=sentence) if is_refused else nullcontext():
        ensure_not_long_over(DAY, now, UTC_ZONE, 31)


@pytest.mark.parametrize("task", OF_A_DAY, ids=lambda task: task.name)
@pytest.mark.parametrize("day", ["0001-01-01", "1999-12-31", "2101-01-01", "9999-12-31"])
def test_no_job_is_made_for_a_day_that_nobody_means(task: Task[..., Any], day: str) -> None:
    others = {"subscription_id": 1, "look": 1}
    arguments = {name: others[name] for name in task.arguments.names if name in others}

    with pytest.raises(WrongArguments) as refused:
        task.arguments.payload((), {**arguments, "delivery_date": day})

    assert refused.value.faults == [("delivery_date", "is not between 2000-01-01 and 2100-12-31")]
    assert task.arguments.payload((), {**arguments, "delivery_date": "2100-12-31"})["delivery_date"] == "2100-12-31"


def test_these_are_the_tasks_of_a_day() -> None:
    assert {task.name for task in OF_A_DAY} == {
        "announce_debit",
        "follow_up_charge",
        "process_due_subscriptions",
        "process_single_subscription",
        "report_subscription_run",
        "send_subscription_renewal_reminders",
        "sweep_charges",
        "watch_subscription_run",
    }
