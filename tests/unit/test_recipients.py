import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.notify.recipients import (
    EmailAddress,
    InvalidPhone,
    PhoneNumber,
    mask_email,
    mask_phone,
    normalise_phone,
    payer_phone,
    usable_email,
    usable_phone,
)

VECTORS = json.loads((Path(__file__).parents[1] / "contracts/vectors/india_formats.json").read_text())
ADDRESS: TypeAdapter[str] = TypeAdapter(EmailAddress)
NUMBER: TypeAdapter[str] = TypeAdapter(PhoneNumber)
INDIA = {"IN"}

indian_mobiles = st.from_regex(r"9[0-9]{9}", fullmatch=True)


@pytest.mark.parametrize(("raw", "expected"), VECTORS["phones"])
def test_indian_mobiles_are_normalised_and_everything_else_is_refused(raw: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(InvalidPhone):
            normalise_phone(raw, INDIA)
    else:
        assert normalise_phone(raw, INDIA) == expected


@given(indian_mobiles, st.sampled_from(["", "0", "+91", "91", "0091 ", "+91 ", "+91-"]), st.integers(0, 10))
def test_every_way_to_write_a_number_gives_the_same(digits: str, prefix: str, gap: int) -> None:
    written = f"{prefix}{digits[:gap]} {digits[gap:]}"

    assert normalise_phone(written, INDIA) == f"+91{digits}"
    assert normalise_phone(normalise_phone(written, INDIA), INDIA) == f"+91{digits}"


@given(st.text())
def test_no_text_does_worse_than_be_refused(raw: str) -> None:
    try:
        number = normalise_phone(raw, INDIA)
    except InvalidPhone:
        return
    assert number.startswith("+91")
    assert len(number) == 13


@pytest.mark.parametrize(
    "raw",
    [
        "call 9812345678",
        "98123MILKS",
        "9812345678 ext. 5",
        "tel:+919812345678",
        "9812345678\x00",
        "9812345678/9812345679",
        "٩٨١٢٣٤٥٦٧٨ or so",
        "8022223333",
        "9" * 300,
        "",
    ],
)
def test_what_is_not_just_one_mobile_number_is_refused(raw: str) -> None:
    with pytest.raises(InvalidPhone):
        normalise_phone(raw, INDIA)


def test_a_number_that_may_be_a_mobile_or_a_landline_is_taken() -> None:
    assert normalise_phone("7225012345", INDIA) == "+917225012345"


@pytest.mark.parametrize(
    ("raw", "usable"),
    [
        (" asha@example.com\n", "asha@example.com"),
        ("asha@दूध.example", "asha@xn--j2bc4f.example"),
        ("", None),
        ("asha", None),
        ("asha@example", None),
        ("a@example.com, b@example.com", None),
        ("a@example.com\nBcc: b@example.com", None),
        ("x" * 400 + "@example.com", None),
        (None, None),
    ],
)
def test_an_address_as_the_shop_keeps_it_is_used_or_left(raw: str | None, usable: str | None) -> None:
    assert usable_email(raw) == usable


@given(st.text())
def test_nothing_that_the_shop_keeps_raises(raw: str) -> None:
    assert usable_email(raw) is None or "@" in raw
    assert usable_phone(raw, INDIA) is None or raw


@pytest.mark.parametrize(("raw", "usable"), [("98123 45678", "+919812345678"), ("12", None), ("", None), (None, None)])
def test_a_number_as_the_shop_keeps_it_is_used_or_left(raw: str | None, usable: str | None) -> None:
    assert usable_phone(raw, INDIA) == usable


def test_other_countries_get_sms_only_where_allowed() -> None:
    assert normalise_phone("+14155552671", {"IN", "US"}) == "+14155552671"
    with pytest.raises(InvalidPhone, match=r"gets SMS \(IN\)"):
        normalise_phone("+14155552671", INDIA)


@given(st.from_regex(r"[+]14155552[0-9]{3}|2[0-9]{9}|[0-9]{16}", fullmatch=True))
def test_the_reason_never_repeats_the_number(raw: str) -> None:
    with pytest.raises(InvalidPhone) as refusal:
        normalise_phone(raw, INDIA)

    assert raw.lstrip("+") not in str(refusal.value)
    assert str(pickle.loads(pickle.dumps(refusal.value))) == str(refusal.value)


@pytest.mark.parametrize(
    ("raw", "payer"),
    [
        ("98123 45678", "+919812345678"),
        ("+91 98123-45678", "+919812345678"),
        ("044-2345 6789", "+914423456789"),
        ("5812345678", "+915812345678"),
        ("+1 415 555 2671", "+14155552671"),
        ("-", None),
        ("", None),
        ("12345", None),
        ("98123456789012345", None),
        ("no phone", None),
        ("98123 45678 or 98123 45679", None),
        (None, None),
    ],
)
def test_a_payer_may_be_called_at_any_number(raw: str | None, payer: str | None) -> None:
    assert payer_phone(raw) == payer


def test_a_phone_argument_takes_any_countrys_mobile_and_reads_bare_digits_as_indian() -> None:
    assert NUMBER.validate_python("098123 45678") == "+919812345678"
    assert NUMBER.validate_python("+447911123456") == "+447911123456"
    with pytest.raises(ValidationError, match="not a mobile number"):
        NUMBER.validate_python("5812345678")


@pytest.mark.parametrize(
    ("raw", "address"),
    [
        ("asha@example.com", "asha@example.com"),
        ("Asha.Patil+milk@EXAMPLE.com", "Asha.Patil+milk@example.com"),
        ("asha@bücher.example", "asha@xn--bcher-kva.example"),
    ],
)
def test_an_address_comes_out_with_an_ascii_domain(raw: str, address: str) -> None:
    assert ADDRESS.validate_python(raw) == address


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "asha",
        "asha@localhost",
        "Asha <asha@example.com>",
        "asha@example.com, ravi@example.com",
        "asha@example.com\r\nBcc: ravi@example.com",
        "asha@example.com\n",
        "asha@exam\nple.com",
        "आशा@example.com",
        "asha\ud800@example.com",
        "asha@[127.0.0.1]",
        f"{'a' * 65}@example.com",
        None,
    ],
)
def test_what_is_not_one_plain_address_is_refused(raw: object) -> None:
    with pytest.raises(ValidationError):
        ADDRESS.validate_python(raw)


@pytest.mark.parametrize(
    ("address", "masked"),
    [("asha@example.com", "a***@example.com"), ("a@example.com", "a***@example.com"), ("asha", "***"), ("", "***")],
)
def test_a_masked_address_shows_a_letter_and_the_domain(address: str, masked: str) -> None:
    assert mask_email(address) == masked


@pytest.mark.parametrize(
    ("number", "masked"),
    [("+919876543210", "+91******3210"), ("+2901234", "********"), ("", "")],
)
def test_a_masked_number_shows_its_ends(number: str, masked: str) -> None:
    assert mask_phone(number) == masked
