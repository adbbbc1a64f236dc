"""The days of deliveries: which today is, when one is over where the milk is brought, and which may be asked about."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from pydantic import AfterValidator

from app.errors import Refused
from app.india import INDIA

ONE_DAY: Final = timedelta(days=1)
# What people may ask about: days beyond these are slips, and the last ones of the calendar have no day after them.
FIRST_DAY: Final = date(2000, 1, 1)
LAST_DAY: Final = date(2100, 12, 31)


class DateNotCome(Refused):
    """The day has not begun where the shop is; planning it now would call the days before it missed."""

    def __init__(self, day: date) -> None:
        super().__init__(day)
        self.day = day

    def __str__(self) -> str:
        return f"the deliveries of {self.day} can't be planned before that day has begun"


class DateLongOver(Refused):
    """The day was so long ago that nobody can mean it."""

    def __init__(self, day: date, days: int) -> None:
        super().__init__(day, days)
        self.day = day
        self.days = days

    def __str__(self) -> str:
        return f"the deliveries of {self.day} can't be planned any more: that can be done for {self.days} days"


class DateFarAhead(Refused):
    """Customers would be told days before of what may change until then; or the date is a slip."""

    def __init__(self, day: date) -> None:
        super().__init__(day)
        self.day = day

    def __str__(self) -> str:
        return f"customers can be reminded of the deliveries of {self.day} from {self.day - ONE_DAY} on"


def _as_days_go(day: date) -> date:
    if not FIRST_DAY <= day <= LAST_DAY:
        raise ValueError(f"is not between {FIRST_DAY} and {LAST_DAY}")
    return day


DeliveryDay = Annotated[date, AfterValidator(_as_days_go)]
"""A day that somebody may mean."""


def today() -> date:
    """In UTC, as a task takes it that is given no date."""
    return datetime.now(UTC).date()


def end_of_day(day: date) -> datetime:
    """Midnight after it: from then on nobody is charged for a delivery of that day who was not before."""
    return datetime.combine(day + ONE_DAY, time(), INDIA)


def ensure_begun(day: date, now: datetime, timezone: ZoneInfo) -> None:
    """Raises DateNotCome where the day has begun neither in UTC nor on the schedules' clocks."""
    if day > latest_day(now, timezone):
        raise DateNotCome(day)


def ensure_not_long_over(day: date, now: datetime, timezone: ZoneInfo, days: int) -> None:
    """Raises DateLongOver where the day was more than so many days ago."""
    if day < latest_day(now, timezone) - timedelta(days=days):
        raise DateLongOver(day, days)


def ensure_at_hand(day: date, now: datetime, timezone: ZoneInfo) -> None:
    """Raises DateFarAhead where the day is later than tomorrow, both in UTC and on the schedules' clocks."""
    if day > latest_day(now, timezone) + ONE_DAY:
        raise DateFarAhead(day)


def latest_day(now: datetime, timezone: ZoneInfo) -> date:
    """The latest that has begun in UTC or on the schedules' clocks: where these are ahead it is tomorrow already."""
    return max(now.astimezone(UTC).date(), now.astimezone(timezone).date())
