"""Orders that are made days ahead, so that banks announce their debits in time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import text

from app.billing.failures import ChargeLater, later
from app.billing.ledger import WRITERS
from app.billing.patience import is_passing, or_later, unfrozen
from app.billing.record import ChargeKey, keys_as_arrays
from app.billing.statements import PATIENCE
from app.db.engine import Database
from app.db.group_commit import GroupCommit
from app.db.shop import SubscriptionId
from app.deliveries.names import receipt
from app.errors import NotDone
from app.providers.failures import ProviderOutcomeUnknown, ProviderRefused
from app.providers.payments.entities import GatewayOrder, Paise
from app.providers.payments.razorpay import Razorpay
from app.providers.payments.requests import Notice, OrderRequest

log = structlog.stdlib.get_logger(__name__)

# From a notice to the debit that it announces, as Razorpay does it by itself; with less it refuses the debit.
NOTICE_TAKES: Final[Mapping[str, timedelta]] = {"upi": timedelta(hours=25), "card": timedelta(hours=36)}
# How long a request for an order can be under way, and how soon the order is on Razorpay's list.
ASKING_TAKES: Final = timedelta(minutes=1)

_KEYS = "unnest(CAST(:days AS date[]), CAST(:subscriptions AS integer[])"
_FIND = text(f"""
    SELECT n.delivery_date, n.subscription_id, n.amount_paise, n.token_id, n.asked_at, n.razorpay_order_id, n.refusal,
        m.token_id AS mandate_token_id, m.method AS mandate_method,
        coalesce(s.status = 'active' AND s.product_id = n.product_id, false) AND NOT EXISTS (
            SELECT FROM tasks.charges c WHERE c.delivery_date = n.delivery_date
                AND c.subscription_id = n.subscription_id
        ) AS is_expected
    FROM {_KEYS}) AS wanted (delivery_date, subscription_id)
    JOIN tasks.debit_notices n USING (delivery_date, subscription_id)
    LEFT JOIN tasks.mandates m USING (subscription_id)
    LEFT JOIN subscriptions s ON s.id = n.subscription_id
""")  # noqa: S608 -- our own words
# Only by who knows of all that was asked for before.
_ASK = text(f"""
    UPDATE tasks.debit_notices n SET token_id = wanted.token_id, asked_at = :now
    FROM {_KEYS}, CAST(:tokens AS text[]), CAST(:known AS timestamptz[]))
        AS wanted (delivery_date, subscription_id, token_id, known_at)
    WHERE n.delivery_date = wanted.delivery_date AND n.subscription_id = wanted.subscription_id
        AND n.asked_at IS NOT DISTINCT FROM wanted.known_at AND n.razorpay_order_id IS NULL AND n.refusal IS NULL
    RETURNING n.delivery_date, n.subscription_id
""")  # noqa: S608
_KEEP = text(f"""
    UPDATE tasks.debit_notices n SET razorpay_order_id = wanted.order_id, refusal = wanted.refusal,
        token_id = coalesce(n.token_id, wanted.token_id)
    FROM {_KEYS}, CAST(:tokens AS text[]), CAST(:orders AS text[]), CAST(:refusals AS text[]))
        AS wanted (delivery_date, subscription_id, token_id, order_id, refusal)
    WHERE n.delivery_date = wanted.delivery_date AND n.subscription_id = wanted.subscription_id
        AND n.razorpay_order_id IS NULL
""")  # noqa: S608

Announced = Literal["announced", "refused", "not_needed", "too_late"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _PlannedNotice:
    """A row of `tasks.debit_notices`, and what the shop knows by now of the mandate and whether there is a debit."""

    delivery_date: date
    subscription_id: SubscriptionId
    amount_paise: Paise
    token_id: str | None
    asked_at: datetime | None
    razorpay_order_id: str | None
    refusal: str | None
    mandate_token_id: str | None
    mandate_method: str | None
    is_expected: bool

    @property
    def key(self) -> ChargeKey:
        return ChargeKey(self.delivery_date, self.subscription_id)

    @property
    def is_needed(self) -> bool:
        """An order that may have been made for another mandate is good for none: the charge makes its own."""
        return self.is_expected and self.mandate_token_id is not None and self.token_id in (None, self.mandate_token_id)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What is to be kept of a notice: the order, or why there is none."""

    key: ChargeKey
    token_id: str | None = None
    order_id: str | None = None
    refusal: str | None = None


class DebitNotices:
    """Has banks announce debits, each once. A delivery whose debit is not announced is charged all the same.

    `timezone` is that of the schedules, by which the day of a delivery may begin before it does in UTC.
    """

    def __init__(
        self,
        database: Database,
        gateway: Razorpay,
        timezone: ZoneInfo,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._gateway = gateway
        self._timezone = timezone
        self._now = now
        self._find = GroupCommit(self._read, tries=2, writers=WRITERS, is_passing=is_passing)
        self._ask = GroupCommit(unfrozen(database, self._write_asked), tries=2, writers=WRITERS, is_passing=is_passing)
        self._keep = GroupCommit(
            unfrozen(database, self._write_outcomes), tries=2, writers=WRITERS, is_passing=is_passing
        )

    async def announce(self, key: ChargeKey, hold: Callable[[], None] = lambda: None) -> Announced:
        """What became of the notice of that delivery's debit. Raises Unavailable where it has to wait.

        `hold` raises where the job may be another worker's by now.
        """
        with or_later(key):
            notice = await self._find.submit(key)
        if notice is None or not notice.is_needed:
            return "not_needed"
        if notice.razorpay_order_id is not None:
            return "announced"
        if notice.refusal is not None:
            return "refused"
        # From the first moment at which its day can be run; the bank has told its customer a day before.
        payment_after = min(datetime.combine(key.delivery_date, time(), zone) for zone in (UTC, self._timezone))
        if self._now() + _takes(notice) > payment_after:
            return "too_late"
        try:
            order = await self._order(notice, payment_after, hold)
        except (ProviderRefused, ProviderOutcomeUnknown) as refused:
            log.warning(
                "debit.not_announced",
                subscription_id=key.subscription_id,
                date=key.delivery_date.isoformat(),
                reason=str(refused),
            )
            outcome = _Outcome(key, refusal=refused.code)
        else:
            outcome = _Outcome(key, notice.mandate_token_id, order.id)
        with or_later(key):
            await self._keep.submit(outcome)
        return "announced" if outcome.refusal is None else "refused"

    async def _order(self, notice: _PlannedNotice, payment_after: datetime, hold: Callable[[], None]) -> GatewayOrder:
        """The order that there is by an earlier request, or a new one."""
        key, token_id = notice.key, notice.mandate_token_id or ""
        wanted = OrderRequest(
            receipt(key.delivery_date, key.subscription_id),
            notice.amount_paise,
            {"subscription_id": str(key.subscription_id), "delivery_date": key.delivery_date.isoformat()},
            Notice(token_id, payment_after),
        )
        try:
            found = await self._gateway.find_order(wanted.receipt, wanted.amount)
        except NotDone as failed:
            raise later(key, failed) from failed
        if found is not None:
            return found
        now = self._now()
        if notice.asked_at is not None and now < notice.asked_at + ASKING_TAKES:
            raise ChargeLater(
                key, "the order of its notice is being made", retry_after=notice.asked_at + ASKING_TAKES - now
            )
        with or_later(key):
            may_ask = await self._ask.submit(notice)
        if not may_ask:
            raise ChargeLater(key, "somebody else has the order of its notice made", retry_after=ASKING_TAKES)
        hold()
        try:
            return await self._gateway.create_order(wanted)
        except (NotDone, ProviderOutcomeUnknown) as failed:
            # It moves no money. Whether it was made is what the next attempt asks first.
            raise later(key, failed) from failed

    async def _read(self, keys: Sequence[ChargeKey]) -> Sequence[_PlannedNotice | None]:
        async with self._database.autocommit() as connection:
            rows = await connection.execute(_FIND, keys_as_arrays(keys))
            found = {notice.key: notice for notice in (_PlannedNotice(**row._asdict()) for row in rows)}
        return [found.get(key) for key in keys]

    async def _write_asked(self, notices: Sequence[_PlannedNotice]) -> Sequence[bool]:
        """Which of them may ask for their orders: of several for one notice the first."""
        first: dict[ChargeKey, int] = {}
        for place, notice in enumerate(notices):
            first.setdefault(notice.key, place)
        parameters = {
            **keys_as_arrays(list(first)),
            "tokens": [notices[place].mandate_token_id for place in first.values()],
            "known": [notices[place].asked_at for place in first.values()],
            "now": self._now(),
        }
        async with self._database.session() as session:
            await session.execute(PATIENCE)
            asked = {ChargeKey(*row) for row in await session.execute(_ASK, parameters)}
        return [notice.key in asked and first[notice.key] == place for place, notice in enumerate(notices)]

    async def _write_outcomes(self, outcomes: Sequence[_Outcome]) -> Sequence[None]:
        parameters = {
            **keys_as_arrays([outcome.key for outcome in outcomes]),
            "tokens": [outcome.token_id for outcome in outcomes],
            "orders": [outcome.order_id for outcome in outcomes],
            "refusals": [outcome.refusal for outcome in outcomes],
        }
        async with self._database.session() as session:
            await session.execute(PATIENCE)
            await session.execute(_KEEP, parameters)
        return [None] * len(outcomes)


def _takes(notice: _PlannedNotice) -> timedelta:
    """Of a method that nobody knows, as long as it may."""
    return NOTICE_TAKES.get(notice.mandate_method or "", max(NOTICE_TAKES.values()))
