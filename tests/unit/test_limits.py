import pytest

from app.jobs.limits import Limit


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        (Limit("sendgrid"), "no limit"),
        (Limit("sendgrid", per_second=0.5), "at most 0.5 a second"),
        (Limit("sendgrid", in_flight=3), "at most 3 at once"),
        (Limit("sendgrid", per_second=100, in_flight=3), "at most 100 a second, at most 3 at once"),
    ],
)
def test_a_limit_says_what_it_allows(limit: Limit, sentence: str) -> None:
    assert str(limit) == sentence
    assert bool(limit) is (sentence != "no limit")


@pytest.mark.parametrize(
    ("name", "per_second", "in_flight"),
    [
        ("", 1, 1),
        ("two words", 1, 1),
        ("mail", 0, None),
        ("mail", -1, None),
        ("mail", float("nan"), None),
        ("mail", float("inf"), None),
        ("mail", None, 0),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(name: str, per_second: float | None, in_flight: int | None) -> None:
    with pytest.raises(ValueError, match=r"can't be|is no rate|nothing could"):
        Limit(name, per_second, in_flight)
