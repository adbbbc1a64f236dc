"""Reads and writes the ledger of charges for many jobs at once, each write a step that can be taken twice."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog
from sqlalchemy.exc import DBAPIError

from app.billing import statements
from app.billing.conclusions import Conclusion, ConclusionWriter
from app.billing.finding import Finding
from app.billing.patience import is_passing, or_later, unfrozen
from app.billing.record import RECORDS, ChargeKey, ChargeRecord, keys_as_arrays
from app.billing.settling import SettlingTerms, Skip
from app.db.engine import Database, DatabaseUnavailable
from app.db.group_commit import GroupCommit
from app.deliveries.days import end_of_day
from app.providers.payments.entities import GatewayOrderId

# A charge waits for its gateway far longer than for a write: the larger the groups, the less they cost.
WRITERS: Final = 1

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Right:
    """An attempt's right to have the gateway take the money, once: for this order, under a word of its own."""

    key: ChargeKey
    order_id: GatewayOrderId
    payer: str


class ChargeLedger:
    """The charges of one process. What was concluded is written whatever becomes of the job: see `drained()`.

    Raises DatabaseUnavailable, and ChargeLater where others hold what it needs.

    `pause_after` is the number of refusals in a row that pause a subscription, 0 for never.
    """

    def __init__(
        self,
        database: Database,
        terms: SettlingTerms,
        *,
        pause_after: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._terms = terms
        self._now = now
        self._find = GroupCommit(self._read, tries=2, writers=WRITERS, is_passing=is_passing)
        self._begin = GroupCommit(
            unfrozen(database, self._write_begins), tries=2, writers=WRITERS, is_passing=is_passing
        )
        self._take = GroupCommit(
            unfrozen(database, self._write_rights), tries=2, writers=WRITERS, is_passing=is_passing
        )
        # By then the gateway has answered: what it said is written however long PostgreSQL is away.
        conclusions = ConclusionWriter(database, terms, pause_after=pause_after, now=now)
        self._settle = GroupCommit(
            unfrozen(database, conclusions.write), tries=None, writers=WRITERS, is_passing=is_passing
        )
        self._giving_back: set[asyncio.Task[None]] = set()

    async def find(self, key: ChargeKey) -> ChargeRecord | None:
        """The charge as it stands; None where that delivery was never planned."""
        with or_later(key):
            return await self._find.submit(key)

    async def begin(self, record: ChargeRecord) -> bool:
        """Puts a planned charge on record as being charged, by the mandate of the record.

        True where it waits instead: for an earlier debit of the mandate, by whose end it comes back by itself. Nothing
        happens where anything is otherwise by now than on the record: where it stands, that it is still wanted, by whom
        and from which mandate.
        """
        with or_later(record.key):
            return await self._begin.submit(record)

    async def begin_again(self, record: ChargeRecord) -> None:
        """The same for one that nobody tried to pay, by the gateway's word, unless somebody was faster."""
        with or_later(record.key):
            async with self._database.session() as session:
                await session.execute(statements.PATIENCE)
                await session.execute(statements.BEGIN_AGAIN, {**record.key._asdict(), "payer": record.payer})

    async def take_right(self, right: Right) -> bool:
        """Whether the charge is this attempt's to have paid, by this order.

        Where an error leaves open whether the right was taken, it counts as used. Cancelled, it leaves no right behind.
        """
        taking = self._take.submit(right)
        try:
            with or_later(right.key):
                return await asyncio.shield(taking)
        except asyncio.CancelledError:
            giving_back = asyncio.create_task(self._give_back_once(taking, right), name="right given back")
            self._giving_back.add(giving_back)
            giving_back.add_done_callback(self._giving_back.discard)
            raise

    async def give_back(self, right: Right) -> None:
        """Lets others have the charge paid. Only for who knows for certain that he did not.

        Where that can't be written it is as if he might have, which is safe: it takes two hours and a question more.
        """
        parameters = {**right.key._asdict(), "payer": right.payer}
        try:
            async with self._database.session() as session:
                await session.execute(statements.PATIENCE)
                await session.execute(statements.GIVE_BACK_RIGHT, parameters)
        except (DatabaseUnavailable, DBAPIError) as error:
            log.warning("charge.right_kept", charge=str(right.key), error=type(error).__name__)

    async def settle(
        self, record: ChargeRecord, outcome: Finding | Skip, look: int | None = None
    ) -> ChargeRecord | None:
        """Writes down what follows from what was found out, in one transaction; the charge as it stands then.

        None where others have moved it since, so that it has to be found out anew. Waits for as long as PostgreSQL is
        away.
        """
        return await asyncio.shield(self._settle.submit(Conclusion(record, outcome, look)))

    async def drained(self) -> None:
        """Returns when everything that was concluded is written."""
        while self._giving_back:
            await asyncio.wait(self._giving_back)
        await self._settle.drained()

    async def _give_back_once(self, taking: "asyncio.Future[bool]", right: Right) -> None:
        await asyncio.wait([taking])
        await self.give_back(right)

    async def _read(self, keys: Sequence[ChargeKey]) -> Sequence[ChargeRecord | None]:
        async with self._database.autocommit() as connection:
            records = [ChargeRecord.of(row) for row in await connection.execute(RECORDS, keys_as_arrays(keys))]
        found = {record.key: record for record in records}
        return [found.get(key) for key in keys]

    async def _write_begins(self, records: Sequence[ChargeRecord]) -> Sequence[bool]:
        keys = [record.key for record in records]
        parameters = {
            **keys_as_arrays(keys),
            "tokens": [record.mandate_token_id for record in records],
            "ends": [end_of_day(record.delivery_date) for record in records],
            "task": self._terms.charging,
        }
        async with self._database.session() as session:
            await session.execute(statements.PATIENCE)
            await session.execute(statements.LOCK_TOKENS, {"tokens": parameters["tokens"]})
            begun_now = await session.execute(statements.BEGIN, parameters)
            waits = {ChargeKey(day, subscription_id): wait for day, subscription_id, wait in begun_now}
        return [waits.get(key, False) for key in keys]

    async def _write_rights(self, rights: Sequence[Right]) -> Sequence[bool]:
        parameters = {
            **keys_as_arrays([right.key for right in rights]),
            "orders": [right.order_id for right in rights],
            "payers": [right.payer for right in rights],
            "now": self._now(),
        }
        async with self._database.session() as session:
            await session.execute(statements.PATIENCE)
            taken = {row.payer for row in await session.execute(statements.TAKE_RIGHT, parameters)}
        return [right.payer in taken for right in rights]
