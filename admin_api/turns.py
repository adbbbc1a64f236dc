"""Calls that cost a lot: so many at a time, in each process."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import HTTPException, status

# Seconds, for whoever is sent away; most of these calls are over by then.
COME_BACK_IN = 10


class Turns:
    """At most so many calls of one kind under way; whoever comes beyond them is answered at once, with a 429."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.under_way = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """For as long as the call lasts, its answer included."""
        if self.under_way >= self._most:
            reason = f"{self.under_way} of these calls are under way already: come back a little later"
            raise HTTPException(status.HTTP_429_TOO_MANY_REQUESTS, reason, headers={"Retry-After": str(COME_BACK_IN)})
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1
