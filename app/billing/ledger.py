"""Reads and writes the ledger of charges for many jobs at once, each write a step that can be taken twice."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app.billing import rows, statements, telling
from app.billing.failures import ChargeLater
from app.billing.finding import Finding
from app.billing.record import RECORDS, ChargeKey, ChargeRecord, keys_as_arrays
from app.billing.settling import Settlement, SettlingTerms, Skip, settlement, wants_unit
from app.billing.telling import NewJob
from app.db.engine import Database, DatabaseUnavailable, is_passing
from app.db.frozen import end_frozen, waited_in_vain
from app.db.group_commit import Answer, GroupCommit, Item, Write
from app.db.shop import ProductId, SubscriptionId
from app.deliveries.days import end_of_day
from app.deliveries.planning import return_stock, take_one
from app.providers.payments.entities import GatewayOrderId
from app.providers.payments.standing import Standing

T = TypeVar("T")

log = structlog.stdlib.get_logger(__name__)

# How far back refusals in a row are looked for, for each of them: a weekly delivery, and one that was skipped.
_DAYS_BACK_EACH = 14


@dataclass(frozen=True, slots=True)
class Right:
    """An attempt's right to have the gateway take the money, once: for this order, under a word of its own."""

    key: ChargeKey
    order_id: GatewayOrderId
    payer: str


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What was found out about a charge, to be written down; `look` as for `settlement`."""

    record: ChargeRecord
    outcome: Finding | Skip
    look: int | None


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
        self._pause_after = pause_after
        self._now = now
        self._find = GroupCommit(self._read, tries=2, is_passing=_is_passing)
        self._begin = GroupCommit(self._unfrozen(self._write_begins), tries=2, is_passing=_is_passing)
        self._take = GroupCommit(self._unfrozen(self._write_rights), tries=2, is_passing=_is_passing)
        # By then the gateway has answered: what it said is written however long PostgreSQL is away.
        self._settle = GroupCommit(self._unfrozen(self._write_settlements), tries=None, is_passing=_is_passing)
        self._giving_back: set[asyncio.Task[None]] = set()

    async def find(self, key: ChargeKey) -> ChargeRecord | None:
        """The charge as it stands; None where that delivery was never planned."""
        return await _or_later(key, self._find.submit(key))

    async def begin(self, record: ChargeRecord) -> bool:
        """Puts a planned charge on record as being charged, by the mandate of the record.

        True where it waits instead: for an earlier debit of the mandate, by whose end it comes back by itself. Nothing
        happens where anything is otherwise by now than on the record: where it stands, that it is still wanted, by whom
        and from which mandate.
        """
        return await _or_later(record.key, self._begin.submit(record))

    async def begin_again(self, record: ChargeRecord) -> None:
        """The same for one that nobody tried to pay, by the gateway's word, unless somebody was faster."""
        async with self._database.session() as session:
            await session.execute(statements.BEGIN_AGAIN, {**record.key._asdict(), "payer": record.payer})

    async def take_right(self, right: Right) -> bool:
        """Whether the charge is this attempt's to have paid, by this order.

        Where an error leaves open whether the right was taken, it counts as used. Cancelled, it leaves no right behind.
        """
        taking = self._take.submit(right)
        try:
            return await _or_later(right.key, asyncio.shield(taking))
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

    def _unfrozen(self, write: Write[Item, Answer]) -> Write[Item, Answer]:
        """The same write, which takes the locks of workers that stand still away from them for the next time."""

        async def unfrozen(items: Sequence[Item]) -> Sequence[Answer]:
            try:
                return await write(items)
            except DBAPIError as error:
                if waited_in_vain(error) and (ended := await end_frozen(self._database)):
                    log.warning("database.frozen_ended", connections=ended)
                raise

        return unfrozen

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

    async def _write_settlements(self, conclusions: Sequence[Conclusion]) -> Sequence[ChargeRecord | None]:
        # Two of one charge see each other's effect.
        first, rest = _without_doubles(conclusions)
        settled = {id(conclusion): record for conclusion, record in zip(first, await self._write(first), strict=True)}
        for conclusion in rest:
            [settled[id(conclusion)]] = await self._write([conclusion])
        return [settled[id(conclusion)] for conclusion in conclusions]

    async def _write(self, conclusions: Sequence[Conclusion]) -> Sequence[ChargeRecord | None]:
        keys = [conclusion.record.key for conclusion in conclusions]
        tokens = [conclusion.record.token_id for conclusion in conclusions if conclusion.record.token_id]
        async with self._database.session() as session:
            await session.execute(statements.PATIENCE)
            if tokens:
                await session.execute(statements.LOCK_TOKENS, {"tokens": tokens})
            await session.execute(statements.LOCK_CHARGES, keys_as_arrays(keys))
            found = await session.execute(RECORDS, keys_as_arrays(keys))
            records = {record.key: record for record in map(ChargeRecord.of, found)}
            overtaken = {
                conclusion.record.key
                for conclusion in conclusions
                if _is_overtaken(conclusion, records[conclusion.record.key])
            }
            decided = [
                None if conclusion.record.key in overtaken else await self._decide(session, conclusion, records)
                for conclusion in conclusions
            ]
            settlements = [each for each in decided if each is not None]
            orders = await self._write_down(session, settlements) if settlements else {}
        for each in settlements:
            _log(each)
        after = {each.before.key: _after(each, orders) for each in settlements}
        return [None if key in overtaken else after.get(key, records[key]) for key in keys]

    async def _decide(
        self, session: AsyncSession, conclusion: Conclusion, records: Mapping[ChargeKey, ChargeRecord]
    ) -> Settlement | None:
        record, now = records[conclusion.record.key], self._now()
        # Locks a product before the shop's other rows, against everybody's order: so seldom that who dies of it for
        # the other may as well try again.
        has_unit = wants_unit(record, conclusion.outcome, now) and await take_one(session, record.product_id)
        return settlement(record, conclusion.outcome, self._terms, now=now, look=conclusion.look, has_unit=has_unit)

    async def _write_down(self, session: AsyncSession, settlements: Sequence[Settlement]) -> Mapping[ChargeKey, Any]:
        written = await session.execute(
            statements.SETTLE, {"settlements": rows.as_json(map(rows.of_settlement, settlements))}
        )
        orders = {ChargeKey(day, subscription_id): order_id for day, subscription_id, order_id in written}
        jobs = [job for each in settlements for job in each.jobs]
        if self._pause_after:
            jobs += await self._pause(session, [each for each in settlements if each.is_refusal])
        if jobs:
            await session.execute(statements.ENQUEUE, {"jobs": rows.as_json(map(rows.of_job, jobs))})
        periods = [rows.of_period(each.before, each.period) for each in settlements if each.period]
        if periods:
            await session.execute(statements.KEEP_PERIODS, {"periods": rows.as_json(periods)})
            await session.execute(statements.OWE, {"periods": rows.as_json(periods)})
        if freed := [each.before for each in settlements if each.frees_token]:
            ended = {"tokens": [each.token_id for each in freed], "keys": [str(each.key) for each in freed]}
            await session.execute(statements.WAKE, {**ended, "task": self._terms.charging})
        units: Counter[ProductId] = Counter()
        for each in settlements:
            units[each.before.product_id] += each.units_back
        await return_stock(session, +units)
        return orders

    async def _pause(self, session: AsyncSession, refusals: Sequence[Settlement]) -> list[NewJob]:
        """Pauses the subscriptions that were refused too often; what their customers are told."""
        refused: dict[SubscriptionId, ChargeRecord] = {}
        for each in sorted(refusals, key=lambda each: each.before.key):
            if each.before.way == "mandate":
                refused[each.before.subscription_id] = each.before
        if not refused:
            return []
        parameters = {
            "ids": list(refused),
            "days": [record.delivery_date for record in refused.values()],
            "days_back": _DAYS_BACK_EACH * self._pause_after,
            "refusals": self._pause_after,
        }
        paused = (await session.scalars(statements.PAUSE, parameters)).all()
        for subscription_id in paused:
            log.warning("subscription.paused", subscription_id=subscription_id, refusals=self._pause_after)
        return [
            job
            for number in paused
            for job in telling.paused(refused[number], self._terms.correspondence, self._pause_after)
        ]


async def _or_later(key: ChargeKey, writing: "asyncio.Future[T]") -> T:
    try:
        return await writing
    except DBAPIError as error:
        if not is_passing(error):
            raise
        raise ChargeLater(key, "others hold what it needs in the database") from error


def _is_passing(error: Exception) -> bool:
    return isinstance(error, DatabaseUnavailable) or (isinstance(error, DBAPIError) and is_passing(error))


def _is_overtaken(conclusion: Conclusion, record: ChargeRecord) -> bool:
    """Whether somebody else has moved it since: that there was no payment is only true of when it was asked."""
    outcome, seen = conclusion.outcome, conclusion.record
    if not isinstance(outcome, Finding) or outcome.payment_id is not None:
        return False
    match outcome.standing:
        case Standing.REFUSED:
            return seen.payer != record.payer
        case Standing.UNKNOWN:
            return seen.state != record.state
        case _:
            return False


def _without_doubles(conclusions: Sequence[Conclusion]) -> tuple[list[Conclusion], list[Conclusion]]:
    """The first conclusion about each charge, and the others."""
    first: dict[ChargeKey, Conclusion] = {}
    rest = [
        conclusion
        for conclusion in conclusions
        if first.setdefault(conclusion.record.key, conclusion) is not conclusion
    ]
    return list(first.values()), rest


def _after(each: Settlement, orders: Mapping[ChargeKey, Any]) -> ChargeRecord:
    finding = each.finding
    return replace(
        each.before,
        state=each.state,
        reason=each.reason,
        units_held=each.units_held,
        is_owed=each.is_owed,
        looks=each.looks,
        next_look_at=each.next_look_at,
        order_id=orders[each.before.key],
        razorpay_order_id=each.before.razorpay_order_id or (None if finding is None else finding.order_id),
        razorpay_payment_id=(None if finding is None else finding.payment_id) or each.before.razorpay_payment_id,
    )


def _log(each: Settlement) -> None:
    record = each.before
    needs_somebody = each.is_owed or (each.state in ("pending", "unknown") and each.next_look_at is None)
    level = log.error if needs_somebody else log.info
    level(
        "charge.settled",
        subscription_id=record.subscription_id,
        date=record.delivery_date.isoformat(),
        before=record.state,
        state=each.state,
        reason=each.reason,
        owed=each.is_owed,
    )
