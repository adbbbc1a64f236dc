"""The languages in which customers are written to."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Locale(StrEnum):
    """A language that a customer may choose. The owner's mail is in English."""

    EN = "en"
    HI = "hi"


@dataclass(frozen=True, slots=True)
class Words:
    """What every message of a language has in common. `tag` names the language to mail clients and screen readers."""

    tag: str
    hello: str
    after_name: str
    tagline: str
    or_open: str
    product: str

    def greeting(self, name: str | None) -> str:
        return f"{self.hello} {name}{self.after_name}," if name else f"{self.hello},"


WORDS: Mapping[Locale, Words] = {
    Locale.EN: Words(
        tag="en-IN",
        hello="Hello",
        after_name="",
        tagline="milk, jaggery and natural goods",
        or_open="Or open this address:",
        product="product",
    ),
    Locale.HI: Words(
        tag="hi-IN",
        hello="नमस्ते",
        after_name=" जी",
        tagline="दूध, गुड़ और प्राकृतिक उत्पाद",
        or_open="या यह पता खोलें:",
        product="उत्पाद",
    ),
}
