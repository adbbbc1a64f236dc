"""Enqueueing from the shop's backend: `pool = await app.connect()`."""

from app.jobs.pool import JobPool
from app.settings import QueueSettings
from app.tasks import TASKS


async def connect(settings: QueueSettings | None = None) -> JobPool:
    """A pool on the queue's Redis that knows every task, its arguments and its queue; `await pool.aclose()` ends it.

    Raises SettingsFault where REDIS_URL is missing, and redis.ConnectionError where nobody answers there.
    """
    pool = JobPool.from_dsn((settings or QueueSettings()).redis_url.get_secret_value(), TASKS)
    await pool.ping()
    return pool
