"""Payloads that a stock pool enqueued live as long as their jobs wait."""

from collections.abc import AsyncIterator
from datetime import timedelta

import arq
import pytest
from arq.connections import ArqRedis, RedisSettings

from app.jobs.queues import PAYLOAD, Queue
from app.jobs.serializer import deserialize, serialize
from app.jobs.store import MOST_JOBS_A_SCRIPT, JobStore

HOUR = timedelta(hours=1)
NEVER = -1


@pytest.fixture
async def stock(redis_url: str) -> AsyncIterator[ArqRedis]:
    pool = await arq.create_pool(
        RedisSettings.from_dsn(redis_url), job_serializer=serialize, job_deserializer=deserialize
    )
    yield pool
    await pool.aclose()


@pytest.fixture
async def store(stock: ArqRedis) -> AsyncIterator[JobStore]:
    store = JobStore(stock.connection_pool, lease_ms=1000)
    yield store
    await store.aclose()


async def make_older(pool: ArqRedis, job_id: str, age: timedelta) -> None:
    """As if it had been enqueued so much earlier."""
    milliseconds = int(age.total_seconds() * 1000)
    await pool.zincrby(Queue.DEFAULT.key, -milliseconds, job_id)
    await pool.pexpire(PAYLOAD + job_id, await pool.pttl(PAYLOAD + job_id) - milliseconds)


async def test_a_payload_whose_job_has_waited_for_hours_does_not_expire(stock: ArqRedis, store: JobStore) -> None:
    await stock.enqueue_job("milk", _job_id="old")
    await stock.enqueue_job("milk", _job_id="new")
    await make_older(stock, "old", 23 * HOUR)

    assert await store.keep_payloads(Queue.DEFAULT, HOUR) == 1

    assert await stock.pttl(PAYLOAD + "old") == NEVER
    assert await stock.pttl(PAYLOAD + "new") > 0
    assert await store.keep_payloads(Queue.DEFAULT, HOUR) == 0


async def test_what_its_enqueuer_lets_expire_expires(stock: ArqRedis, store: JobStore) -> None:
    await stock.enqueue_job("milk", _job_id="soon stale", _expires=6 * HOUR)
    await make_older(stock, "soon stale", 2 * HOUR)

    assert await store.keep_payloads(Queue.DEFAULT, HOUR) == 0

    assert await stock.pttl(PAYLOAD + "soon stale") > 0


async def test_none_is_overlooked_among_many_of_the_same_due_time(stock: ArqRedis, store: JobStore) -> None:
    ids = [f"job {number}" for number in range(3 * MOST_JOBS_A_SCRIPT + 1)]
    await stock.enqueue_job("milk", _job_id=ids[0])
    await make_older(stock, ids[0], 3 * HOUR)
    due = await stock.zscore(Queue.DEFAULT.key, ids[0])
    left = await stock.pttl(PAYLOAD + ids[0])
    for number, job_id in enumerate(ids):
        await stock.zadd(Queue.DEFAULT.key, {job_id: due + number // (2 * MOST_JOBS_A_SCRIPT)})
        await stock.psetex(PAYLOAD + job_id, left, b"{}")

    assert await store.keep_payloads(Queue.DEFAULT, HOUR) == len(ids)

    assert {await stock.pttl(PAYLOAD + job_id) for job_id in ids} == {NEVER}
