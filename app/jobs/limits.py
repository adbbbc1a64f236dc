"""What all workers together may do of something: how often, and how much at once."""

import re
from dataclasses import dataclass

NAME = re.compile(r"[A-Za-z0-9_.:-]+")
MOST_PER_SECOND = 100_000


@dataclass(frozen=True, slots=True)
class Limit:
    """`per_second` and `in_flight` are None where there is no such limit; with neither it is false."""

    name: str
    per_second: float | None = None
    in_flight: int | None = None

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} can't be part of a key in Redis")
        if self.per_second is not None and not 0 < self.per_second <= MOST_PER_SECOND:
            raise ValueError(f"{self.name}: {self.per_second} is no rate a second up to {MOST_PER_SECOND}")
        if self.in_flight is not None and self.in_flight < 1:
            raise ValueError(f"{self.name}: nothing could ever run with {self.in_flight} in flight")

    def __bool__(self) -> bool:
        return self.per_second is not None or self.in_flight is not None

    def __str__(self) -> str:
        rate = None if self.per_second is None else f"at most {self.per_second:g} a second"
        at_once = None if self.in_flight is None else f"at most {self.in_flight} at once"
        return ", ".join(part for part in (rate, at_once) if part) or "no limit"
