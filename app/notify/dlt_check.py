"""Where the SMS that we send differ from the texts that are registered with the operators."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from app.notify.content import in_locale
from app.notify.dlt import ROOM, NoDltNotation, NotPlain, Pattern, Texts, registered_pattern, sms_template, written
from app.notify.locales import Locale
from app.notify.rendering import sms_words
from app.notify.samples import SAMPLES
from app.notify.skips import SKIPS
from app.notify.types import DEFAULT_PATHS, SMS_CONTEXTS, NotificationType
from app.setting_values import LONGEST_LINK

# How much of two texts is shown from where they part.
_SHOWN = 24


@dataclass(frozen=True, slots=True)
class Mismatch:
    """`place` says where in the text of this type and language, `problem` what is wrong there and what to do."""

    type: str
    locale: str
    place: str
    problem: str

    def __str__(self) -> str:
        return f"{self.type} ({self.locale}), {self.place}: {self.problem}"


def mismatches(registered: Texts) -> list[Mismatch]:
    """All of them; none if what is sent is what is registered."""
    ours = list(written())
    found = [
        Mismatch(kind, locale, place, problem)
        for kind, locale in ours
        for place, problem in _compared(kind, locale, registered.get((kind, locale)))
    ]
    unsent = registered.keys() - {(kind.value, locale.value) for kind, locale in ours}
    return found + [
        Mismatch(kind, locale, "the whole text", "we send no such SMS: remove it from the registered texts")
        for kind, locale in sorted(unsent)
    ]


def _compared(kind: NotificationType, locale: Locale, text: str | None) -> Iterator[tuple[str, str]]:
    try:
        ours = sms_template(kind, locale)
    except NotPlain as fault:
        yield "the whole template", f"{fault}: simplify it"
        return
    if text is None:
        yield "the whole text", f"it is not registered: register {_to_register(ours, kind, locale)!r}, then add it"
        return
    try:
        theirs = registered_pattern(text)
    except NoDltNotation as fault:
        yield "the whole registered text", f"{fault}: copy it as it is registered"
        return
    yield from _texts(ours, theirs)
    if len(ours.gaps) == len(theirs.gaps):
        yield from _gaps(ours, theirs, kind, locale)


def _texts(ours: Pattern[str], theirs: Pattern[int]) -> Iterator[tuple[str, str]]:
    """The static parts, which are to be the same to the letter."""
    fewest = min(len(ours.gaps), len(theirs.gaps))
    for number in range(fewest + 1):
        sent, registered = ours.texts[number], theirs.texts[number]
        if sent != registered:
            place = f"after {{{{ {ours.gaps[number - 1]} }}}}" if number else "at the beginning"
            yield place, _difference(sent, registered)
            if len(ours.gaps) != len(theirs.gaps):
                break  # from here on the one is compared with what follows in the other
    if len(ours.gaps) != len(theirs.gaps):
        names = ", ".join(ours.gaps) or "none"
        yield (
            "the whole text",
            f"the template has {len(ours.gaps)} variables ({names}), registered are {len(theirs.gaps)}: {_TO_DO}",
        )


def _difference(sent: str, registered: str) -> str:
    if unicodedata.normalize("NFC", sent) == unicodedata.normalize("NFC", registered):
        return "the same letters are put together from different characters: copy the registered text (in Unicode NFC)"
    pairs = zip(sent, registered, strict=False)
    start = next((index for index, (one, other) in enumerate(pairs) if one != other), min(len(sent), len(registered)))
    one, other = (f"{words[start : start + _SHOWN]!r}" for words in (sent, registered))
    return f"from its character {start + 1} on we send {one} where {other} is registered: {_TO_DO}"


_TO_DO = "change the template, or register its text anew"


def _gaps(
    ours: Pattern[str], theirs: Pattern[int], kind: NotificationType, locale: Locale
) -> Iterator[tuple[str, str]]:
    """The variables: each is one of the type's, and there is room for what it holds."""
    known = SMS_CONTEXTS[kind].model_fields
    for name, number in zip(ours.gaps, theirs.gaps, strict=True):
        place = f"{{{{ {name} }}}}"
        if name not in known:
            yield place, f"an SMS of this type has no such variable: use {', '.join(known)}"
            continue
        needed = _needed(name, kind, locale)
        if needed > ROOM * number:
            gap = "{#var#}" * -(-needed // ROOM)
            yield place, f"it has up to {needed} characters, and {ROOM * number} are registered: register {gap}"


def _needed(name: str, kind: NotificationType, locale: Locale) -> int:
    """How many characters a variable has, as far as that is in our hands. What comes from elsewhere is shortened."""
    if name in DEFAULT_PATHS:
        return LONGEST_LINK
    facts = SMS_CONTEXTS[kind].model_validate(dict(SAMPLES[kind]), context=in_locale(locale))
    words = [sms_words(getattr(facts, name), locale)]
    if name == "reason":
        words += [skip.briefly for skip in SKIPS[locale].values()]
    return max(map(len, words))


def _to_register(ours: Pattern[str], kind: NotificationType, locale: Locale) -> str:
    known = SMS_CONTEXTS[kind].model_fields
    gaps = ["{#var#}" * -(-_needed(name, kind, locale) // ROOM) if name in known else "{#var#}" for name in ours.gaps]
    return ours.texts[0] + "".join(gap + text for gap, text in zip(gaps, ours.texts[1:], strict=True))
