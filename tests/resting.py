"""Rests that take no time, after work that takes a second each time."""

from collections.abc import Callable
from itertools import count


class Rests(list[float]):
    """For how many seconds somebody was to rest, each time."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


def ticking() -> Callable[[], float]:
    """A clock that is a second on whenever it is looked at."""
    seconds = count()
    return lambda: float(next(seconds))
