"""That a worker stops when it is told to, whatever else is the case."""

import asyncio

from app.dev.state import free_port
from app.jobs.task import TaskRegistry
from tests.running import make_worker, open_pool

tasks = TaskRegistry()


async def test_a_worker_that_never_found_redis_stops_all_the_same() -> None:
    async with open_pool(f"redis://127.0.0.1:{free_port()}/0", tasks) as nowhere:
        worker = make_worker(nowhere)
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(0)

        worker.stop()

        async with asyncio.timeout(15):
            await running
