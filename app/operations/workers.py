"""Workers: who is at work."""

from app.jobs.pool import JobPool
from app.jobs.registry import workers
from app.operations.views import WorkerView


class WorkerOperations:
    """What operators ask of workers. Raises what Redis raises."""

    def __init__(self, pool: JobPool) -> None:
        self._pool = pool

    async def all(self) -> list[WorkerView]:
        """Those that are alive, the longest at work first."""
        return [WorkerView.of(entry) for entry in await workers(self._pool)]
