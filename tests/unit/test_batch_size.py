"""Batches come to last as long as they should, whatever a row costs."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.db.batch_size import BatchSize

TARGET = 0.2


class Table:
    """Rows that take their time, by a clock of their own."""

    def __init__(self, seconds_a_row: Callable[[int], float]) -> None:
        self.now = 0.0
        self.rows = 0
        self._seconds_a_row = seconds_a_row

    def take(self, size: BatchSize) -> float:
        began = self.now
        taken = size.rows
        self.now += taken * self._seconds_a_row(self.rows)
        self.rows += taken
        size.learn(taken, self.now - began)
        return self.now - began


def batches(table: Table, count: int) -> Iterator[float]:
    size = BatchSize(timedelta(seconds=TARGET), most=10**9)
    return (table.take(size) for _ in range(count))


@given(st.floats(1e-7, 0.01))
def test_batches_of_any_rows_soon_last_as_long_as_they_should(seconds_a_row: float) -> None:
    *_, last = batches(Table(lambda _row: seconds_a_row), 20)

    assert last == pytest.approx(TARGET, rel=0.2)


def test_rows_that_become_slower_are_too_many_once() -> None:
    table = Table(lambda row: 0.0001 if row < 20_000 else 0.001)

    too_long = [seconds for seconds in batches(table, 60) if seconds > 1.5 * TARGET]

    assert len(too_long) == 1


def test_a_quick_start_is_followed_by_no_leap() -> None:
    size = BatchSize(timedelta(seconds=TARGET), first=100)

    size.learn(100, 0.000001)

    assert size.rows == 200


@pytest.mark.parametrize(
    ("rows", "seconds", "expected"),
    [
        pytest.param(30, 0.02, 100, id="few rows, quickly: nothing is learnt of more"),
        pytest.param(30, 0.6, 10, id="few rows that take long: fewer"),
        pytest.param(0, 0.6, 100, id="none: nothing is learnt"),
        pytest.param(100, 60.0, 10, id="never too few to get on"),
    ],
)
def test_what_a_single_batch_teaches(rows: int, seconds: float, expected: int) -> None:
    size = BatchSize(timedelta(seconds=TARGET), first=100)

    size.learn(rows, seconds)

    assert size.rows == expected


def test_no_batch_is_larger_than_allowed() -> None:
    size = BatchSize(timedelta(seconds=TARGET), first=100, most=150)

    size.learn(100, 0.001)

    assert size.rows == 150
