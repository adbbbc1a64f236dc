"""A worker killed at each await of an order confirmation in turn."""

import asyncio
import multiprocessing
from collections import Counter
from dataclasses import dataclass

from sqlalchemy import text

from app.db.engine import Database
from app.dev.fakes import Fakes, running_fakes
from app.dev.fakes.inbox import Provider
from app.jobs.pool import JobPool
from app.jobs.queues import Queue
from app.tasks import TASKS
from app.tasks.notifications import send_order_confirmation_task
from tests.e2e import dying_worker
from tests.settings import as_environment, make_settings
from tests.waiting import until

# Forked from a process that has everything imported and nothing else going on.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.e2e.dying_worker"])

MOST_AWAITS = 500
# Each in a Redis database of its own.
AT_A_TIME = 4
MOST_RESTARTS = 5


@dataclass
class Walk:
    """One walk: the shop's servers and what has been seen at the awaits so far."""

    fakes: Fakes
    database: Database
    database_url: str
    redis_url: str
    deaths: Counter[str]

    async def step(self, fatal: int) -> bool:
        """Kills a worker at that await of an order confirmation, then lets others end it; False if none died."""
        redis_url = self.redis_url.removesuffix("/0") + f"/{fatal % AT_A_TIME}"
        settings = make_settings(database_url=self.database_url, redis_url=redis_url, fakes_url=self.fakes.url)
        environment = as_environment(settings)
        job_id, mail, phone = f"walk-{fatal}", f"asha{fatal}@example.com", f"+9198{fatal:08d}"
        pool = JobPool.from_dsn(redis_url, TASKS)
        try:
            await send_order_confirmation_task.using(job_id=job_id).enqueue(
                pool, mail, phone, f"ORD-{fatal}", "Asha", 64, "4 MG Road, Pune"
            )

            died = await work(environment, fatal) != 0
            recorded = await self.recorded(job_id)
            for _ in range(MOST_RESTARTS):
                if not await pool.zcard(Queue.NOTIFICATIONS.key):
                    break
                await until(lambda: due(pool, job_id))
                assert await work(environment, 0) == 0
            assert await pool.exists(f"arq:result:{job_id}"), f"killed at await {fatal}, the job never ended"
        finally:
            await pool.aclose()

        sent = {"email": self.count(Provider.SENDGRID, mail), "sms": self.count(Provider.TWILIO, phone)}
        after = await self.recorded(job_id)
        for channel, count in sent.items():
            before = recorded.get(channel)
            self.deaths[f"{channel} {before}"] += died
            assert after[channel] == "sent"
            assert count >= 1
            # Twilio can be asked; a mail that was under way when its worker died may come twice, and no other.
            may_be_twice = channel == "email" and before == "sending"
            assert count == 1 or may_be_twice, f"killed at await {fatal}, {channel} ({before}) was sent {count} times"
        return died

    async def recorded(self, job_id: str) -> dict[str, str]:
        async with self.database.session() as session:
            rows = await session.execute(
                text("SELECT channel, status FROM tasks.messages WHERE root_job_id = :job"), {"job": job_id}
            )
            return {row.channel: row.status for row in rows}

    def count(self, provider: Provider, to: str) -> int:
        return len(self.fakes.inbox.find(provider, to))


async def work(environment: dict[str, str], fatal: int) -> int | None:
    """The exit code of a worker."""
    process = processes.Process(target=dying_worker.main, args=(environment, fatal))
    process.start()
    await asyncio.to_thread(process.join)
    return process.exitcode


async def due(pool: JobPool, job_id: str) -> bool:
    """Whether the job can be claimed. One that waits for its next try need not wait in a test."""
    score = await pool.zscore(Queue.NOTIFICATIONS.key, job_id)
    if score is not None and score == int(score):
        await pool.zadd(Queue.NOTIFICATIONS.key, {job_id: 1000})
    seconds, microseconds = await pool.time()
    return score is not None and score <= seconds * 1000 + microseconds / 1000


async def test_killed_at_any_await_each_message_is_sent_once_where_its_answer_was_recorded(
    database_url: str, redis_url: str
) -> None:
    database = Database(database_url, application_name="crash walk")
    async with running_fakes() as fakes:
        walk = Walk(fakes, database, database_url, redis_url, Counter())
        steps = 0
        while steps < MOST_AWAITS:
            batch = range(steps + 1, steps + 1 + AT_A_TIME)
            died = await asyncio.gather(*(walk.step(fatal) for fatal in batch))
            steps += AT_A_TIME
            if not all(died):
                break
    await database.close()

    # The walk reached its end, and came by every stage of both messages.
    assert steps < MOST_AWAITS
    for channel in ("email", "sms"):
        for stage in (None, "sending", "sent"):
            assert walk.deaths[f"{channel} {stage}"] > 0, f"no worker died with {channel} {stage}"
