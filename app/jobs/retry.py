"""When a job that did not succeed is tried again."""

from dataclasses import dataclass
from datetime import timedelta
from random import Random

# A provider's own wish (Retry-After, a reset time) wins over the policy, but not for ever.
LONGEST_WISH = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with jitter: before retry n, half to full of `min(cap, first * factor ** (n - 1))`."""

    retries: int = 3
    first: timedelta = timedelta(seconds=10)
    factor: float = 5
    cap: timedelta = timedelta(minutes=10)

    @property
    def max_tries(self) -> int:
        return self.retries + 1

    def wait(self, tries: int, random: Random, wish: timedelta | None = None) -> timedelta | None:
        """How long to wait after `tries` failed tries; None when there is no try left."""
        if tries >= self.max_tries:
            return None
        if wish is not None:
            return _within(wish)
        return jittered(self.first, self.factor, tries, self.cap, random)


@dataclass(frozen=True, slots=True)
class PutOffPolicy:
    """Waiting for something that can't be reached at all: costs no try, and ends after `patience`."""

    first: timedelta = timedelta(seconds=5)
    factor: float = 2
    cap: timedelta = timedelta(minutes=10)
    patience: timedelta = timedelta(hours=24)

    def wait(self, times: int, waited: timedelta, random: Random, wish: timedelta | None = None) -> timedelta | None:
        """How long to wait for the `times`-th time in a row; None when patience has run out."""
        if waited >= self.patience:
            return None
        if wish is not None:
            return _within(wish)
        return jittered(self.first, self.factor, times, self.cap, random)


def jittered(first: timedelta, factor: float, n: int, cap: timedelta, random: Random) -> timedelta:
    """The n-th wait in a row: half to full of `min(cap, first * factor ** (n - 1))`."""
    # Whoever waits long enough to reach the cap would otherwise overflow the float.
    grown = cap if n > 20 else first * factor ** (n - 1)
    return min(cap, grown) * random.uniform(0.5, 1)


def _within(wish: timedelta) -> timedelta:
    return min(max(wish, timedelta(0)), LONGEST_WISH)


DEFAULT_RETRY = RetryPolicy()
PUT_OFF = PutOffPolicy()
