"""What the charge of a delivery has come to, for whoever wants to run its job again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import select, tuple_

from app.billing.record import ChargeKey
from app.db.charges import Charge, ChargeState
from app.db.engine import Database
from app.db.shop import SubscriptionId
from app.jobs.context import Resources
from app.jobs.effects import Effect, EffectState, PastJob

# What was refused or skipped is not charged by any later job, and is left out.
_STATES: Mapping[ChargeState, EffectState] = {
    "planned": EffectState.OPEN,
    "notified": EffectState.OPEN,
    "submitting": EffectState.UNKNOWN,
    "pending": EffectState.UNKNOWN,
    "unknown": EffectState.UNKNOWN,
    "captured": EffectState.DONE,
}


@dataclass(frozen=True, slots=True)
class DeliveryCharges:
    """Charges happen once a delivery, whichever job asks for them: nobody can have one made a second time."""

    @property
    def can_be_repeated(self) -> bool:
        return False

    async def of(self, resources: Resources, jobs: Sequence[PastJob]) -> list[Sequence[Effect]]:
        """Raises DatabaseUnavailable."""
        keys = [_key(job.kwargs) for job in jobs]
        wanted = [key for key in keys if key is not None]
        known = select(Charge.delivery_date, Charge.subscription_id, Charge.state).where(
            tuple_(Charge.delivery_date, Charge.subscription_id).in_(wanted)
        )
        async with resources[Database].session() as session:
            rows = await session.execute(known)
            states = {ChargeKey(day, subscription_id): state for day, subscription_id, state in rows}
        return [_effects(key, states) for key in keys]


def _key(kwargs: Mapping[str, Any]) -> ChargeKey | None:
    """None where the job goes by the day on which it was enqueued, which its arguments do not tell."""
    day = kwargs.get("delivery_date")
    if day is None:
        return None
    day = day if isinstance(day, date) else date.fromisoformat(str(day))
    return ChargeKey(day, SubscriptionId(int(kwargs["subscription_id"])))


def _effects(key: ChargeKey | None, states: Mapping[ChargeKey, ChargeState]) -> Sequence[Effect]:
    if key is None:
        return [Effect("charge", "delivery", EffectState.UNKNOWN)]
    state = _STATES.get(states.get(key, "planned"))
    return [] if state is None else [Effect("charge", "delivery", state)]
