"""Deletes what is old from a table of any size, in short transactions, while everybody else goes on working."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    ColumnElement,
    Select,
    String,
    Text,
    any_,
    cast,
    delete,
    func,
    literal,
    literal_column,
    select,
    true,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from app.db.batch_size import BatchSize
from app.db.engine import Database
from app.db.old_rows import OldRows
from app.db.pacing import PacedTransactions
from app.db.places import Place, Tid, Xid, tid

log = structlog.stdlib.get_logger(__name__)

# Pages that one transaction looks through at most: 16 MiB, which a slow disk reads in the time of a batch.
PAGES = 2_048
# Pages of which everything old goes by one statement, until it is known how long that takes.
FIRST_PAGES = 64
BEGINNING: Place = (0, 0)
# Source: PostgreSQL, appendix A. PostgreSQL 18 tells RESTRICT (23001) from the other foreign keys.
FOREIGN_KEY = {"23503", "23001"}
LOCKED = {"55P03", "40P01"}
# Of the rows that a foreign key keeps, the log names so many.
MOST_NAMED = 20


@dataclass(slots=True)
class Tally:
    """What became of rows so far. `childless` are among those deleted, where rows can have children at all.

    `refused` were kept by a foreign key, `in_use` by somebody who was writing them or their children just then.
    """

    deleted: int = 0
    childless: int = 0
    refused: int = 0
    in_use: int = 0
    refused_keys: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows by their keys, all of them lying between two places, both included."""

    keys: Sequence[Any]
    first: Place
    last: Place

    def halves(self) -> list["_Batch"]:
        middle = len(self.keys) // 2
        return [_Batch(keys, self.first, self.last) for keys in (self.keys[:middle], self.keys[middle:])]


class BatchDeletion:
    """Walks through a table in the order in which its rows lie on disk, and deletes those that are old.

    That order needs no index, reads and dirties each page once, and a walk can end at any time: what it deleted is
    gone, and the next one passes quickly over the empty pages. A row that is moved behind the walk by a change is left
    to the next.
    """

    def __init__(
        self,
        database: Database,
        rows: OldRows,
        *,
        size: BatchSize | None = None,
        clock: Callable[[], float] = time.monotonic,
        rest: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._rows = rows
        self._size = size or BatchSize()
        self._pages = BatchSize(first=FIRST_PAGES, most=PAGES)
        # Before this place rows are locked, named and only then deleted.
        self._careful_until: Place = BEGINNING
        self._transactions = PacedTransactions(database, clock=clock, rest=rest)
        self._key = rows.table.primary_key.columns[0]
        self._place = literal_column(f"{rows.table.fullname}.ctid", Tid())
        self._oldest_transaction = ""
        self.tally = Tally()

    async def run(self, told: Callable[[Tally], None]) -> None:
        """Deletes what is old by now; `told` is called after each transaction that did something.

        Ended at any await, it leaves `tally` behind, which may lack the last transaction. Raises DatabaseUnavailable.
        """
        async with self._database.session() as session:
            self._oldest_transaction, pages = (await session.execute(self._beginning())).one()
        if self._rows.children is not None:
            self._careful_until = (pages, 0)
        after = BEGINNING
        while after[0] < pages:
            if after < self._careful_until:
                began = self._transactions.worked
                rows, after = await self._next_batch(after)
                self._size.learn(rows, self._transactions.worked - began)
            else:
                rows, after = await self._next_pages(after)
            if rows:
                told(self.tally)
        if self.tally.refused:
            log.warning(
                "deletion.refused",
                table=self._rows.table.fullname,
                rows=self.tally.refused,
                some_keys=self.tally.refused_keys,
            )

    def _beginning(self) -> Select[str, int]:
        """The oldest transaction that has not ended, and how many pages there are: what comes later is not old."""
        oldest = cast(cast(func.pg_snapshot_xmin(func.pg_current_snapshot()), Xid()), Text)
        page = cast(func.current_setting("block_size"), BigInteger)
        return select(oldest, cast(func.pg_relation_size(self._rows.table.fullname) / page, BigInteger))

    async def _next_pages(self, after: Place) -> tuple[int, Place]:
        """Deletes all old rows of some pages behind `after`: how many, and where to go on.

        A plain DELETE, where nobody asks which rows they were. Where one of them can't go, nothing is done yet: it is
        the careful way that goes on.
        """
        pages = self._pages.rows
        end = (after[0] + pages, 0)
        statement = delete(self._rows.table).where(self._between(after, end), self._rows.is_old)
        began = self._transactions.worked
        try:
            async with self._transactions.begin() as session:
                rows = (await (await session.connection()).execute(statement)).rowcount
        except DBAPIError as error:
            if not _is_because_of_a_row(error):
                raise
            self._careful_until = end
            return 0, after
        self._pages.learn(pages, self._transactions.worked - began)
        self.tally.deleted += rows
        return rows, end

    async def _next_batch(self, after: Place) -> tuple[int, Place]:
        """Deletes old rows behind `after` with care: how many it met, and where to go on."""
        limit = self._size.rows
        end = min((after[0] + PAGES, 0), self._careful_until)
        batch = _Batch([], after, end)
        try:
            async with self._transactions.begin() as session:
                batch = await self._locked(session, self._between(after, end), limit)
                deleted, childless = await self._delete(session, batch)
        except DBAPIError as error:
            if not batch.keys or not _is_because_of_a_row(error):
                raise
            await self._one_by_one(batch, error)
        else:
            self._note(batch, deleted, childless)
        return len(batch.keys), batch.last if len(batch.keys) == limit else end

    def _between(self, after: Place, end: Place) -> ColumnElement[bool]:
        """Places behind `after` and before `end`."""
        return (self._place > tid(after)) & (self._place < tid(end))

    async def _one_by_one(self, batch: _Batch, error: DBAPIError) -> None:
        """Deletes all of a batch but the rows that can't be, which are found by halving it."""
        failed = [(batch, error)]
        while failed:
            batch, error = failed.pop()
            if len(batch.keys) == 1:
                self._keep(batch.keys[0], error)
                continue
            for half in batch.halves():
                try:
                    async with self._transactions.begin() as session:
                        within = self._place.between(tid(half.first), tid(half.last))
                        locked = await self._locked(session, within & self._is_one_of(half.keys), len(half.keys))
                        deleted, childless = await self._delete(session, locked)
                except DBAPIError as still:
                    if not _is_because_of_a_row(still):
                        raise
                    failed.append((half, still))
                else:
                    self._note(half, deleted, childless)

    async def _locked(self, session: AsyncSession, within: ColumnElement[bool], limit: int) -> _Batch:
        """Old rows, locked and so as they are; those that somebody else has locked are passed over.

        FOR UPDATE: whoever adds a child locks the row too, and until the end of this transaction nobody can.
        """
        found = (
            select(self._key.label("key"), self._place.label("place"))
            .where(within, self._rows.is_old)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .subquery()
        )
        keys, first, last = (
            await session.execute(select(func.array_agg(found.c.key), func.min(found.c.place), func.max(found.c.place)))
        ).one()
        return _Batch(keys or [], first, last)

    async def _delete(self, session: AsyncSession, batch: _Batch) -> tuple[int, int]:
        """How many of the locked rows were deleted, and how many of these had no children.

        A statement of its own: it sees every child that was added until the rows were locked.
        """
        if not batch.keys:
            return 0, 0
        # One parameter, however often it is named.
        keys = literal(batch.keys, ARRAY(self._key.type))
        # The places keep the planner from reading the whole table for its keys.
        statement = delete(self._rows.table).where(
            self._place.between(tid(batch.first), tid(batch.last)), self._key == any_(keys)
        )
        if self._rows.children is None:
            gone = statement.returning(true().label("gone")).cte("gone")
            parents: ColumnElement[int] = literal(len(batch.keys))
        else:
            with_children = self._parents(self._rows.children, keys)
            in_use = select(with_children.c.key).where(with_children.c.is_in_use)
            gone = statement.where(self._key.not_in(in_use)).returning(true().label("gone")).cte("gone")
            parents = (
                select(func.count()).select_from(with_children).where(~with_children.c.is_in_use).scalar_subquery()
            )
        deleted, had_children = (await session.execute(select(func.count(), parents).select_from(gone))).one()
        return deleted, deleted - had_children

    def _parents(self, children: InstrumentedAttribute[Any], keys: ColumnElement[Sequence[Any]]) -> CTE:
        """Which of the keys have children, and whether one of those was written since the walk began."""
        written_by = literal_column(f"{children.table.fullname}.xmin", Xid())
        # The age of a transaction is how many began after it.
        since = func.age(cast(literal(self._oldest_transaction, String), Xid()))
        return (
            select(children.label("key"), func.bool_or(func.age(written_by) <= since).label("is_in_use"))
            # Behind a subquery: the planner would look up how frequent each key is, 7 ms for 20,000 of them.
            .where(children == any_(cast(select(keys).scalar_subquery(), keys.type)))
            .group_by(children)
            .cte("parents")
        )

    def _is_one_of(self, keys: Sequence[Any]) -> ColumnElement[bool]:
        return self._key == any_(literal(keys, ARRAY(self._key.type)))

    def _note(self, batch: _Batch, deleted: int, childless: int) -> None:
        self.tally.deleted += deleted
        self.tally.childless += childless
        self.tally.in_use += len(batch.keys) - deleted

    def _keep(self, key: Any, error: DBAPIError) -> None:
        if _sqlstate(error) in LOCKED:
            self.tally.in_use += 1
            return
        self.tally.refused += 1
        if len(self.tally.refused_keys) < MOST_NAMED:
            self.tally.refused_keys.append(key)


def _is_because_of_a_row(error: DBAPIError) -> bool:
    """Whether the same would succeed without some of the rows."""
    return _sqlstate(error) in FOREIGN_KEY | LOCKED


def _sqlstate(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""
