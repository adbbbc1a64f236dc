"""Money and dates as customers read them, and as tasks and contexts take them.

Digits are 0 to 9 in Hindi too, as CLDR has them: customers read these on bank statements and phones, and a number is
then the same in a message, in its link and on the invoice.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Annotated

import babel
from babel.dates import format_date
from babel.numbers import format_currency, format_decimal
from pydantic import AfterValidator, BeforeValidator, Field, Strict, WithJsonSchema

from app.india import INDIA
from app.notify.content import Line
from app.notify.locales import Locale

# As each language is written in India.
_BABEL: Mapping[Locale, babel.Locale] = {locale: babel.Locale(locale, "IN") for locale in Locale}

_FREQUENCIES: Mapping[Locale, Mapping[str, str]] = {
    Locale.EN: {"daily": "Every day", "alternate_days": "Every other day", "weekly": "Every week"},
    Locale.HI: {"daily": "हर दिन", "alternate_days": "एक दिन छोड़कर", "weekly": "हर हफ़्ते"},
}

# A mail that names more of them nobody reads.
MOST_DATES = 100

# A midnight run formats a few prices and days a hundred thousand times; Babel takes as long as a template.
_remembered = lru_cache(maxsize=1024)


@_remembered
def rupees(amount: Decimal, locale: Locale = Locale.EN) -> str:
    """`₹1,00,000.00`, for mail."""
    return format_currency(amount, "INR", locale=_BABEL[locale])


@_remembered
def rupees_sms(amount: Decimal, locale: Locale = Locale.EN) -> str:
    """`Rs 1,00,000.00`: GSM-7 lacks the ₹, and one of them more than halves what fits in an SMS.

    Hindi is outside of GSM-7 anyway, and there it is the shortest.
    """
    if locale is Locale.HI:
        return rupees(amount, locale)
    return f"Rs {format_decimal(amount, '#,##,##0.00', locale=_BABEL[locale])}"


def how_often(frequency: str, locale: Locale = Locale.EN) -> str:
    """`Every day` for a label of the shop's `subscription_frequency`; words of the caller's own stay as they are."""
    return _FREQUENCIES[locale].get(frequency, frequency)


@_remembered
def counted(number: int) -> str:
    """`1,00,000`."""
    return format_decimal(number, "#,##,##0", locale=_BABEL[Locale.EN])


@_remembered
def long_date(day: date | str, locale: Locale = Locale.EN) -> str:
    """`5 March 2026`; words in a date's place stay as they are."""
    return day if isinstance(day, str) else format_date(day, "d MMMM y", locale=_BABEL[locale])


def days_briefly(days: Sequence[date], locale: Locale = Locale.EN) -> str:
    """`5 March 2026 and 3 more days`, where there is no room to name them all."""
    return long_date(days[0], locale) + _further(len(days) - 1, locale)


def days_sms(days: Sequence[date], locale: Locale = Locale.EN) -> str:
    """`5 March 2026`, `5 Mar 2026 and 3 more days`: 30 characters at most, as DLT has it."""
    if len(days) == 1:
        return long_date(days[0], locale)
    return format_date(days[0], "d MMM y", locale=_BABEL[locale]) + _further(len(days) - 1, locale)


def _further(number: int, locale: Locale) -> str:
    if number == 0:
        return ""
    if locale is Locale.HI:
        return f" और {number} अन्य दिन"
    return f" and {number} more day{'s' if number > 1 else ''}"


def _not_a_float(amount: object) -> object:
    if isinstance(amount, float):
        # pydantic takes only a ValueError for a fault of the argument.
        raise ValueError("is a float, which can't hold paise exactly: write '1234.50'")  # noqa: TRY004
    return amount


def _day_in_india(given: object) -> object:
    try:
        # A plain date becomes midnight UTC here, which is the same day in India.
        moment = datetime.fromisoformat(given) if isinstance(given, str) else given
        if not isinstance(moment, datetime):
            return given
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(INDIA).date()
    except (ValueError, OverflowError):
        # Python's own sentence would repeat the value.
        raise ValueError("must be a date such as 2026-03-05") from None


Rupees = Annotated[
    Decimal,
    BeforeValidator(_not_a_float),
    # What the shop's numeric(10,2) columns hold.
    Field(ge=0, max_digits=10, decimal_places=2, allow_inf_nan=False),
    AfterValidator(abs),  # "-0" would be shown with its minus
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}], "examples": ["1234.50"]}),
]
"""An amount of rupees, given as str, int or Decimal."""

RupeeTotal = Annotated[
    Decimal,
    BeforeValidator(_not_a_float),
    Field(max_digits=20, decimal_places=2, allow_inf_nan=False),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}], "examples": ["1234.50"]}),
]
"""What many amounts come to, which may be more than the shop's columns hold."""

CustomerDate = Annotated[date, Strict(), BeforeValidator(_day_in_india)]
"""A day in India, given as a date, a datetime (naive ones are UTC) or either as an ISO string."""

CustomerDates = Annotated[
    tuple[CustomerDate, ...],
    Field(min_length=1, max_length=MOST_DATES),
    AfterValidator(lambda days: tuple(sorted(set(days)))),
]
"""One or more days in India, in their order."""

ExpectedDelivery = Annotated[CustomerDate | Line, Field(union_mode="left_to_right")]
"""A `CustomerDate`, or words such as "within 2 days"."""
