"""Whom a message may go to: checked e-mail addresses and mobile numbers, and how logs show them."""

import re
from collections.abc import Collection
from typing import Annotated

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, PhoneNumberType
from pydantic import AfterValidator, StringConstraints, WithJsonSchema

from app.addresses import ascii_address
from app.errors import Refused

HOME_COUNTRY = "IN"

# The numbering plans of India and America leave ranges open where nobody can tell a landline from a mobile;
# a customer in one of them gets the SMS, and the provider says which it was.
_MAY_BE_MOBILE = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}

# phonenumbers would also find a number inside a sentence, spell "MILK" as digits and drop an extension.
_DIGITS_AND_PUNCTUATION = re.compile(r"\s*\+?[\d\s().\-]+")


class InvalidPhone(Refused, ValueError):
    """No SMS can go to this number; says why without repeating it. A ValueError, so that pydantic takes it."""


def normalise_phone(raw: str, countries: Collection[str]) -> str:
    """E.164 form (`+919812345678`) of a mobile number of one of `countries` (ISO 3166 codes).

    Without a country code it is read as Indian. Raises InvalidPhone where it is none or of another country.
    """
    number = _mobile(raw)
    if phonenumbers.region_code_for_number(number) not in countries:
        raise InvalidPhone(f"is not a number of a country that gets SMS ({', '.join(sorted(countries))})")
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def usable_email(raw: str | None) -> str | None:
    """The address as mail goes to it; None where there is none or no mail can go there."""
    try:
        return None if raw is None else ascii_address(raw.strip())
    except ValueError:
        return None


def usable_phone(raw: str | None, countries: Collection[str]) -> str | None:
    """As `normalise_phone`; None where there is none or no SMS can go there."""
    try:
        return None if raw is None else normalise_phone(raw, countries)
    except InvalidPhone:
        return None


def payer_phone(raw: str | None) -> str | None:
    """E.164 form of any number that can be dialled, landlines included; None where there is none.

    Whether it is in use is for nobody here to judge: numbering plans grow.
    """
    try:
        number = None if raw is None else _number(raw)
    except InvalidPhone:
        return None
    if number is None or not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def mask_email(address: str) -> str:
    """`a***@example.com`."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}***{at}{domain}" if at else "***"


def mask_phone(number: str) -> str:
    """`+91******3210`; stars alone where that would show most of a short number."""
    hidden = len(number) - 7
    return f"{number[:3]}{'*' * hidden}{number[-4:]}" if hidden >= 4 else "*" * len(number)


def _mobile(raw: str) -> phonenumbers.PhoneNumber:
    number = _number(raw)
    if phonenumbers.number_type(number) not in _MAY_BE_MOBILE:
        raise InvalidPhone("is not a mobile number: in India these have ten digits and begin with 6 to 9")
    return number


def _number(raw: str) -> phonenumbers.PhoneNumber:
    if not _DIGITS_AND_PUNCTUATION.fullmatch(raw):
        raise InvalidPhone("is not a phone number: write digits only, as in +91 98123 45678")
    try:
        return phonenumbers.parse(raw, HOME_COUNTRY)
    except NumberParseException:
        raise InvalidPhone("is not a phone number: write ten digits, or + and the country code") from None


def _e164(raw: str) -> str:
    return phonenumbers.format_number(_mobile(raw), PhoneNumberFormat.E164)


EmailAddress = Annotated[str, AfterValidator(ascii_address), WithJsonSchema({"type": "string", "format": "email"})]
"""A bare address with an ASCII domain; nobody is asked whether it exists."""

PhoneNumber = Annotated[str, AfterValidator(_e164), WithJsonSchema({"type": "string", "examples": ["+919812345678"]})]
"""A mobile number of any country in E.164; `normalise_phone` applies the countries that get SMS."""

EmailAsKept = Annotated[str, StringConstraints(max_length=500), WithJsonSchema({"type": "string", "format": "email"})]
"""What the shop keeps as a customer's address. Whether mail can go there is asked when it is sent: `usable_email`."""

PhoneAsKept = Annotated[
    str, StringConstraints(max_length=100), WithJsonSchema({"type": "string", "examples": ["+919812345678"]})
]
"""What the shop keeps as a customer's number. Whether an SMS can go there is asked when it is sent: `usable_phone`."""
