"""SMS texts as they are registered with the operators (DLT), who drop what differs from them.

A text is registered with `{#var#}` for each of its variables, which holds 30 characters; several in a row hold one long
value, as a link is. By a newer rule `{#var#}` may also say what it holds, as `{#url#}` does.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Generic, TypeVar

from app.errors import Refused
from app.notify.content import one_line
from app.notify.locales import Locale
from app.notify.types import SMS_CONTEXTS, TEMPLATES, NotificationType

ROOM: Final = 30  # of one {#var#}
REGISTERED: Final = Path(__file__).parent / "dlt.toml"

# A registered text by type and language.
Texts = Mapping[tuple[str, str], str]
T = TypeVar("T")

_OURS = re.compile(r"\{\{ *(\w+) *\}\}")
_THEIRS = re.compile(r"(?:\{#\w+#\})+")


@dataclass(frozen=True, slots=True)
class Pattern(Generic[T]):
    """A text with gaps: before, between and behind the `gaps` stands one of `texts`, which may be empty."""

    texts: tuple[str, ...]
    gaps: tuple[T, ...]


class NotPlain(Refused):
    """The template of an SMS does more than put words into gaps, so nobody can tell what is sent."""

    def __str__(self) -> str:
        return "it may hold nothing but text and {{ variables }}, with text between two of them"


class NoDltNotation(Refused):
    def __str__(self) -> str:
        return "it has braces that are not {#var#}"


class TextsUnreadable(Refused):
    def __init__(self, path: str, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return f'{self.path}: {self.why}; it should have a table for each type, with en = "..." and hi = "..."'


def registered_texts(path: Path = REGISTERED) -> Texts:
    """Raises TextsUnreadable."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TextsUnreadable(str(path), one_line(str(error))) from error
    texts: dict[tuple[str, str], str] = {}
    for kind, table in tables.items():
        for locale, text in table.items() if isinstance(table, dict) else [("", table)]:
            if not isinstance(table, dict) or not isinstance(text, str):
                raise TextsUnreadable(str(path), f"{kind} {locale}".strip() + " is no text")
            texts[kind, locale] = text
    return texts


def sms_template(kind: NotificationType, locale: Locale) -> Pattern[str]:
    """What we send, with the variables' names. Raises NotPlain."""
    # Folded as the message is.
    source = one_line((TEMPLATES / kind / locale / "sms.txt").read_text(encoding="utf-8"))
    texts = _OURS.split(source)
    pattern = Pattern(texts=tuple(texts[::2]), gaps=tuple(texts[1::2]))
    if re.search(r"\{\{|\{%|\{#", "".join(pattern.texts)) or not all(pattern.texts[1:-1]):
        raise NotPlain
    return pattern


def registered_pattern(text: str) -> Pattern[int]:
    """What is registered, with the number of `{#var#}` in each gap. Raises NoDltNotation."""
    texts = tuple(_THEIRS.split(text))
    if any(brace in part for part in texts for brace in "{}"):
        raise NoDltNotation
    return Pattern(texts, tuple(gap.count("{#") for gap in _THEIRS.findall(text)))


@lru_cache
def rooms(kind: NotificationType, locale: Locale) -> Mapping[str, int]:
    """How many characters each variable of this SMS may have.

    Where text and template don't fit together, as the check before a release tells, as many as one variable has.
    """
    return dict(_rooms(kind, locale))


def _rooms(kind: NotificationType, locale: Locale) -> Iterator[tuple[str, int]]:
    text = registered_texts().get((kind, locale))
    if text is None:
        return
    try:
        ours, theirs = sms_template(kind, locale), registered_pattern(text)
    except (NotPlain, NoDltNotation):
        return
    yield from ((name, ROOM * number) for name, number in zip(ours.gaps, theirs.gaps, strict=False))


def written() -> Iterator[tuple[NotificationType, Locale]]:
    """Every SMS that we have a text for."""
    for kind in SMS_CONTEXTS:
        yield from ((kind, locale) for locale in Locale if (TEMPLATES / kind / locale / "sms.txt").exists())
