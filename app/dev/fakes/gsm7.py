"""How many segments an SMS is sent in.

Source: 3GPP TS 23.038 (alphabet), TS 23.040 9.2.3.24.1 (a part loses 7 characters, or 3 in UCS-2, to its header).
"""

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("\f^{}\\[~]|€")


def segments(text: str) -> int:
    if _BASIC.issuperset(text):
        return 1 if len(text) <= 160 else -(-len(text) // 153)
    if (_BASIC | _EXTENDED).issuperset(text):
        return _packed([2 if character in _EXTENDED else 1 for character in text], alone=160, part=153)
    return _packed([2 if character > "\uffff" else 1 for character in text], alone=70, part=67)


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
