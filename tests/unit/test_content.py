import email.policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.notify.content import MAX_BODY_BYTES, Address, Body, Name, SmsText, Subject, WebLink, one_line

SUBJECT: TypeAdapter[str] = TypeAdapter(Subject)
BODY: TypeAdapter[str] = TypeAdapter(Body)
SMS: TypeAdapter[str] = TypeAdapter(SmsText)
ADDRESS: TypeAdapter[str] = TypeAdapter(Address)
LINK: TypeAdapter[str] = TypeAdapter(WebLink)
NAME: TypeAdapter[str] = TypeAdapter(Name)


@given(st.text())
def test_an_accepted_subject_is_one_header_line(text: str) -> None:
    try:
        subject = SUBJECT.validate_python(text)
    except ValidationError:
        return
    message = EmailMessage(policy=email.policy.SMTP)
    message["Subject"] = subject
    assert message["Subject"] == subject
    assert len(subject) <= 998


@pytest.mark.parametrize(
    "text",
    ["", "  ", "x" * 999, "Hello\r\nBcc: x@example.com", "a\nb", "a\tb", "a\x00b", "a\x85b", "a\u2028b", "a\ud800b"],
)
def test_a_subject_that_no_header_can_hold_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        SUBJECT.validate_python(text)


def test_a_subject_is_trimmed_and_may_be_998_characters_long() -> None:
    assert SUBJECT.validate_python("  Your order  ") == "Your order"
    assert SUBJECT.validate_python("य" * 998) == "य" * 998


@pytest.mark.parametrize(
    "text", ["", " \n ", "a\0b", "a\ud800b", "x" * (MAX_BODY_BYTES + 1), "₹" * (MAX_BODY_BYTES // 3 + 1)]
)
def test_a_body_that_no_mail_can_carry_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        BODY.validate_python(text)


def test_a_body_of_a_mebibyte_is_kept_as_it_is() -> None:
    longest = "₹" * (MAX_BODY_BYTES // 3)

    assert BODY.validate_python(longest) == longest
    assert BODY.validate_python(" two\r\n\tlines ") == " two\r\n\tlines "


@pytest.mark.parametrize("text", ["", " ", "x" * 1601, "a\0b", "a\udfffb"])
def test_an_sms_that_no_provider_takes_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        SMS.validate_python(text)


def test_an_sms_may_have_1600_characters() -> None:
    assert SMS.validate_python("x" * 1600) == "x" * 1600


@given(st.text())
def test_one_line_leaves_nothing_that_ends_or_hides_in_a_line(text: str) -> None:
    folded = one_line(text)

    assert len(folded.splitlines()) <= 1
    assert folded == " ".join(folded.split())
    assert all(character.isprintable() or ord(character) > 0x9F for character in folded)


def test_an_address_keeps_its_lines_and_loses_empty_ones() -> None:
    assert ADDRESS.validate_python("Flat 2\r\n \n  Lane  5\u2028Pune 411001\n") == "Flat 2\nLane 5\nPune 411001"
    with pytest.raises(ValidationError, match="is empty"):
        ADDRESS.validate_python("\n \n")


def test_a_name_may_be_empty_but_not_half_a_character() -> None:
    assert NAME.validate_python(" \n") == ""
    with pytest.raises(ValidationError):
        NAME.validate_python("a\ud800")


@pytest.mark.parametrize(
    "url", ["https://shop.example/orders/1?a=b&c=d#e", "http://localhost:3000", "HTTPS://दुकान.example/आदेश"]
)
def test_a_web_link_is_kept_as_it_is(url: str) -> None:
    assert LINK.validate_python(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "//shop.example",
        "/orders/1",
        "ftp://shop.example",
        "https://",
        "https://shop.example@evil.example/",
        "https://shop.example\\@evil.example/",
        "https://shop.example/a b",
        "https://shop.example/\n",
        'https://shop.example/"onclick="',
        "https://shop.example/<b>",
        "https://shop.example/" + "a" * 2048,
        "",
    ],
)
def test_what_is_not_a_plain_web_link_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        LINK.validate_python(url)
