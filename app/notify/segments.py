"""How an SMS is encoded and how many segments it is sent in, each of which is paid for.

Source: 3GPP TS 23.038 (alphabet), TS 23.040 9.2.3.24.1 (a part loses 7 characters, or 3 in UCS-2, to its header).
"""

from dataclasses import dataclass
from typing import Final

from app.db.messages import SmsEncoding

_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED: Final = frozenset("\f^{}\\[~]|€")


@dataclass(frozen=True, slots=True)
class SmsSize:
    """As it leaves the provider: 160 characters of GSM-7 or 70 of UCS-2 alone, else parts of 153 or 67."""

    encoding: SmsEncoding
    segments: int


def size_of(text: str) -> SmsSize:
    if _BASIC.issuperset(text):
        return SmsSize("GSM-7", 1 if len(text) <= 160 else -(-len(text) // 153))
    if (_BASIC | _EXTENDED).issuperset(text):
        widths = [2 if character in _EXTENDED else 1 for character in text]
        return SmsSize("GSM-7", _packed(widths, alone=160, part=153))
    widths = [2 if character > "\uffff" else 1 for character in text]
    return SmsSize("UCS-2", _packed(widths, alone=70, part=67))


def _packed(widths: list[int], *, alone: int, part: int) -> int:
    """A character that takes two places is never split between two parts."""
    if sum(widths) <= alone:
        return 1
    parts, room = 1, part
    for width in widths:
        if width > room:
            parts, room = parts + 1, part
        room -= width
    return parts
