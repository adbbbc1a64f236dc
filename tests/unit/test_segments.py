"""What an SMS is paid for: its encoding and its segments."""

import json

import pytest

from app.notify.segments import SmsSize, size_of
from tests.contract_data import CONTRACTS

KNOWN = json.loads((CONTRACTS / "vectors/india_formats.json").read_text())["sms_segments"]


@pytest.mark.parametrize(("text", "encoding", "count"), KNOWN)
def test_the_known_sizes(text: str, encoding: str, count: int) -> None:
    size = size_of(text)

    assert (size.encoding, size.segments) == (encoding, count)


@pytest.mark.parametrize(
    ("text", "encoding", "count"),
    [
        ("", "GSM-7", 1),
        ("x" * 160, "GSM-7", 1),
        ("x" * 161, "GSM-7", 2),
        ("x" * 306, "GSM-7", 2),
        ("x" * 307, "GSM-7", 3),
        ("x" * 159 + "€", "GSM-7", 2),
        ("€" * 80, "GSM-7", 1),
        ("€" * 81, "GSM-7", 2),
        # 153 is odd: the last place of a part stays empty.
        ("€" * 153, "GSM-7", 3),
        ("{x} [y] ~|^\\", "GSM-7", 1),
        ("`", "UCS-2", 1),
        ("₹" * 70, "UCS-2", 1),
        ("₹" * 71, "UCS-2", 2),
        ("₹" * 134, "UCS-2", 2),
        ("₹" * 135, "UCS-2", 3),
        ("आपका ऑर्डर", "UCS-2", 1),
        ("😀" * 35, "UCS-2", 1),
        ("😀" * 36, "UCS-2", 2),
        ("😀" * 67, "UCS-2", 3),
    ],
)
def test_a_text_is_divided_where_its_alphabet_says(text: str, encoding: str, count: int) -> None:
    size = size_of(text)

    assert (size.encoding, size.segments) == (encoding, count)


def test_one_character_outside_the_alphabet_more_than_halves_what_fits() -> None:
    assert size_of("x" * 160) == SmsSize("GSM-7", 1)
    assert size_of("x" * 159 + "₹") == SmsSize("UCS-2", 3)
