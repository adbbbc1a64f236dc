import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.notify.formats import (
    MOST_DATES,
    CustomerDate,
    ExpectedDelivery,
    Rupees,
    days_sms,
    long_date,
    rupees,
    rupees_sms,
)
from app.notify.locales import Locale

VECTORS = json.loads((Path(__file__).parents[1] / "contracts/vectors/india_formats.json").read_text())
AMOUNT: TypeAdapter[Decimal] = TypeAdapter(Rupees)
DAY: TypeAdapter[date] = TypeAdapter(CustomerDate)
EXPECTED: TypeAdapter[date | str] = TypeAdapter(ExpectedDelivery)

paise = st.integers(0, 99_999_999_99)


@pytest.mark.parametrize(("total_paise", "expected"), VECTORS["paise_to_inr"])
def test_rupees_are_grouped_as_in_india(total_paise: int, expected: str) -> None:
    amount = Decimal(total_paise) / 100

    assert rupees(amount) == expected
    assert rupees_sms(amount) == expected.replace("-₹", "Rs -").replace("₹", "Rs ")


@given(paise)
def test_formatted_rupees_hold_every_paisa(total_paise: int) -> None:
    amount = Decimal(total_paise) / 100

    assert Decimal(rupees(amount).removeprefix("₹").replace(",", "")) == amount
    assert Decimal(rupees_sms(amount).removeprefix("Rs ").replace(",", "")) == amount
    assert rupees_sms(amount).isascii()


@given(paise)
def test_an_amount_is_the_same_as_str_int_or_decimal(total_paise: int) -> None:
    amount = Decimal(total_paise) / 100

    assert AMOUNT.validate_python(str(amount)) == amount
    assert AMOUNT.validate_python(amount) == amount
    assert AMOUNT.validate_python(total_paise // 1000) == total_paise // 1000
    assert AMOUNT.validate_json(AMOUNT.dump_json(amount)) == amount


@pytest.mark.parametrize(
    "amount",
    [
        12.5,
        True,
        None,
        "",
        "1,000.00",
        "₹5",
        "NaN",
        "sNaN",
        "Infinity",
        "-1",
        -1,
        "1.005",
        "100000000",
        pytest.param(10**5000, id="more digits than Python prints"),
        "1e999999999",
        "1e-999999999",
        Decimal("NaN"),
    ],
)
def test_what_is_not_an_exact_amount_is_refused(amount: object) -> None:
    with pytest.raises(ValidationError):
        AMOUNT.validate_python(amount)


def test_a_float_from_json_is_refused_with_what_to_write_instead() -> None:
    with pytest.raises(ValidationError, match=r"write '1234\.50'"):
        AMOUNT.validate_json("1234.5")


def test_minus_nothing_is_nothing() -> None:
    assert str(AMOUNT.validate_python("-0.00")) == "0.00"


@pytest.mark.parametrize(
    ("given_as", "day"),
    [
        ("2026-03-05", date(2026, 3, 5)),
        (date(2026, 3, 5), date(2026, 3, 5)),
        ("2026-03-05T18:29:59Z", date(2026, 3, 5)),
        ("2026-03-05T18:30:00Z", date(2026, 3, 6)),
        ("2026-03-05 18:30:00", date(2026, 3, 6)),
        (datetime(2026, 3, 5, 18, 30), date(2026, 3, 6)),  # noqa: DTZ001 -- the shop's naive UTC
        (datetime(2026, 3, 5, 18, 29, tzinfo=UTC), date(2026, 3, 5)),
        (datetime(2026, 3, 6, 3, 0, tzinfo=timezone(timedelta(hours=9))), date(2026, 3, 5)),
    ],
)
def test_a_day_is_the_day_in_india(given_as: object, day: date) -> None:
    assert DAY.validate_python(given_as) == day


@given(st.dates())
def test_a_day_survives_the_queue(day: date) -> None:
    assert DAY.validate_json(DAY.dump_json(day)) == day


@pytest.mark.parametrize(
    "given_as", ["", "tomorrow", "5/3/2026", "2026-02-30", 20260305, 1772668800, True, None, "9999-12-31T20:00:00Z"]
)
def test_what_is_not_a_day_is_refused(given_as: object) -> None:
    with pytest.raises(ValidationError):
        DAY.validate_python(given_as)


def test_a_date_is_written_out() -> None:
    assert long_date(date(2026, 3, 5)) == "5 March 2026"
    assert long_date(date(2026, 3, 5), Locale.HI) == "5 मार्च 2026"


@given(paise)
def test_rupees_in_hindi_are_grouped_and_have_the_digits_that_everybody_reads(total_paise: int) -> None:
    amount = Decimal(total_paise) / 100

    assert rupees(amount, Locale.HI) == rupees_sms(amount, Locale.HI) == rupees(amount)


@pytest.mark.parametrize("locale", Locale)
@given(first=st.dates(), others=st.integers(0, MOST_DATES - 1))
@example(first=date(2026, 9, 30), others=MOST_DATES - 1)
@example(first=date(2026, 10, 30), others=MOST_DATES - 1)
def test_days_fit_a_variable_of_a_registered_sms(locale: Locale, first: date, others: int) -> None:
    words = days_sms([first] * (1 + others), locale)

    assert len(words) <= 30
    assert words.startswith(f"{first.day} ")
    assert not others or str(others) in words


def test_an_expected_delivery_is_a_date_or_words() -> None:
    assert long_date(EXPECTED.validate_python("2026-03-05")) == "5 March 2026"
    assert long_date(EXPECTED.validate_python(" within\n2 days ")) == "within 2 days"
    with pytest.raises(ValidationError):
        EXPECTED.validate_python("")
    with pytest.raises(ValidationError):
        EXPECTED.validate_python(5)
