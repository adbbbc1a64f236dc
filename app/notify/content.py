"""What a message may consist of: checked texts for task arguments and template contexts.

Each has a length limit on the text itself: pydantic looks for lone surrogates only where it has one to check.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationInfo

from app.notify.locales import WORDS, Locale

MAX_BODY_BYTES = 1024 * 1024
MAX_SMS_CHARACTERS = 1600  # Twilio takes no more

# Everything that str.splitlines, and with it the e-mail package, takes for a line's end is in here.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_GAP = re.compile(rf"(?:{_CONTROL.pattern}|\s)+")
# One host and no user name, so that a link can't show one site and open another.
_WEB_LINK = re.compile(
    r"https?://[^\s\x00-\x1f\x7f-\x9f<>\"\\/?#@:]+(:\d+)?([/?#][^\s\x00-\x1f\x7f-\x9f<>\"\\]*)?", re.IGNORECASE
)


def in_locale(locale: Locale) -> dict[str, Locale]:
    """The context in which a message's context is validated; without one it is English."""
    return {"locale": locale}


def locale_of(info: ValidationInfo) -> Locale:
    return Locale((info.context or {}).get("locale", Locale.EN))


def one_line(text: str) -> str:
    """`text` with every run of spaces, line breaks and control characters folded to one space."""
    return _GAP.sub(" ", text).strip()


def _header_text(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("must not contain line breaks or control characters: write it on one line")
    return text


def _message_text(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty: write what the message should say")
    if "\0" in text:
        raise ValueError("must not contain NUL characters: neither mail nor SMS can carry them")
    return text


def _mail_sized(text: str) -> str:
    size = len(text.encode())
    if size > MAX_BODY_BYTES:
        raise ValueError(f"has {size} bytes in UTF-8: shorten it to {MAX_BODY_BYTES} or link to the rest")
    return text


def _filled_line(text: str) -> str:
    if line := one_line(text):
        return line
    raise ValueError("is empty")


def _product_name(text: str, info: ValidationInfo) -> str:
    return one_line(text) or WORDS[locale_of(info)].product


def _address(text: str) -> str:
    if lines := [line for raw_line in text.splitlines() if (line := one_line(raw_line))]:
        return "\n".join(lines)
    raise ValueError("is empty")


def _web_link(url: str) -> str:
    if not _WEB_LINK.fullmatch(url):
        raise ValueError("must be an http(s) URL without spaces, quotes or a user name")
    return url


def _empty_is_absent(value: object) -> object:
    return None if value == "" else value


Subject = Annotated[
    str,
    # Source: RFC 5322 2.1.1 (998 characters to a line).
    StringConstraints(strip_whitespace=True, min_length=1, max_length=998),
    AfterValidator(_header_text),
]
Body = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_BODY_BYTES),
    AfterValidator(_message_text),
    AfterValidator(_mail_sized),
]
HtmlBody = Body
SmsText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_SMS_CHARACTERS), AfterValidator(_message_text)]

# The limits below keep a mail under the 100 KB at which mail clients cut it off.

Line = Annotated[str, StringConstraints(max_length=500), AfterValidator(_filled_line)]
"""A fact on one line, whatever line breaks came with it."""

OrderNumber = Annotated[str, StringConstraints(max_length=100), AfterValidator(_filled_line)]

Name = Annotated[str, StringConstraints(max_length=255), AfterValidator(one_line)]
"""May be empty: who never gave a name still gets the message, greeted without one."""

ProductAsKept = Annotated[str, StringConstraints(max_length=500), AfterValidator(one_line)]
"""What the shop keeps as a product's name, which may be empty."""

ProductName = Annotated[str, StringConstraints(max_length=500), AfterValidator(_product_name)]
"""The same where it is shown: an empty one is "product", in the message's language. Nobody's waits for a name."""

Address = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_address)]
"""One line of the address to a line; empty ones are left out."""

WebLink = Annotated[str, StringConstraints(max_length=2048), AfterValidator(_web_link)]

OptionalWebLink = Annotated[WebLink | None, BeforeValidator(_empty_is_absent)]


class Context(BaseModel):
    """What a template may use. A mail's context holds everything that the SMS of its type does.

    It is validated with `in_locale` of the language in which the message is written.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)
