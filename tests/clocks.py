"""A calendar by brute force, to compare schedules with."""

from collections.abc import Iterator, Mapping, Set
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)


def on_the_clock(fields: Mapping[str, Set[int]], reading: datetime) -> bool:
    shown = {
        "month": reading.month,
        "day": reading.day,
        "weekday": reading.weekday(),
        "hour": reading.hour,
        "minute": reading.minute,
    }
    return all(shown[field] in values for field, values in fields.items())


def minute_by_minute(
    fields: Mapping[str, Set[int]], after: datetime, until: datetime, zone: ZoneInfo
) -> Iterator[datetime]:
    """The slots as somebody finds them who looks at the clock every minute and remembers what it showed."""
    is_hourly = len(fields.get("hour", range(24))) == 24
    # Long enough to know every reading that can be repeated.
    now = (after - timedelta(days=2)).replace(second=0, microsecond=0)
    reading = now.astimezone(zone).replace(tzinfo=None)
    seen = set()
    while now <= until:
        before, reading = reading, now.astimezone(zone).replace(tzinfo=None)
        due = [reading] if is_hourly or reading not in seen else []
        while not is_hourly and (before := before + MINUTE) < reading:
            due.append(before)
        if now > after and any(on_the_clock(fields, each) for each in due):
            yield now
        seen.add(reading)
        now += MINUTE
