"""One delivery, from wherever it stands to where the gateway's answer leads."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from app.billing.failures import ChargeContended, RunPaused, UnknownSubscription
from app.billing.gateway import GuardedRazorpay
from app.billing.invoice_way import InvoiceWay
from app.billing.ledger import ChargeLedger
from app.billing.mandate_way import Hold, MandateWay
from app.billing.notices import DebitNotices
from app.billing.record import ChargeKey, ChargeRecord
from app.billing.settling import Skip, may_still_be_paid
from app.billing.single import NotDue, plan_single
from app.billing.watch import RunWatch
from app.db.charges import WAITING_STATES
from app.db.engine import Database
from app.deliveries.days import end_of_day
from app.deliveries.decisions import Terms

# How often a charge is looked at again that others had moved in between.
TURNS = 5


@dataclass(frozen=True, slots=True)
class Charging:
    """Charges deliveries, each at most once, and settles them truthfully, whoever else is at it."""

    database: Database
    gateway: GuardedRazorpay
    ledger: ChargeLedger
    mandates: MandateWay
    invoices: InvoiceWay
    watch: RunWatch
    notices: DebitNotices
    charging_task: str
    skipping_task: str | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def aclose(self) -> None:
        """Returns when all that was concluded is written, and told."""
        await self.ledger.drained()
        await self.gateway.aclose()

    async def charge(self, terms: Terms, key: ChargeKey, hold: Hold) -> ChargeRecord | NotDue:
        """The charge as it stands in the end. A delivery that is due and not planned is planned first.

        Raises UnknownSubscription, and Unavailable where it has to wait.
        """
        record = await self._settled(key, hold, None)
        if record is not None:
            return record
        not_due = await plan_single(
            self.database,
            terms,
            key.subscription_id,
            charging=self.charging_task,
            telling=self.skipping_task,
        )
        record = await self._settled(key, hold, None)
        return not_due if record is None else record

    async def look(self, key: ChargeKey, hold: Hold, look: int) -> ChargeRecord:
        """The same for the `look`-th look at a charge that was left open. Raises UnknownSubscription."""
        record = await self._settled(key, hold, look)
        if record is None:
            raise UnknownSubscription(key.subscription_id)
        return record

    async def _settled(self, key: ChargeKey, hold: Hold, look: int | None) -> ChargeRecord | None:
        for _ in range(TURNS):
            record = await self.ledger.find(key)
            if record is None:
                return None
            settled = await self._step(record, hold, look)
            if settled is not None:
                return settled
        raise ChargeContended(key)

    async def _step(self, record: ChargeRecord, hold: Hold, look: int | None) -> ChargeRecord | None:
        """Where it leads from there; None where it was moved and has to be looked at again."""
        is_planned = record.state in WAITING_STATES
        if is_planned or (record.state == "submitting" and record.payer is None):
            is_over = self.now() >= end_of_day(record.delivery_date)
            why = await self.watch.why_paused(record.delivery_date, may_pause=not is_over)
            if why is not None and not is_over:
                raise RunPaused(record.key, why)
            if why is not None and is_planned:
                return await self.ledger.settle(record, Skip("run_paused"))
        match record.way, record.state:
            case _, "captured":
                return record
            case "invoice", _:
                return await self.invoices.settle(record, look)
            case _, "skipped":
                return record
            case _, "planned" | "notified":
                return await self.mandates.begin(record)
            case _, "submitting" if record.payer is None:
                return await self.mandates.submit(record, hold, look)
            case _, "refused" if look is not None and not may_still_be_paid(record, self.now()):
                return record
            case _:
                return await self.mandates.ask(record, look)
