"""Queues: how full they are, pause, resume."""

from app.jobs.pool import JobPool
from app.jobs.queue_states import queue_states
from app.jobs.queues import Queue, queue_by_key
from app.jobs.wire import Wire
from app.operations.acting import LONGEST_NAME, Acting
from app.operations.actor import Actor
from app.operations.views import QueueView
from app.steering.pauses import QueuePauses


class QueueOperations:
    """What operators ask of queues and do with them, by name. None of it needs PostgreSQL.

    Raises UnknownQueue, and what Redis raises.
    """

    def __init__(self, pool: JobPool, pauses: QueuePauses, acting: Acting) -> None:
        self._wire = Wire(pool.connection_pool)
        self._pauses = pauses
        self._acting = acting

    async def all(self) -> list[QueueView]:
        return [QueueView.of(state) for state in await queue_states(self._wire)]

    async def pause(self, actor: Actor, name: str) -> QueueView:
        """No worker claims from it any more; what runs goes on. Pausing twice changes nothing."""
        async with self._acting.on(actor, "queue.pause", "queue", name[:LONGEST_NAME]):
            queue = queue_by_key(name)
            await self._pauses.pause(queue, by=actor.name)
        return await self._one(queue)

    async def resume(self, actor: Actor, name: str) -> QueueView:
        """Workers claim from it again, at once."""
        async with self._acting.on(actor, "queue.resume", "queue", name[:LONGEST_NAME]):
            queue = queue_by_key(name)
            await self._pauses.resume(queue)
        return await self._one(queue)

    async def aclose(self) -> None:
        await self._wire.aclose()

    async def _one(self, queue: Queue) -> QueueView:
        [view] = [view for view in await self.all() if view.name is queue]
        return view
