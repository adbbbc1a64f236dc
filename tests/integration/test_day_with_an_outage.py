"""A day of ten thousand mails with SendGrid down for an hour, in seconds: the time is an argument."""

import heapq
import json
from asyncio import gather
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import cycle
from random import Random
from typing import Any

import httpx
from redis.asyncio import ConnectionPool
from sqlalchemy import text
from structlog.testing import capture_logs

from app.db.engine import Database
from app.errors import NotDone, Unavailable
from app.jobs.breaker import Breaker
from app.jobs.breaker_store import BreakerStore
from app.jobs.context import Context, Resources
from app.jobs.retry import DEFAULT_RETRY, PUT_OFF
from app.notify.ledger import MessageLedger
from app.notify.messenger import Messenger
from app.notify.outages import OutageLog
from app.providers.console import Console
from app.providers.http import http_client
from app.tasks import notifications as n
from app.tasks.resources import email_provider
from tests.settings import make_settings

MAILS = 10_000
MIDNIGHT = datetime(2026, 3, 5, tzinfo=UTC)
DOWN = (MIDNIGHT + timedelta(hours=12), MIDNIGHT + timedelta(hours=13))
# Jobs that are due within it run at the same moment.
STEP = timedelta(minutes=5)


@dataclass
class Sky:
    """The time of all, and both providers: what each took, by the mails' keys."""

    now: datetime = MIDNIGHT
    sendgrid: Counter[str] = field(default_factory=Counter)
    ses: Counter[str] = field(default_factory=Counter)
    failed: int = 0

    def time(self) -> float:
        return self.now.timestamp()

    def answer(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if request.url.path != "/v3/mail/send":
            self.ses[body["EmailTags"][0]["Value"].replace("_3A", ":")] += 1
            return httpx.Response(200, json={"MessageId": f"m{len(self.ses)}"})
        if not DOWN[0] <= self.now < DOWN[1]:
            self.sendgrid[body["personalizations"][0]["custom_args"]["message_key"]] += 1
            return httpx.Response(202, headers={"X-Message-Id": f"m{len(self.sendgrid)}"})
        self.failed += 1
        # Nothing is taken; of what says nothing at all, nobody knows that.
        if self.failed % 3 == 0:
            raise httpx.ReadTimeout("silence")
        if self.failed % 3 == 1:
            return httpx.Response(503)
        raise httpx.ConnectError("no route")


@dataclass(order=True)
class Job:
    due: datetime
    id: str
    job_try: int = 1
    put_offs: int = 0
    put_off_since: datetime = MIDNIGHT


@asynccontextmanager
async def worker(sky: Sky, database_url: str, redis_url: str, switches: list[Any]) -> AsyncIterator[Resources]:
    """What one of several processes has."""
    async with AsyncExitStack() as stack:
        settings = make_settings(database_url=database_url, email_provider="sendgrid,ses")
        database = Database(database_url, application_name="test")
        stack.push_async_callback(database.close)
        client = await stack.enter_async_context(http_client(transport=httpx.MockTransport(sky.answer)))
        store = BreakerStore(ConnectionPool.from_url(redis_url), lambda: round(sky.time() * 1000))
        stack.push_async_callback(store.aclose)
        outages = OutageLog(database)
        messenger = Messenger(
            MessageLedger(database),
            [email_provider(name, settings, client) for name in settings.email_provider],
            [Console()],
            resend_unknown_mail=True,
            resend_unknown_sms=True,
            breaker=partial(Breaker, store=store, clock=sky.time, listener=outages.heed, random=Random(1)),
            on_switch=lambda *switch: switches.append(switch),
        )
        yield Resources([settings, database, messenger])
        await messenger.drained()
        await messenger.aclose()
        await outages.drained()


async def run(sky: Sky, job: Job, resources: Resources, random: Random) -> Job | None:
    """One attempt, and what a worker makes of its end: the job as it waits for the next one."""
    context = Context(
        job_id=job.id,
        root_id=job.id,
        task="send_email_task",
        job_try=job.job_try,
        max_tries=DEFAULT_RETRY.max_tries,
        enqueued_at=MIDNIGHT,
        resources=resources,
        is_fresh=job.job_try == 1 and not job.put_offs,
    )
    try:
        await n.send_email_task(context, "asha@example.com", "Hello", "Milk")
    except Unavailable as away:
        since = job.put_off_since if job.put_offs else sky.now
        wait = PUT_OFF.wait(job.put_offs + 1, sky.now - since, random, away.retry_after)
        assert wait is not None
        return Job(sky.now + wait, job.id, job.job_try, job.put_offs + 1, since)
    except NotDone as failure:
        wait = DEFAULT_RETRY.wait(job.job_try, random, failure.retry_after)
        assert wait is not None, "out of tries"
        return Job(sky.now + wait, job.id, job.job_try + 1)
    return None


async def test_an_hour_without_the_first_provider_loses_nothing_and_doubles_nothing(
    database_url: str, redis_url: str
) -> None:
    sky, random, switches = Sky(), Random(7), list[Any]()
    jobs = [Job(MIDNIGHT + timedelta(days=1) * number / MAILS, f"j{number:05}") for number in range(MAILS)]
    async with AsyncExitStack() as stack:
        with capture_logs() as logs:
            opened = [await stack.enter_async_context(worker(sky, database_url, redis_url, switches)) for _ in range(2)]
            workers = cycle(opened)
            while jobs:
                sky.now = max(sky.now, jobs[0].due)
                due = []
                while jobs and jobs[0].due <= sky.now + STEP:
                    due.append(heapq.heappop(jobs))
                for again in await gather(*(run(sky, job, next(workers), random) for job in due)):
                    if again is not None:
                        heapq.heappush(jobs, again)
            await stack.aclose()
    database = Database(database_url, application_name="test")
    async with database.session() as session:
        messages = (await session.execute(text("SELECT status, provider FROM tasks.messages"))).all()
        [outage] = await session.execute(text("SELECT * FROM tasks.provider_outages"))
    await database.close()

    # Each arrived, once, at one of them.
    arrived = sky.sendgrid + sky.ses
    assert len(arrived) == MAILS
    assert set(arrived.values()) == {1}
    assert {status for status, _ in messages} == {"sent"}
    on_record = Counter(provider for _, provider in messages)
    assert on_record == {"sendgrid": len(sky.sendgrid), "ses": len(sky.ses)}
    # About as many as fall into an hour went the other way, and SendGrid was left alone.
    assert 350 < len(sky.ses) < 450
    assert sky.failed < 60
    # The switch and the return are on record, and were told.
    assert outage.provider == "sendgrid"
    assert DOWN[0] <= outage.opened_at <= DOWN[0] + 2 * STEP
    assert DOWN[1] <= outage.closed_at <= DOWN[1] + timedelta(minutes=10)
    assert switches == [("email", "sendgrid", "ses")] * len(sky.ses)
    warnings = Counter(log["event"] for log in logs if log["log_level"] == "warning")
    # By each of the two workers.
    assert (warnings["provider.left_alone"], warnings["provider.trusted_again"]) == (2, 2)
    assert warnings["message.switched"] == len(sky.ses)
