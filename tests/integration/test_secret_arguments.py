"""Secret arguments never get past the outbox, whoever writes them there."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from app import outbox
from app.jobs.context import Context
from app.jobs.failures import SecretArguments
from app.jobs.lookup import JobState, find_job
from app.jobs.queues import Queue
from app.jobs.task import TaskRegistry
from app.outbox.relay import OutboxRelay
from app.outbox.reruns import end_failed
from tests.history import History, open_history
from tests.running import open_pool, run_burst

TASKS = TaskRegistry()
RAN: list[str] = []


@TASKS.task(queue=Queue.DEFAULT, secret={"link"})
async def reset(ctx: Context, link: str) -> None:
    """Work with a secret."""
    RAN.append(link)


@pytest.fixture
async def history(redis_url: str, database_url: str) -> AsyncIterator[History]:
    RAN.clear()
    async with open_pool(redis_url, TASKS) as pool, open_history(pool, database_url) as history:
        yield history


async def test_the_caller_is_told_the_way_out(history: History) -> None:
    async with history.database.session() as session:
        with pytest.raises(SecretArguments, match=r"reset has secret arguments.*enqueue_job"):
            await outbox.add(session, reset, link="https://shop.example/s3cret")

    assert await history.rows("SELECT id FROM tasks.outbox") == []


async def test_a_row_of_plain_sql_becomes_a_dead_letter_without_its_arguments(
    history: History, database_url: str
) -> None:
    await history.execute("""
        INSERT INTO tasks.outbox (task, kwargs) VALUES ('reset', '{"link": "https://shop.example/s3cret"}')
    """)
    [(row_id,)] = await history.rows("SELECT id FROM tasks.outbox")
    relay = OutboxRelay(history.database, database_url, history.pool, lease=timedelta(seconds=5))

    await run_burst(history.pool, companions=[relay])
    await history.projector(on_failed=end_failed).catch_up()

    job = await history.job(f"outbox:{row_id}")
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert (job.error.type, "enqueue_job" in job.error.message) == ("SecretArguments", True)
    assert RAN == []
    assert await history.rows("SELECT kwargs, ended_at IS NOT NULL FROM tasks.outbox") == [({}, True)]
    kept = [await history.rows(f"SELECT t::text FROM tasks.{table} t") for table in ("jobs", "attempts", "payloads")]
    assert "s3cret" not in str(kept)
    in_redis = await find_job(history.pool, f"outbox:{row_id}")
    assert in_redis is not None
    assert in_redis.kwargs == {}
