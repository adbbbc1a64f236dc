"""Comparing a date three ways, and telling what stands on one side only, differs, or waits for a person."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

from app.db.charges import ChargeState
from app.db.engine import Database
from app.db.shop import SubscriptionId
from app.providers.payments.razorpay import Razorpay
from app.reconciliation.comparing import discrepancies, needs_payments, waits_for_its_job
from app.reconciliation.discrepancies import Discrepancy, DiscrepancyKind
from app.reconciliation.gateway import GatewaySides
from app.reconciliation.ours import OurSides, our_sides
from app.reconciliation.sides import Delivery, GatewaySide, LedgerSide

# Deliveries that are looked at again together: few enough that hardly anything happens to them in between.
LOOKED_UP_AT_ONCE = 50
# How often one is looked at that goes on meanwhile: from planned to settled is less.
TURNS = 5


@dataclass(slots=True)
class ReconciliationTotals:
    """How many deliveries there are by state of their charge, their captured paise, and discrepancies by kind."""

    deliveries: Counter[ChargeState] = field(default_factory=Counter)
    captured_paise: int = 0
    discrepancies: Counter[DiscrepancyKind] = field(default_factory=Counter)


class Reconciliation:
    """Compares ledger, shop and gateway. It only reads, and holds no transaction while it asks the gateway.

    First the gateway's list of orders is held against the database; whatever does not agree is looked up by itself on
    both sides before anything is said of it, for deliveries go on meanwhile. `totals` are of what was read so far.
    """

    def __init__(self, database: Database, gateway: Razorpay, day: date, *, day_is_over: bool) -> None:
        self._database = database
        self._day = day
        self._gateway = GatewaySides(gateway, day)
        self._day_is_over = day_is_over
        self.totals = ReconciliationTotals()

    async def discrepancies(
        self, told: Callable[[int, int], None] = lambda _done, _all: None
    ) -> AsyncIterator[Discrepancy]:
        """What is wrong, by subscription; to be read once. `told` hears how many of the doubtful were looked up.

        Raises what questions to the gateway raise, and DatabaseUnavailable.
        """
        doubtful = await self._doubtful()
        for start in range(0, len(doubtful), LOOKED_UP_AT_ONCE):
            ids = doubtful[start : start + LOOKED_UP_AT_ONCE]
            for delivery in await self._looked_up(ids):
                for discrepancy in self._compare(delivery):
                    self.totals.discrepancies[discrepancy.kind] += 1
                    yield discrepancy
            told(start + len(ids), len(doubtful))

    async def _doubtful(self) -> list[SubscriptionId]:
        orders = await self._gateway.orders()
        doubtful: set[SubscriptionId] = set()
        async for ours in our_sides(self._database, self._day):
            self._count(ours)
            if self._is_doubtful(ours, orders.pop(ours.subscription_id, [])):
                doubtful.add(ours.subscription_id)
        # Of the others nobody here knows; those that were tried to be paid matter.
        doubtful |= {subscription for subscription, left in orders.items() if any(order.attempts for order in left)}
        return sorted(doubtful)

    def _is_doubtful(self, ours: OurSides, orders: Sequence[GatewaySide]) -> bool:
        ledger = ours.ledger
        if ledger is not None and ledger.way == "invoice" and not self._waits(ledger):
            # Nothing of it is on the list of orders, and what was skipped may have been paid for.
            return True
        if any(needs_payments(ledger, order) for order in orders):
            return True
        delivery = Delivery(ours.subscription_id, ledger, ours.shop, orders)
        return next(self._compare(delivery), None) is not None

    async def _looked_up(self, ids: Sequence[SubscriptionId]) -> list[Delivery]:
        found: dict[SubscriptionId, Delivery] = {}
        left, before = ids, await self._ours(ids)
        for _ in range(TURNS):
            gateway = await self._gateway.looked_up([before[each] for each in left])
            now = await self._ours(left)
            for each, orders in zip(left, gateway, strict=True):
                found[each] = Delivery(each, now[each].ledger, now[each].shop, orders)
            # What the gateway said of one that has moved since is out of date.
            left, before = [each for each in left if now[each] != before[each]], now
            if not left:
                break
        return [found[each] for each in ids]

    async def _ours(self, ids: Sequence[SubscriptionId]) -> dict[SubscriptionId, OurSides]:
        ours = {each: OurSides(each, None, None, None) for each in ids}
        return ours | {each.subscription_id: each async for each in our_sides(self._database, self._day, ids)}

    def _compare(self, delivery: Delivery) -> Iterator[Discrepancy]:
        return discrepancies(delivery, self._day, day_is_over=self._day_is_over)

    def _waits(self, ledger: LedgerSide) -> bool:
        return waits_for_its_job(ledger, day_is_over=self._day_is_over)

    def _count(self, ours: OurSides) -> None:
        if ours.ledger is not None:
            self.totals.deliveries[ours.ledger.state] += 1
            if ours.ledger.state == "captured":
                self.totals.captured_paise += ours.ledger.paise
