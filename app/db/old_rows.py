"""Which rows of a table are old."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, func, select
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute


@dataclass(frozen=True, slots=True)
class OldRows:
    """What may go: the rows of a table with one key column for which `is_old` holds.

    `children` is the column of another table that refers to these rows, and whose own rows go with them by ON DELETE
    CASCADE. A row with a child that was written while the deletion runs is in use, and stays.
    """

    kind: type[DeclarativeBase]
    is_old: ColumnElement[bool]
    children: InstrumentedAttribute[Any] | None = None

    @property
    def table(self) -> Table:
        table = self.kind.__table__
        if not isinstance(table, Table):
            raise TypeError(f"the rows of {self.kind.__name__} lie in no table of their own")
        return table

    @property
    def count(self) -> Select[int]:
        return select(func.count()).select_from(self.table).where(self.is_old)
