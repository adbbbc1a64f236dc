"""What a worker says when it is ready or worn out, and that it stops when it is told to."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.dev.state import free_port
from app.jobs.context import Context
from app.jobs.pool import JobPool
from app.jobs.queues import Queue
from app.jobs.registry import workers
from app.jobs.task import TaskRegistry
from tests.running import make_worker, open_pool, running_worker
from tests.waiting import PATIENCE, until

tasks = TaskRegistry()


@tasks.task(queue=Queue.DEFAULT)
async def count(ctx: Context) -> None:
    """Adds one to what the test counts."""
    ctx[list].append(ctx.job_id)


@pytest.fixture
async def pool(redis_url: str) -> AsyncIterator[JobPool]:
    async with open_pool(redis_url, tasks) as pool:
        yield pool


async def test_a_worker_that_never_found_redis_stops_all_the_same() -> None:
    async with open_pool(f"redis://127.0.0.1:{free_port()}/0", tasks) as nowhere:
        worker = make_worker(nowhere)
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(0)

        worker.stop()

        async with asyncio.timeout(PATIENCE):
            await running


@pytest.mark.parametrize("limit", [{"most_jobs": 3}, {"most_memory": 1}], ids=str)
async def test_where_somebody_listens_a_worn_out_worker_says_so_once_and_goes_on(
    pool: JobPool, limit: dict[str, Any]
) -> None:
    done: list[str] = []
    said: list[str] = []
    hooks = {"on_ready": lambda: said.append("ready"), "on_worn_out": lambda: said.append("worn out")}
    async with running_worker(pool, [done], **limit, **hooks):
        for _ in range(5):
            await count.enqueue(pool)
        await until(lambda: len(said) > 1 and len(done) == 5)

        await count.enqueue(pool)

        await until(lambda: len(done) == 6)
        assert [worker.is_draining for worker in await workers(pool)] == [False]
    assert sorted(said) == ["ready", "worn out"]
