"""Why a message is not sent now, beside what its provider says."""

from datetime import timedelta

from app.db.messages import Channel
from app.errors import NotDone, OutcomeUnknown, Refused, Unavailable


class RefusedBefore(Refused):
    """An earlier attempt of this job had this message refused."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class NotSettledYet(NotDone):
    """The message may have been sent. The next try asks the provider, or sends it again and says so."""


class BeingSent(Unavailable):
    """Another attempt may be sending this message at this moment; waiting for it costs no try."""

    def __init__(self, channel: Channel, retry_after: timedelta) -> None:
        super().__init__(channel, retry_after=retry_after)
        self.channel = channel

    def __str__(self) -> str:
        return f"another attempt may be sending this {self.channel} at this moment"


class MayHaveBeenSent(OutcomeUnknown):
    """The message may have been sent, nobody can tell, and the settings say not to send such a message again."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self.channel = channel

    def __str__(self) -> str:
        return f"the {self.channel} may have been sent before, and nobody can tell"
