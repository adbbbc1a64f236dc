"""Amounts of money: whole paise where they are reckoned with, rupees where they are shown."""

from decimal import Decimal


def rupees_of(paise: int) -> Decimal:
    """The same amount in rupees, to the paisa."""
    return Decimal(paise).scaleb(-2)
