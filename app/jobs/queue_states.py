"""How many jobs each queue has, by what they wait for, at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.jobs.limit_store import WAITED_FOR
from app.jobs.queues import CLAIMS, PAUSED, Queue
from app.jobs.store import QUEUE_KEYS
from app.jobs.wire import Script, Wire

QUEUE_STATES = Script("queue_states")


@dataclass(frozen=True, slots=True)
class QueueState:
    """`waiting` are due or in line for a limit, `scheduled` for later.

    `oldest_wait_ms` is how long the longest of the former has waited, None where there is none.
    """

    queue: Queue
    waiting: int
    scheduled: int
    running: int
    is_paused: bool
    oldest_wait_ms: int | None


async def queue_states(wire: Wire, now_ms: int | None = None) -> Sequence[QueueState]:
    """Every queue. `now_ms` replaces the server's clock in tests. Raises what Redis raises."""
    now, *words = await wire.run(
        QUEUE_STATES, (CLAIMS, PAUSED, WAITED_FOR, *QUEUE_KEYS), "" if now_ms is None else now_ms, *Queue
    )
    return [
        QueueState(queue, waiting, scheduled, running, bool(paused), None if oldest is None else max(0, now - oldest))
        for queue, (waiting, scheduled, running, paused, oldest) in zip(
            Queue, (words[at : at + 5] for at in range(0, len(words), 5)), strict=True
        )
    ]
