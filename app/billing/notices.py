"""Orders that are made days ahead, so that banks announce their debits in time."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Literal
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import text

from app.billing.failures import later
from app.billing.record import ChargeKey
from app.db.engine import Database
from app.errors import NotDone
from app.providers.failures import ProviderOutcomeUnknown, ProviderRefused
from app.providers.payments.entities import GatewayOrder, Paise
from app.providers.payments.razorpay import Razorpay
from app.providers.payments.requests import Notice, OrderRequest

log = structlog.stdlib.get_logger(__name__)

_FIND = text("""
    SELECT n.amount_paise, n.razorpay_order_id, n.refusal, m.token_id,
        EXISTS (SELECT FROM tasks.charges c WHERE c.delivery_date = n.delivery_date
            AND c.subscription_id = n.subscription_id) AS is_charged,
        coalesce(s.status = 'active' AND s.product_id = n.product_id, false) AS is_expected
    FROM tasks.debit_notices n
    LEFT JOIN tasks.mandates m USING (subscription_id)
    LEFT JOIN subscriptions s ON s.id = n.subscription_id
    WHERE n.delivery_date = :delivery_date AND n.subscription_id = :subscription_id
""")
_KEEP = text("""
    UPDATE tasks.debit_notices
    SET razorpay_order_id = CAST(:order_id AS text), token_id = :token_id, refusal = CAST(:refusal AS text)
    WHERE delivery_date = :delivery_date AND subscription_id = :subscription_id AND razorpay_order_id IS NULL
""")

Announced = Literal["announced", "refused", "not_needed", "too_late"]


@dataclass(frozen=True, slots=True)
class DebitNotices:
    """Has banks announce debits, each once. A delivery whose debit is not announced is charged all the same.

    `timezone` is that of the schedules, by which the day of a delivery may begin before it does in UTC.
    """

    database: Database
    gateway: Razorpay
    timezone: ZoneInfo
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def announce(self, key: ChargeKey) -> Announced:
        """What became of the notice of that delivery's debit. Raises Unavailable where the gateway can't be asked."""
        async with self.database.session() as session:
            notice = (await session.execute(_FIND, key._asdict())).one_or_none()
        if notice is None or notice.token_id is None or notice.is_charged or not notice.is_expected:
            return "not_needed"
        if notice.razorpay_order_id is not None:
            return "announced"
        if notice.refusal is not None:
            return "refused"
        # From the first moment at which its day can be run; the bank has told its customer a day before.
        payment_after = min(datetime.combine(key.delivery_date, time(), zone) for zone in (UTC, self.timezone))
        if self.now() >= payment_after:
            return "too_late"
        wanted = OrderRequest(
            f"sub-{key.subscription_id}-{key.delivery_date:%Y%m%d}",
            Paise(notice.amount_paise),
            {"subscription_id": str(key.subscription_id), "delivery_date": key.delivery_date.isoformat()},
            Notice(notice.token_id, payment_after),
        )
        try:
            order = await self._order(key, wanted)
        except (ProviderRefused, ProviderOutcomeUnknown) as refused:
            log.warning(
                "debit.not_announced",
                subscription_id=key.subscription_id,
                date=key.delivery_date.isoformat(),
                reason=str(refused),
            )
            await self._keep(key, notice.token_id, refusal=refused.code)
            return "refused"
        await self._keep(key, notice.token_id, order_id=order.id)
        return "announced"

    async def _order(self, key: ChargeKey, wanted: OrderRequest) -> GatewayOrder:
        """The order that there is by an earlier call, or a new one."""
        try:
            found = await self.gateway.find_order(wanted.receipt, wanted.amount)
        except NotDone as failed:
            raise later(key, failed) from failed
        if found is not None:
            return found
        try:
            return await self.gateway.create_order(wanted)
        except (NotDone, ProviderOutcomeUnknown) as failed:
            # It moves no money. Whether it was made is what the next attempt asks first.
            raise later(key, failed) from failed

    async def _keep(
        self, key: ChargeKey, token_id: str, *, order_id: str | None = None, refusal: str | None = None
    ) -> None:
        parameters = {**key._asdict(), "token_id": token_id, "order_id": order_id, "refusal": refusal}
        async with self.database.session() as session:
            await session.execute(_KEEP, parameters)
