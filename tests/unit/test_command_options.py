"""How times, lengths of time and arguments are written on the command line."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from typer import BadParameter

from app.cli.options import read_arguments, read_date, read_past, read_span, read_time
from app.tasks import TASKS


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("5min", 300), ("1h30m", 5400), ("2d", 172_800), ("0.5s", 0.5)]
)
def test_a_span_is_read(text: str, seconds: float) -> None:
    assert read_span(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "-5m", "5m!", "5x", "1e9d", "99999999w"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(BadParameter):
        read_span(text)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-03-05T08:00:00+05:30", datetime(2026, 3, 5, 2, 30, tzinfo=UTC)),
        ("2026-03-05T08:00", datetime(2026, 3, 5, 8, tzinfo=UTC)),
        ("2026-03-05 08:00Z", datetime(2026, 3, 5, 8, tzinfo=UTC)),
        ("2026-03-05", datetime(2026, 3, 5, tzinfo=UTC)),
    ],
)
def test_a_time_without_an_offset_is_utc(text: str, time: datetime) -> None:
    assert read_time(text) == read_past(text) == time


def test_the_past_may_be_told_by_how_long_ago_it_is() -> None:
    before = datetime.now(UTC)

    told = read_past("2h")

    assert timedelta(hours=2) - timedelta(minutes=1) < before - told <= timedelta(hours=2)


def test_a_day_is_one_of_this_century() -> None:
    assert [read_date(text) for text in ("2000-01-01", "2100-12-31")] == [date(2000, 1, 1), date(2100, 12, 31)]
    for text in ("1999-12-31", "2101-01-01", "0001-01-01", "9999-12-31"):
        with pytest.raises(BadParameter, match="is not between 2000-01-01 and 2100-12-31"):
            read_date(text)


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "08:00", ""])
def test_what_is_no_time_is_refused(text: str) -> None:
    for read in (read_time, read_past, read_date):
        with pytest.raises(BadParameter):
            read(text)


@pytest.mark.parametrize(
    ("task", "pairs", "arguments"),
    [
        ("cleanup_expired_carts", ["days_old=30", "dry_run=true"], {"days_old": 30, "dry_run": True}),
        # Text stays text, whatever it looks like.
        ("send_sms_task", ["phone=9812345678", "message=true"], {"phone": "9812345678", "message": "true"}),
        (
            "send_email_task",
            ["subject=a=b", "body=", "html_body=null"],
            {"subject": "a=b", "body": "", "html_body": None},
        ),
        (
            "send_templated_email_task",
            ["notification_type=password_reset", 'context={"reset_url": "https://x"}'],
            {"notification_type": "password_reset", "context": {"reset_url": "https://x"}},
        ),
        # That it does not fit is told where it is enqueued.
        ("cleanup_expired_carts", ["days_old=many", "colour=red"], {"days_old": "many", "colour": "red"}),
    ],
)
def test_arguments_are_read_by_the_tasks_schema(task: str, pairs: list[str], arguments: dict[str, Any]) -> None:
    assert read_arguments(pairs, None, TASKS[task].arguments.json_schema()) == arguments


def test_arguments_may_come_as_json_with_others_beside_it() -> None:
    schema = TASKS["send_sms_task"].arguments.json_schema()

    assert read_arguments(["message=hello"], '{"phone": "98"}', schema) == {"phone": "98", "message": "hello"}


@pytest.mark.parametrize(
    ("pairs", "as_json"),
    [(["phone"], None), (["=98"], None), (["phone=1", "phone=2"], None), ([], "{"), ([], "[1]"), (["a=1"], '{"a": 2}')],
)
def test_what_is_no_argument_is_refused(pairs: list[str], as_json: str | None) -> None:
    with pytest.raises(BadParameter):
        read_arguments(pairs, as_json, {})
