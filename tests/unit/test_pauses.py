from datetime import timedelta
from random import Random

from app.supervisor.place import Pauses


def test_pauses_double_up_to_half_a_minute() -> None:
    pauses, random = Pauses(), Random(7)

    waits = [pauses.after(timedelta(0), random).total_seconds() for _ in range(9)]

    for wait, full in zip(waits, [0.5, 1, 2, 4, 8, 16, 30, 30, 30], strict=True):
        assert full / 2 <= wait <= full


def test_a_child_that_was_up_for_a_minute_begins_the_count_anew() -> None:
    pauses, random = Pauses(), Random(7)
    for _ in range(9):
        pauses.after(timedelta(seconds=59), random)

    assert pauses.after(timedelta(seconds=60), random) <= timedelta(seconds=0.5)
