"""Paise as rupees: to the paisa, however much it is."""

import pytest

from app.money import rupees_of


@pytest.mark.parametrize(
    ("paise", "rupees"),
    [(0, "0.00"), (5, "0.05"), (-5, "-0.05"), (6800, "68.00"), (900719925474099301, "9007199254740993.01")],
)
def test_rupees_are_exact(paise: int, rupees: str) -> None:
    assert str(rupees_of(paise)) == rupees
