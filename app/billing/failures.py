"""Why a charge is left for later: nothing of it was done that would have to be known."""

from datetime import timedelta

from app.billing.record import ChargeKey
from app.db.shop import SubscriptionId
from app.errors import NotDone, Refused, Unavailable
from app.providers.failures import ProviderOutcomeUnknown


class UnknownSubscription(Refused):
    """The shop has no such subscription."""

    def __init__(self, subscription_id: SubscriptionId) -> None:
        super().__init__(subscription_id)
        self.subscription_id = subscription_id

    def __str__(self) -> str:
        return f"subscription {self.subscription_id} does not exist"


class ChargeLater(Unavailable):
    """The gateway can't be asked now, or somebody else is at this charge. It costs no try: its day is long enough."""

    def __init__(self, key: ChargeKey, reason: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(key, reason, retry_after=retry_after)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return f"the charge of delivery {self.key} has to wait: {self.reason}"


def later(key: ChargeKey, failed: NotDone | ProviderOutcomeUnknown) -> Unavailable:
    """What to raise for a question or an order that failed: who can't be reached at all says so itself."""
    if isinstance(failed, Unavailable):
        return failed
    return ChargeLater(key, str(failed), retry_after=failed.retry_after)


class RunPaused(Unavailable):
    """The run of that date is paused: what it has planned is not charged before somebody resumes it."""

    def __init__(self, key: ChargeKey, reason: str) -> None:
        super().__init__(key, reason)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return f"delivery {self.key} is not charged, for its run is paused: {self.reason}"


class ChargeContended(NotDone):
    """Others were faster again and again."""

    def __init__(self, key: ChargeKey) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return f"others are at the charge of delivery {self.key}"
