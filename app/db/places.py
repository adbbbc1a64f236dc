"""Where rows lie, and by which transactions they were written: PostgreSQL's system columns."""

from typing import Any

from sqlalchemy import ColumnElement, cast, literal
from sqlalchemy.types import UserDefinedType

# Where a row lies in its table: page, number on the page.
Place = tuple[int, int]


class Tid(UserDefinedType[Place]):
    """A row's place, as PostgreSQL's driver takes it: a pair of numbers."""

    cache_ok = True

    def get_col_spec(self, **_options: Any) -> str:
        return "tid"


class Xid(UserDefinedType[str]):
    """The number of a transaction."""

    cache_ok = True

    def get_col_spec(self, **_options: Any) -> str:
        return "xid"


def tid(place: Place) -> ColumnElement[Place]:
    """That place as a parameter of a statement."""
    return cast(literal(place, Tid()), Tid())
