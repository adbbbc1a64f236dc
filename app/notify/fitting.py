"""What is put into a variable of a registered SMS, so that it fits."""

import unicodedata
from collections.abc import Sequence
from typing import Final

ELLIPSIS: Final = "..."  # the typographic one is not in GSM-7

_VIRAMA: Final = 9  # the combining class of what joins two consonants of an Indian script
_JOINERS: Final = "\u200c\u200d"


def shortened(words: str, room: int) -> str:
    """`words`, or as many of them as there is room for, with an ellipsis.

    Ends with a whole word where that does not cost half of the room, and never within a letter and its signs.
    """
    if len(words) <= room:
        return words
    longest = room - len(ELLIPSIS)
    end = longest
    while end and _is_joined(words, end):
        end -= 1
    # A letter with more signs than there is room for is none that anybody reads.
    end = end or longest
    whole = words.rfind(" ", 0, end + 1)
    if whole > room // 2:
        end = whole
    return words[:end].rstrip(" ,;:-") + ELLIPSIS


def fitting_link(links: Sequence[str], room: int) -> str:
    """The first that fits, else the last: one that is cut off leads nowhere."""
    return next((link for link in links if len(link) <= room), links[-1])


def _is_joined(words: str, end: int) -> bool:
    before, behind = words[end - 1], words[end]
    return (
        unicodedata.category(behind).startswith("M")
        or behind in _JOINERS
        or before in _JOINERS
        or unicodedata.combining(before) == _VIRAMA
    )
