"""What is put into a variable of a registered SMS."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.notify.content import one_line
from app.notify.fitting import fitting_link, shortened

letters = st.text(st.sampled_from("दूकक्षि़ ्ं‍‌éa😀-, "), max_size=60)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("A2 Cow Milk, 1 litre", "A2 Cow Milk, 1 litre"),
        ("x" * 30, "x" * 30),
        ("x" * 31, "x" * 27 + "..."),
        ("Organic Jaggery Powder from Kolhapur", "Organic Jaggery Powder from..."),
        ("Organic Jaggery Powder, 500 grams a bag", "Organic Jaggery Powder, 500..."),
        ("Organic Jaggery Powder - 12345678", "Organic Jaggery Powder..."),
        # A whole word, but not at the cost of most of the text.
        ("A " + "b" * 40, "A " + "b" * 25 + "..."),
        # The ki is one letter, though it has two characters.
        ("x" * 26 + "किकिकि", "x" * 26 + "..."),
        ("x" * 24 + "क्षक्ष", "x" * 24 + "क्षक्ष"),
        ("x" * 25 + "क्षक्ष", "x" * 25 + "..."),
    ],
)
def test_words_that_are_too_long_end_with_a_whole_word_or_letter(words: str, expected: str) -> None:
    assert shortened(words, 30) == expected


@given(words=st.one_of(st.text(max_size=80), letters).map(one_line), room=st.sampled_from([30, 60]))
def test_what_is_shortened_fits_and_begins_as_the_whole_does(words: str, room: int) -> None:
    short = shortened(words, room)

    assert len(short) <= room
    if len(words) <= room:
        assert short == words
    else:
        assert short.endswith("...")
        assert words.startswith(short.removesuffix("..."))
        assert short == one_line(short)


def test_a_letter_with_more_signs_than_there_is_room_for_is_cut() -> None:
    short = shortened("क" + "\u093c" * 60, 30)

    assert len(short) == 30
    assert unicodedata.category(short[26]) == "Mn"


def test_a_link_is_whole_or_another_one() -> None:
    links = ["https://shop.example/orders/" + "x" * 80, "https://shop.example/orders", "https://shop.example"]

    assert fitting_link(links, 110) == links[0]
    assert fitting_link(links, 90) == links[1]
    assert fitting_link(links, 20) == links[2]
    assert fitting_link(links, 10) == links[2]
