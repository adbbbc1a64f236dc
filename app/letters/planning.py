"""What running a dead letter again comes to, before anything is done about it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.errors import Refused
from app.jobs.context import Resources
from app.jobs.effects import Effect, EffectRecord, PastJob
from app.jobs.failures import UnknownTask, UnreadablePayload, WrongArguments
from app.jobs.lookup import JobState, named_arguments
from app.jobs.payload import Payload
from app.jobs.task import TaskRegistry
from app.letters.letter import LeftOut, Letter, Rerun


@dataclass(slots=True)
class Plan:
    """A letter with what is to be run again of it, or why it is not."""

    letter: Letter
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    queue: str | None = None
    effects: Sequence[Effect] = ()
    left_out: LeftOut | None = None

    def outcome(self, new_id: str | None = None) -> Rerun:
        return Rerun(self.letter.id, self.letter.task, self.effects, new_id, self.left_out)


async def plan_reruns(
    tasks: TaskRegistry,
    resources: Resources,
    letters: Sequence[Letter],
    payloads: Mapping[str, bytes],
    *,
    resend: bool,
) -> list[Plan]:
    """A plan for each letter. `payloads` are those that there are, by job id; `resend` begins the line anew.

    Raises what a record of effects raises, such as DatabaseUnavailable.
    """
    plans = [_plan(tasks, letter, payloads.get(letter.id), resend=resend) for letter in letters]
    by_record: dict[EffectRecord, list[Plan]] = defaultdict(list)
    for plan in plans:
        if plan.left_out is None and (record := tasks[plan.letter.task].effects) is not None:
            by_record[record].append(plan)
    for record, theirs in by_record.items():
        # Under a root that nobody has used yet nothing has been done.
        jobs = [PastJob("" if resend else plan.letter.root_id, plan.kwargs) for plan in theirs]
        for plan, effects in zip(theirs, await record.of(resources, jobs), strict=True):
            plan.effects = effects
    return plans


def why_closed(letter: Letter) -> LeftOut | None:
    """Why there is nothing to be done about it any more; None for one that is open."""
    if letter.closed is not None:
        return LeftOut.RETRIED_BEFORE if letter.closed.action == "retried" else LeftOut.DISCARDED
    return None if letter.state is JobState.FAILED else LeftOut.NOT_FAILED


def _plan(tasks: TaskRegistry, letter: Letter, raw: bytes | None, *, resend: bool) -> Plan:
    plan = Plan(letter, left_out=why_closed(letter))
    if plan.left_out is not None:
        return plan
    if raw is None:
        plan.left_out = LeftOut.PAYLOAD_LOST
        return plan
    try:
        payload = Payload.from_bytes(raw)
        task = tasks[payload.task]
        plan.kwargs = named_arguments(tasks, payload.task, payload.args, payload.kwargs)
        plan.queue = payload.queue
        task.arguments.validated((), plan.kwargs)
    except Refused as error:
        plan.left_out = _REASONS.get(type(error), LeftOut.WRONG_ARGUMENTS)
        return plan
    if resend and (task.effects is None or not task.effects.can_be_repeated):
        plan.left_out = LeftOut.NOT_REPEATABLE
    return plan


_REASONS: Mapping[type[Refused], LeftOut] = {
    UnreadablePayload: LeftOut.UNREADABLE,
    UnknownTask: LeftOut.UNKNOWN_TASK,
    WrongArguments: LeftOut.WRONG_ARGUMENTS,
}
