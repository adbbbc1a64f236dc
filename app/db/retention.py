"""Deleting what need not be kept any longer, page by page: many rows at once would hold up others and bloat the log."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause

from app.db.engine import Database
from app.db.pacing import PacedTransactions

MOST_ROWS_A_STATEMENT = 1_000


@dataclass(frozen=True, slots=True)
class PagedDelete:
    """A statement that looks at the next `:most` rows in the order of an index.

    It deletes those that are over and older than `:before`. Its one row says how many were `deleted`, and under the
    names in `start` where to go on; it has none where nothing is left to look at.
    """

    delete_page: TextClause
    start: Mapping[str, Any]


async def delete_old(
    database: Database,
    statement: PagedDelete,
    before: datetime,
    *,
    rest: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> int:
    """Deletes what is older, at a pace that leaves others room; returns how many. Raises DatabaseUnavailable."""
    transactions = PacedTransactions(database, rest=rest)
    deleted = 0
    at = statement.start
    while True:
        parameters = {**at, "before": before, "most": MOST_ROWS_A_STATEMENT}
        async with transactions.begin() as session:
            last = (await session.execute(statement.delete_page, parameters)).mappings().first()
        if last is None:
            return deleted
        deleted += last["deleted"]
        at = {name: last[name] for name in statement.start}
