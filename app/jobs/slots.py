"""When a schedule is due: its slots, in any timezone and on nights when clocks are changed.

A slot in an hour that is skipped is due at the moment of the change, and several of them are one; in an hour that is
repeated it is due the first time. A schedule of every hour goes by what clocks show: it has nothing to make up for in
an hour that is skipped, and is due in a repeated one as in any other.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from app.jobs.crontab import DAY, Crontab

SECOND = timedelta(seconds=1)
# No clock was ever changed by more than a day. Source: the tz database (Pacific/Apia in 2011, Asia/Manila in 1844).
LONGEST_CHANGE = timedelta(days=1)
# The 29th of February on a Monday, across a century without a leap day.
LONGEST_GAP = timedelta(days=366 * 41)


def next_slot(crontab: Crontab, after: datetime, timezone: ZoneInfo) -> datetime:
    """The first slot after that time, in UTC."""
    return next(slots_between(crontab, after, after + LONGEST_GAP, timezone))


def slots_between(crontab: Crontab, after: datetime, until: datetime, timezone: ZoneInfo) -> Iterator[datetime]:
    """The slots in (after, until], ascending, in UTC and whole seconds."""
    # Clocks show no fractions: the next reading after 02:00:00.5 is 02:00:01.
    earliest = after.astimezone(UTC).replace(microsecond=0) + SECOND
    last: datetime | None = None
    # Up to where clocks have been seen; from before `after`, since what they show then may be a repetition.
    shown: datetime | None = None
    for begins, ends, offset in _stretches(earliest - LONGEST_CHANGE - DAY, timezone):
        if begins > until:
            return
        first, end = _reading(begins, offset), _reading(ends, offset)
        # What was skipped lies before this stretch's first reading, what is repeated comes after it.
        since = first if crontab.is_hourly or shown is None else shown
        if begins < earliest:
            since = max(since, _reading(earliest, offset))
        for reading in crontab.between(since, end):
            slot = max(reading.replace(tzinfo=UTC) - offset, begins)
            if slot > until:
                return
            if slot != last:
                yield slot
            last = slot
        shown = end if shown is None else max(shown, end)


def _stretches(since: datetime, timezone: ZoneInfo) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """The time from `since` on in stretches of a day at most, cut where clocks are changed: begin, end, UTC offset."""
    begins = since
    while True:
        offset = _offset(begins, timezone)
        ends = begins + DAY
        if _offset(ends, timezone) != offset:
            ends = _change(begins, ends, timezone)
        yield begins, ends, offset
        begins = ends


def _change(before: datetime, after: datetime, timezone: ZoneInfo) -> datetime:
    """The first second between the two at which clocks are not what they were before."""
    offset = _offset(before, timezone)
    while after - before > SECOND:
        middle = before + timedelta(seconds=(after - before) // SECOND // 2)
        if _offset(middle, timezone) == offset:
            before = middle
        else:
            after = middle
    return after


def _offset(at: datetime, timezone: ZoneInfo) -> timedelta:
    return at.astimezone(timezone).replace(tzinfo=UTC) - at


def _reading(at: datetime, offset: timedelta) -> datetime:
    return (at + offset).replace(tzinfo=None)
