"""The brake: a run that goes very unlike those before it stops, for a person to look."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Self

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.charges import IS_ANSWERED
from app.db.shop import SubscriptionId
from app.db.subscription_runs import SubscriptionRun
from app.deliveries.amounts import PastAmounts

# How many runs say what is usual.
RUNS_COMPARED = 7
# Fewer charges say nothing yet, neither of a run that is under way nor of one before.
LEAST_CHARGES = 100
# How many of the latest answers are looked at: enough to tell, and soon over after an outage.
ANSWERS = 1000

# What the gateway was asked to charge and has said something of; where debits were not announced, most is pending.
_IS_ASKED_FOR = f"(state IN ('pending', 'unknown') OR {IS_ANSWERED})"
# An answer that changed is no other charge.
_LATEST_ENDS = text(
    f"""
    SELECT state, count(*) FROM (
        SELECT DISTINCT ON (subscription_id) to_state AS state, reason FROM (
            SELECT * FROM tasks.charge_events ORDER BY id DESC LIMIT :answers
        ) AS latest
        WHERE delivery_date = :date AND from_state <> to_state
        ORDER BY subscription_id, id DESC
    ) AS last
    WHERE {_IS_ASKED_FOR}
    GROUP BY state
    """  # noqa: S608 -- our own words
)


@dataclass(frozen=True, slots=True)
class BrakeBounds:
    """How far a run may be from the usual: percentage points of refusals and of unknowns, and of amounts a factor."""

    refused_points: float
    unknown_points: float
    amount_factor: float


@dataclass(frozen=True, slots=True)
class Usual:
    """What the last runs were like, in per cent of their outcomes; None where there were none."""

    refused: float | None
    unknown: float | None


async def usual_before(session: AsyncSession, day: date) -> Usual:
    """What is usual on the days before that date."""
    rows = await session.scalars(
        select(SubscriptionRun)
        .where(SubscriptionRun.delivery_date < day, SubscriptionRun.charges >= LEAST_CHARGES)
        .order_by(SubscriptionRun.delivery_date.desc())
        .limit(RUNS_COMPARED)
    )
    runs = rows.all()
    return Usual(refused=_percent(runs, "refused"), unknown=_percent(runs, "unknown"))


def _percent(runs: Sequence[SubscriptionRun], state: str) -> float | None:
    ends: Counter[str] = Counter()
    for run in runs:
        for kind in ("captured", "pending", "refused", "unknown"):
            outcome = (run.outcomes or {}).get(kind, {})
            ends[kind] += outcome.get("charges", 0) - outcome.get("not_charged_in_time", 0)
    return 100 * ends[state] / ends.total() if ends.total() else None


async def why_brake(session: AsyncSession, run: SubscriptionRun, usual: Usual, bounds: BrakeBounds) -> str | None:
    """A sentence for whoever has to look, where charges end out of bounds; never again once the run was resumed."""
    if run.resumed_at is not None:
        return None
    rows = await session.execute(_LATEST_ENDS, {"date": run.delivery_date, "answers": ANSWERS})
    counts: dict[str, int] = {state: count for state, count in rows}  # noqa: C416 -- rows are no tuples to mypy
    ended = sum(counts.values())
    if ended < LEAST_CHARGES:
        return None
    for state, before, allowed in (
        ("refused", usual.refused, bounds.refused_points),
        ("unknown", usual.unknown, bounds.unknown_points),
    ):
        percent = 100 * counts.get(state, 0) / ended
        if percent <= (before or 0) + allowed:
            continue
        found = f"of the latest {ended} charges {percent:.0f} % are {state}"
        if before is None:
            return f"{found}; there are no runs to compare it with, and {allowed:g} % are allowed"
        return f"{found}; in the last runs it was {before:.0f} %, and {allowed:g} points more are allowed"
    return None


@dataclass(frozen=True, slots=True)
class PlanningBrake:
    """The brake of a run that is being planned: by its amounts before anybody is charged, and by how charges end."""

    usual: Usual
    bounds: BrakeBounds
    amounts: PastAmounts

    @classmethod
    async def of(cls, session: AsyncSession, day: date, bounds: BrakeBounds) -> Self:
        usual = await usual_before(session, day)
        return cls(usual, bounds, await PastAmounts.before(session, day, bounds.amount_factor))

    async def why(self, session: AsyncSession, run: SubscriptionRun, planned: Sequence[SubscriptionId]) -> str | None:
        """As `why_brake`, with the amounts of those subscriptions that were planned in this transaction."""
        if run.resumed_at is not None:
            return None
        unusual = await self.amounts.why_unusual(session, planned)
        return unusual or await why_brake(session, run, self.usual, self.bounds)
