"""When the day of a delivery is over where the milk is brought."""

from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

INDIA: Final = ZoneInfo("Asia/Kolkata")
# What people may ask about: days beyond these are slips, and the last ones of the calendar have no day after them.
FIRST_DAY: Final = date(2000, 1, 1)
LAST_DAY: Final = date(2100, 12, 31)


def end_of_day(day: date) -> datetime:
    """Midnight after it: from then on nobody is charged for a delivery of that day who was not before."""
    return datetime.combine(day + timedelta(days=1), time(), INDIA)
