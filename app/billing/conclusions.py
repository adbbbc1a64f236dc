"""Writing down what was concluded about charges, many at once, each with all that follows from it or not at all."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from app.billing import rows, statements, telling
from app.billing.finding import Finding
from app.billing.record import RECORDS, ChargeKey, ChargeRecord, keys_as_arrays
from app.billing.settling import Settlement, SettlingTerms, Skip, settlement, wants_unit
from app.billing.telling import NewJob
from app.db.charges import DAYS_BACK_EACH
from app.db.engine import Database
from app.db.shop import OrderId, ProductId, SubscriptionId
from app.deliveries import stock
from app.deliveries.days import end_of_day
from app.india import INDIA
from app.providers.payments.standing import Standing

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What was found out about a charge, to be written down; `look` as for `settlement`."""

    record: ChargeRecord
    outcome: Finding | Skip
    look: int | None


class ConclusionWriter:
    """`pause_after` is the number of refusals in a row that pause a subscription, 0 for never."""

    def __init__(
        self, database: Database, terms: SettlingTerms, *, pause_after: int, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._terms = terms
        self._pause_after = pause_after
        self._now = now

    async def write(self, conclusions: Sequence[Conclusion]) -> Sequence[ChargeRecord | None]:
        """The charges as they stand then; None for one that others have moved since it was concluded upon."""
        # Two of one charge see each other's effect.
        first, rest = _without_doubles(conclusions)
        settled = {id(conclusion): record for conclusion, record in zip(first, await self._write(first), strict=True)}
        for conclusion in rest:
            [settled[id(conclusion)]] = await self._write([conclusion])
        return [settled[id(conclusion)] for conclusion in conclusions]

    async def _write(self, conclusions: Sequence[Conclusion]) -> Sequence[ChargeRecord | None]:
        now = self._now()
        async with self._database.session() as session:
            records = await _lock(session, [conclusion.record for conclusion in conclusions])
            overtaken: set[ChargeKey] = set()
            late: list[Conclusion] = []
            others: list[Conclusion] = []
            for each in conclusions:
                record = records[each.record.key]
                if _is_overtaken(each, record):
                    overtaken.add(record.key)
                elif wants_unit(record, each.outcome, now):
                    late.append(each)
                else:
                    others.append(each)
            settled = self._settled(others, records, now)
            after = await self._write_down(session, settled)
            units = Counter[ProductId]()
            _count(units, settled)
            if late:
                # Products are locked last: whoever has one is soon done, and waits for nobody but who has another.
                wanted = {records[each.record.key].product_id for each in late}
                in_stock = Counter(await stock.locked(session, wanted | units.keys())) + units
                delivered = self._settled(late, records, now, in_stock)
                after |= await self._write_down(session, delivered)
                _count(units, delivered)
                settled += delivered
            await stock.give_back(session, units)
        for done in settled:
            _log(done)
        keys = (conclusion.record.key for conclusion in conclusions)
        return [None if key in overtaken else after.get(key, records[key]) for key in keys]

    def _settled(
        self,
        conclusions: Sequence[Conclusion],
        records: Mapping[ChargeKey, ChargeRecord],
        now: datetime,
        in_stock: Mapping[ProductId, int] | None = None,
    ) -> list[Settlement]:
        """What follows, where anything does; those that want a unit get one while there are any in stock."""
        left = Counter(in_stock)
        settled = []
        for conclusion in conclusions:
            record = records[conclusion.record.key]
            has_unit = left[record.product_id] > 0
            each = settlement(record, conclusion.outcome, self._terms, now=now, look=conclusion.look, has_unit=has_unit)
            if each is not None:
                settled.append(each)
                left[record.product_id] += each.units_back
        return settled

    async def _write_down(
        self, session: AsyncSession, settlements: Sequence[Settlement]
    ) -> dict[ChargeKey, ChargeRecord]:
        """All that follows but what it does to the stock; the charges as they stand then."""
        if not settlements:
            return {}
        written = await session.execute(
            statements.SETTLE, {"settlements": rows.as_json(map(rows.of_settlement, settlements))}
        )
        orders: Mapping[ChargeKey, OrderId | None] = {
            ChargeKey(day, subscription_id): order_id for day, subscription_id, order_id in written
        }
        jobs = [job for each in settlements for job in each.jobs]
        if self._pause_after:
            jobs += await self._refused_again(session, [each.before for each in settlements if each.is_refusal])
        if jobs:
            await session.execute(statements.ENQUEUE, {"jobs": rows.as_json(map(rows.of_job, jobs))})
        periods = [rows.of_period(each.before, each.period) for each in settlements if each.period]
        if periods:
            await session.execute(statements.KEEP_PERIODS, {"periods": rows.as_json(periods)})
            await session.execute(statements.OWE, {"periods": rows.as_json(periods), "task": self._terms.charging})
        if freed := [each.before for each in settlements if each.frees_token]:
            ended = {"tokens": [each.token_id for each in freed], "keys": [str(each.key) for each in freed]}
            await session.execute(statements.WAKE, {**ended, "task": self._terms.charging})
        return {each.before.key: _after(each, orders[each.before.key]) for each in settlements}

    async def _refused_again(self, session: AsyncSession, refusals: Sequence[ChargeRecord]) -> list[NewJob]:
        """Pauses the subscriptions that were refused too often; what their customers and the owner are told."""
        # Of several dates of one subscription the last.
        refused: dict[SubscriptionId, ChargeRecord] = {
            each.subscription_id: each for each in sorted(refusals, key=lambda each: each.key)
        }
        if not refused:
            return []
        parameters = {
            "ids": list(refused),
            "days": [record.delivery_date for record in refused.values()],
            "ways": [record.way for record in refused.values()],
            "days_back": DAYS_BACK_EACH * self._pause_after,
            "refusals": self._pause_after,
        }
        jobs: dict[str, NewJob] = {}
        for subscription_id, is_paused, is_reported in await session.execute(statements.REFUSED_AGAIN, parameters):
            record = refused[subscription_id]
            if is_paused:
                log.warning("subscription.paused", subscription_id=subscription_id, refusals=self._pause_after)
                told = telling.paused(record, self._terms.correspondence, self._pause_after)
                jobs |= {job.key: job for job in told}
            if is_reported:
                again = self._report_again(record)
                jobs[again.key] = again
        return list(jobs.values())

    def _report_again(self, record: ChargeRecord) -> NewJob:
        """The owner has the report already, which could not name it: another one goes out when the day is over."""
        today = self._now().astimezone(INDIA).date()
        return NewJob(
            self._terms.reporting,
            {"delivery_date": record.delivery_date.isoformat()},
            f"report:{record.delivery_date}:again:{today}",
            end_of_day(today),
        )


async def _lock(session: AsyncSession, concluded: Sequence[ChargeRecord]) -> Mapping[ChargeKey, ChargeRecord]:
    """The charges as they are, until the transaction ends."""
    keys = [record.key for record in concluded]
    await session.execute(statements.PATIENCE)
    if tokens := [record.token_id for record in concluded if record.token_id]:
        await session.execute(statements.LOCK_TOKENS, {"tokens": tokens})
    charges = await session.execute(statements.LOCK_CHARGES, keys_as_arrays(keys))
    if orders := [row.order_id for row in charges if row.order_id is not None]:
        await session.execute(statements.LOCK_ORDERS, {"ids": orders})
    found = await session.execute(RECORDS, keys_as_arrays(keys))
    return {record.key: record for record in map(ChargeRecord.of, found)}


def _count(units: Counter[ProductId], settlements: Sequence[Settlement]) -> None:
    for each in settlements:
        units[each.before.product_id] += each.units_back


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


def _after(each: Settlement, order_id: OrderId | None) -> ChargeRecord:
    finding = each.finding
    return replace(
        each.before,
        state=each.state,
        reason=each.reason,
        units_held=each.units_held,
        is_owed=each.is_owed,
        looks=each.looks,
        next_look_at=each.next_look_at,
        refused_at=each.refused_at,
        order_id=order_id,
        order_status=each.order.order_status if each.order else each.before.order_status,
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
