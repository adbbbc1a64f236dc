"""The slots of schedules, against a clock that is looked at every minute."""

from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from arq.cron import cron, next_cron
from hypothesis import example, given
from hypothesis import strategies as st

from app.jobs.crontab import Crontab
from app.jobs.slots import next_slot, slots_between
from tests.clocks import minute_by_minute

BERLIN = ZoneInfo("Europe/Berlin")
# Moments at which clocks were changed, and ordinary ones.
MOMENTS = {
    "UTC": ["2024-02-28T20:00Z", "2026-12-31T12:00Z"],
    "Asia/Kolkata": ["2026-03-29T00:00Z"],
    "Europe/Berlin": ["2026-03-29T01:00Z", "2026-10-25T01:00Z"],
    "America/New_York": ["2026-03-08T07:00Z", "2026-11-01T06:00Z"],
    # Half an hour.
    "Australia/Lord_Howe": ["2026-10-03T15:30Z", "2026-04-04T15:00Z"],
    # The 30th of December 2011 never was.
    "Pacific/Apia": ["2011-12-30T10:00Z"],
    # From a minute past midnight back into the day before.
    "America/St_Johns": ["2009-11-01T02:31Z"],
    # Midnight never was.
    "America/Sao_Paulo": ["2018-11-04T03:00Z"],
}


async def nothing(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> None:
    """What the schedules of these tests run."""


def crontab(**fields: Any) -> Crontab:
    return Crontab.of(cron(nothing, **fields))


def at(time: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(time).replace(tzinfo=zone).astimezone(UTC)


@st.composite
def windows(draw: st.DrawFn) -> tuple[ZoneInfo, datetime, datetime]:
    """Two days or less, around a moment at which the zone's clocks were changed."""
    zone = draw(st.sampled_from(sorted(MOMENTS)))
    moment = datetime.fromisoformat(draw(st.sampled_from(MOMENTS[zone])))
    after = moment - timedelta(seconds=draw(st.integers(-7200, 24 * 3600)))
    return ZoneInfo(zone), after, after + timedelta(minutes=draw(st.integers(0, 48 * 60)))


def some(values: range) -> st.SearchStrategy[set[int]]:
    return st.sets(st.sampled_from(values), min_size=1)


times = st.fixed_dictionaries({}, optional={"hour": some(range(24)), "minute": some(range(60))})
moments = st.integers(1_700_000_000, 1_850_000_000).map(partial(datetime.fromtimestamp, tz=UTC))
days = st.fixed_dictionaries(
    {}, optional={"month": some(range(1, 13)), "day": some(range(1, 29)), "weekday": some(range(7))}
)


@given(times=times, days=days, window=windows())
@example(times={"hour": {2}, "minute": {30}}, days={}, window=(BERLIN, at("2026-03-28T12:00"), at("2026-03-29T12:00")))
@example(times={"minute": {30}}, days={}, window=(BERLIN, at("2026-10-24T12:00"), at("2026-10-25T12:00")))
def test_slots_are_what_a_clock_shows(
    times: dict[str, set[int]], days: dict[str, set[int]], window: tuple[ZoneInfo, datetime, datetime]
) -> None:
    zone, after, until = window
    fields = times | days

    slots = list(slots_between(crontab(**fields), after, until, zone))

    assert slots == list(minute_by_minute(fields, after, until, zone))


@given(times=times, days=days, second=some(range(60)), after=moments)
def test_without_changes_of_clocks_slots_are_where_arq_has_them(
    times: dict[str, set[int]], days: dict[str, set[int]], second: set[int], after: datetime
) -> None:
    fields: dict[str, Any] = times | days | {"second": second}
    expected = next_cron(after, **fields, microsecond=0)

    assert next_slot(crontab(**fields), after, ZoneInfo("UTC")) == expected


@given(times=times, window=windows())
def test_slots_go_on_where_they_were_left(
    times: dict[str, set[int]], window: tuple[ZoneInfo, datetime, datetime]
) -> None:
    zone, after, until = window
    whole = list(slots_between(crontab(**times), after, until, zone))

    one_by_one = [next_slot(crontab(**times), slot, zone) for slot in [after, *whole]]

    assert one_by_one[:-1] == whole
    assert one_by_one[-1] > until
    assert all(earlier < later for earlier, later in pairwise(one_by_one))


@pytest.mark.parametrize(
    ("fields", "day", "slots"),
    [
        ({"hour": 2, "minute": 30}, "2026-03-28", ["02:30+01:00"]),
        # 02:00 to 03:00 is skipped: at the moment of the change, once.
        ({"hour": 2, "minute": 30}, "2026-03-29", ["03:00+02:00"]),
        ({"hour": {2, 3}, "minute": {0, 30}}, "2026-03-29", ["03:00+02:00", "03:30+02:00"]),
        # 02:00 to 03:00 comes twice: the first time.
        ({"hour": 2, "minute": 30}, "2026-10-25", ["02:30+02:00"]),
        ({"hour": {2, 3}, "minute": 0}, "2026-10-25", ["02:00+02:00", "03:00+01:00"]),
    ],
)
def test_a_slot_is_due_once_whatever_becomes_of_the_clocks(fields: Any, day: str, slots: list[str]) -> None:
    found = slots_between(crontab(**fields), at(f"{day}T00:00"), at(f"{day}T23:59"), BERLIN)

    assert [slot.astimezone(BERLIN).isoformat() for slot in found] == [
        f"{day}T{slot[:5]}:00{slot[5:]}" for slot in slots
    ]


def test_what_runs_every_hour_runs_in_each_hour_that_passes() -> None:
    hourly = partial(slots_between, crontab(minute=15), timezone=BERLIN)

    assert len(list(hourly(at("2026-03-29T00:00"), at("2026-03-30T00:00")))) == 23
    assert len(list(hourly(at("2026-10-25T00:00"), at("2026-10-26T00:00")))) == 25


def test_a_day_that_never_was_has_its_slots_at_the_change() -> None:
    apia = ZoneInfo("Pacific/Apia")

    nine = crontab(hour=9, minute={0, 30})

    found = list(slots_between(nine, at("2011-12-29T12:00", apia), at("2011-12-31T12:00", apia), apia))

    assert found == [at(f"2011-12-31T{time}", apia) for time in ("00:00", "09:00", "09:30")]


def test_the_29th_of_february_on_a_monday_is_found_across_a_century() -> None:
    leap_monday = crontab(month=2, day=29, weekday="mon", hour=0, minute=0)

    assert next_slot(leap_monday, datetime(2072, 3, 1, tzinfo=UTC), ZoneInfo("UTC")) == datetime(
        2112, 2, 29, tzinfo=UTC
    )
