"""Which messages of a job were sent, for whoever wants to run it again."""

from collections.abc import Sequence, Set
from dataclasses import dataclass

from sqlalchemy import select

from app.db.engine import Database
from app.db.messages import Channel, Message, MessageStatus
from app.jobs.context import Resources
from app.jobs.effects import Effect, EffectState, PastJob

# As the messenger goes on from there: what was refused or failed is sent again by another job.
_STATES: dict[MessageStatus, EffectState] = {
    "sent": EffectState.DONE,
    "refused": EffectState.OPEN,
    "failed": EffectState.OPEN,
    "sending": EffectState.UNKNOWN,
    "unknown": EffectState.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Messages:
    """The messages of a task. `email` and `sms` name the arguments that they are addressed by.

    Where such an argument is None its message is not sent. With `sms_instead` an SMS goes out only where no mail can.
    """

    email: str | None = None
    sms: str | None = None
    sms_instead: bool = False

    @property
    def can_be_repeated(self) -> bool:
        return True

    async def of(self, resources: Resources, jobs: Sequence[PastJob]) -> list[Sequence[Effect]]:
        """Raises DatabaseUnavailable."""
        roots = {job.root_id for job in jobs}
        known = select(Message.root_job_id, Message.channel, Message.status).where(Message.root_job_id.in_(roots))
        async with resources[Database].session() as session:
            states = {(root, channel): _STATES[status] for root, channel, status in await session.execute(known)}
        return [
            [
                Effect("send", channel, states.get((job.root_id, channel), EffectState.OPEN))
                for channel in self._channels(job, begun={channel for root, channel in states if root == job.root_id})
            ]
            for job in jobs
        ]

    def _channels(self, job: PastJob, begun: Set[Channel]) -> Sequence[Channel]:
        arguments: dict[Channel, str | None] = {"email": self.email, "sms": self.sms}
        there = [channel for channel, name in arguments.items() if name and job.kwargs.get(name) is not None]
        if not self.sms_instead:
            return there
        # What was begun tells which one it was that could go out.
        return [channel for channel in there if channel in begun] or there[:1]
