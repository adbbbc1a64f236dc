"""A message on its way, and the ways that it may go."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

from app.notify.ledger import EarlierMessage, NewMessage
from app.notify.ways import Way


@dataclass(frozen=True, slots=True)
class Errand:
    """One message on its way: by which providers, the first one first, and whether to send it though nobody knows.

    `message` is the one by the first of them.
    """

    message: NewMessage
    ways: Sequence[Way]
    resend_unknown: bool

    def by(self, way: Way) -> NewMessage:
        """The message, to be put on record as this attempt's."""
        return replace(self.message, attempt=uuid4().hex, provider=way.provider)

    def kept_to(self, earlier: EarlierMessage) -> Way | None:
        """The only way that it may go: the one by which it may have gone already. None where all are open to it."""
        if earlier.status not in {"sending", "unknown"}:
            return None
        return next((way for way in self.ways if way.provider == earlier.provider), None)


class KeptTo(Exception):
    """The message must go by another way, for it may have gone by that one already."""

    def __init__(self, way: Way) -> None:
        super().__init__(way.provider)
        self.way = way
