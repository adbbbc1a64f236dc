"""What is still due once a run has looked at all subscriptions: others held it, or it was resumed behind the run."""

from collections.abc import Collection
from dataclasses import dataclass, field

from app.db.shop import SubscriptionId
from app.deliveries.pages import Page

# How often what is due is looked for from the beginning. Whoever resumes in the last round is as late as whoever does
# when the run is over.
ROUNDS = 3
_BEGINNING = SubscriptionId(0)


@dataclass(slots=True)
class Leftovers:
    """How far a run is with them. It goes over them in rounds, since they can become due anywhere at any time.

    `after` is the id up to which this round has come; `held` are those of this round that somebody else had locked.
    `are_reached` once there is no other page; `waits` until the first lock of theirs was waited for in vain.
    """

    after: SubscriptionId = _BEGINNING
    are_reached: bool = False
    waits: bool = True
    held: list[SubscriptionId] = field(default_factory=list)
    _rounds: int = 1
    _has_planned: bool = False

    def note(self, page: Page, held: Collection[SubscriptionId]) -> None:
        """The page is done, but for those that are held."""
        self.after = page.last
        self.held += held
        self._has_planned |= len(held) < len(page.due)

    def begins_again(self) -> bool:
        """Begins the next round, unless this one has found nothing to do or was the last."""
        if not self._has_planned or self._rounds == ROUNDS:
            return False
        self._rounds += 1
        self.after, self.held, self._has_planned = _BEGINNING, [], False
        return True
