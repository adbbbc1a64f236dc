"""How many rows to take at once, learnt from how long the last ones took."""

from datetime import timedelta

# Whoever wants one of the rows waits that long at most, and the server is not stopped and started for nothing.
TARGET = timedelta(milliseconds=200)
# Until something is known: quick even where each row drags a hundred others along.
FIRST = 500
# More go into one statement as an array; beyond it a planner may think that reading the whole table is as good.
MOST = 20_000
LEAST = 10


class BatchSize:
    """`rows` is what the next batch may take, so that it lasts about as long as `target`."""

    def __init__(self, target: timedelta = TARGET, *, first: int = FIRST, most: int = MOST) -> None:
        self._target = target.total_seconds()
        self._most = most
        self.rows = first

    def learn(self, rows: int, seconds: float) -> None:
        """Takes note of a batch of so many rows.

        The size at most doubles, since what comes next may be slower than what was, and falls at once to what would
        have lasted as long as it should.
        """
        if not rows or seconds <= 0:
            return
        fitting = int(rows * self._target / seconds)
        # One that did not find enough rows says nothing of how many more would have fitted.
        if rows < self.rows and fitting > rows:
            return
        self.rows = min(max(LEAST, min(fitting, 2 * rows)), self._most)
