from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.retry import PUT_OFF, RetryPolicy


@pytest.mark.parametrize(("tries", "full"), [(1, 10), (2, 50), (3, 250)])
@given(seed=st.integers())
def test_a_wait_is_half_to_full_of_the_backoff(tries: int, full: int, seed: int) -> None:
    wait = RetryPolicy().wait(tries, Random(seed))

    assert wait is not None
    assert timedelta(seconds=full / 2) <= wait <= timedelta(seconds=full)


def test_three_retries_are_four_tries() -> None:
    assert RetryPolicy().max_tries == 4
    assert RetryPolicy().wait(4, Random(0)) is None


def test_no_wait_is_longer_than_ten_minutes() -> None:
    wait = RetryPolicy(retries=50).wait(40, Random(1))

    assert wait is not None
    assert wait <= timedelta(minutes=10)


@pytest.mark.parametrize(
    ("wish", "wait"),
    [
        (timedelta(seconds=3), timedelta(seconds=3)),
        (timedelta(hours=5), timedelta(hours=1)),
        (timedelta(seconds=-9), timedelta(0)),
    ],
)
def test_the_providers_wish_wins_up_to_an_hour(wish: timedelta, wait: timedelta) -> None:
    assert RetryPolicy().wait(1, Random(0), wish) == wait


def test_a_wish_gives_no_further_try() -> None:
    assert RetryPolicy().wait(4, Random(0), timedelta(seconds=1)) is None


@given(times=st.integers(1, 10_000), seed=st.integers())
def test_putting_off_waits_at_most_ten_minutes(times: int, seed: int) -> None:
    wait = PUT_OFF.wait(times, timedelta(hours=23), Random(seed))

    assert wait is not None
    assert timedelta(0) < wait <= timedelta(minutes=10)


def test_putting_off_ends_after_a_day() -> None:
    assert PUT_OFF.wait(3, timedelta(hours=24), Random(0)) is None
