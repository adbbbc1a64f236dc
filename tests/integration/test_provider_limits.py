"""Mails and SMS within the limits of their providers, from workers to fake SendGrid and Twilio."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from app.db.engine import Database
from app.dev.fakes import Fakes, running_fakes
from app.dev.fakes.faults import Failure
from app.dev.fakes.inbox import Provider
from app.errors import NotDone
from app.jobs.context import Context, Resources
from app.jobs.failures import OverLimit
from app.jobs.limits import Limit
from app.jobs.lookup import JobRecord, find_job
from app.jobs.pool import JobPool
from app.jobs.queues import Queue
from app.notify.ledger import MessageLedger
from app.notify.messenger import Messenger
from app.providers.http import http_client
from app.providers.mail import EmailProvider, Mail
from app.providers.msg91 import Msg91
from app.providers.sendgrid import SendGrid
from app.providers.ses import Ses
from app.providers.smtp import Smtp
from app.providers.twilio import Twilio
from app.settings import Settings
from app.tasks import TASKS
from app.tasks import notifications as n
from app.tasks.resources import email_provider, open_resources, provider_limits, sms_provider
from tests.running import open_pool, running_worker
from tests.settings import make_settings
from tests.waiting import until

MAIL = "asha@example.com"
LETTER = {"to_email": MAIL, "subject": "Milk", "body": "On its way"}
ORDER: dict[str, Any] = {
    "email": MAIL,
    "phone": "98123 45678",
    "order_number": "ORD-7",
    "customer_name": "Asha",
    "order_total": "125.50",
    "delivery_address": "4 MG Road, Pune 411001",
}


class Counted:
    """The provider behind it, and how many requests to it are under way."""

    def __init__(self, provider: EmailProvider) -> None:
        self.name = provider.name
        self.now = 0
        self.highest = 0
        self.may_answer = asyncio.Event()
        self._provider = provider

    async def send(self, mail: Mail) -> str:
        self.now += 1
        self.highest = max(self.highest, self.now)
        try:
            await self.may_answer.wait()
            return await self._provider.send(mail)
        finally:
            self.now -= 1


@dataclass
class Shop:
    """The fakes, the workers' queues and what their tasks work with."""

    fakes: Fakes
    pool: JobPool
    settings: Settings
    resources: list[Any]
    mail: Counted

    def worker(self, slots: int = 50) -> AbstractAsyncContextManager[object]:
        limits = provider_limits(self.settings)
        return running_worker(self.pool, self.resources, slots={Queue.NOTIFICATIONS: slots}, limits=limits)

    async def ended(self, *ids: str) -> list[JobRecord]:
        async def have_ended() -> bool:
            return bool(await self.pool.exists(*(f"arq:result:{job_id}" for job_id in ids)) == len(ids))

        await until(have_ended)
        records = [await find_job(self.pool, job_id) for job_id in ids]
        return [record for record in records if record is not None]

    async def on_record(self) -> list[tuple[str, str, int]]:
        [database] = [thing for thing in self.resources if isinstance(thing, Database)]
        async with database.session() as session:
            rows = await session.execute(text("SELECT channel, status, tries FROM tasks.messages ORDER BY channel"))
            return [(row.channel, row.status, row.tries) for row in rows]


@asynccontextmanager
async def open_shop(database_url: str, redis_url: str, **limits: float) -> AsyncIterator[Shop]:
    async with AsyncExitStack() as stack:
        fakes = await stack.enter_async_context(running_fakes())
        settings = make_settings(database_url=database_url, redis_url=redis_url, fakes_url=fakes.url, **limits)
        database = Database(settings.database_url.get_secret_value(), application_name="test")
        stack.push_async_callback(database.close)
        client = await stack.enter_async_context(http_client())
        mail = Counted(email_provider("sendgrid", settings, client))
        messenger = Messenger(
            MessageLedger(database),
            [mail],
            [sms_provider("twilio", settings, client)],
            resend_unknown_mail=True,
            resend_unknown_sms=True,
            limits=provider_limits(settings),
        )
        stack.push_async_callback(messenger.drained)
        pool = await stack.enter_async_context(open_pool(redis_url, TASKS))
        yield Shop(fakes, pool, settings, [settings, database, messenger], mail)


def test_each_provider_can_be_limited() -> None:
    providers = ("sendgrid", "ses", "smtp", "twilio", "msg91")
    allowed: dict[str, Any] = {f"{provider}_max_in_flight": 3 for provider in providers}
    allowed |= {f"{provider}_max_per_second": 10 + number for number, provider in enumerate(providers)}

    limits = provider_limits(make_settings(**allowed))

    assert limits == [Limit(provider, 10 + number, 3) for number, provider in enumerate(providers)]
    assert {SendGrid.name, Ses.name, Smtp.name, Twilio.name, Msg91.name} == set(providers)


async def test_no_more_mails_are_in_flight_than_allowed(database_url: str, redis_url: str) -> None:
    ids = [f"j{number:02}" for number in range(30)]
    async with open_shop(database_url, redis_url, sendgrid_max_in_flight=3) as shop:
        async with shop.worker(), shop.worker():
            for job_id in ids:
                await n.send_email_task.using(job_id=job_id).enqueue(shop.pool, **LETTER)
            await until(lambda: shop.mail.now == 3)

            async def others_wait() -> bool:
                waiting = await shop.pool.zcard(f"indostar:limit:sendgrid:waiting:{Queue.NOTIFICATIONS.key}")
                return bool(waiting == len(ids) - 3)

            await until(others_wait)
            # Nothing says of what waits that it is being sent.
            assert await shop.on_record() == [("email", "sending", 1)] * 3
            shop.mail.may_answer.set()
            records = await shop.ended(*ids)

        assert shop.mail.highest == 3
        assert len(shop.fakes.inbox.find(Provider.SENDGRID)) == len(ids)
        assert {(record.tries, len(record.attempts)) for record in records} == {(1, 1)}
        assert await shop.on_record() == [("email", "sent", 1)] * len(ids)


async def test_a_mail_and_an_sms_of_one_job_each_wait_for_their_own_provider(database_url: str, redis_url: str) -> None:
    ids = [f"j{number:02}" for number in range(40)]
    limits = {"sendgrid_max_per_second": 40, "twilio_max_per_second": 20, "twilio_max_in_flight": 2}
    async with open_shop(database_url, redis_url, **limits) as shop:
        shop.mail.may_answer.set()
        started = asyncio.get_running_loop().time()
        async with shop.worker():
            for job_id in ids:
                await n.send_order_confirmation_task.using(job_id=job_id).enqueue(shop.pool, **ORDER)
            records = await shop.ended(*ids)
        took = asyncio.get_running_loop().time() - started

        assert len(shop.fakes.inbox.find(Provider.SENDGRID)) == len(ids)
        assert len(shop.fakes.inbox.find(Provider.TWILIO)) == len(ids)
        # Two SMS at once, the others one by one.
        assert took >= (len(ids) - 2 - 1) / 20
        assert {(record.tries, len(record.attempts)) for record in records} == {(1, 1)}


@pytest.fixture
async def resources(database_url: str) -> AsyncIterator[tuple[Fakes, Resources]]:
    async with running_fakes() as fakes:
        settings = make_settings(
            database_url=database_url, fakes_url=fakes.url, sendgrid_max_in_flight=1, twilio_max_in_flight=1
        )
        async with open_resources(settings) as resources:
            yield fakes, resources


def job(resources: Resources, *, full: str, **others: Any) -> Context:
    """A job that finds one provider's limit reached."""

    def admit(limit: Limit) -> AbstractAsyncContextManager[None]:
        if limit.name == full:
            raise OverLimit(limit)
        return nullcontext()

    return Context(
        job_id="j1",
        root_id="j1",
        task="t",
        job_try=1,
        max_tries=4,
        enqueued_at=datetime(2026, 1, 5, tzinfo=UTC),
        resources=resources,
        admit=admit,
        **others,
    )


async def test_an_sms_that_waits_does_not_keep_its_mail_back(resources: tuple[Fakes, Resources]) -> None:
    fakes, things = resources
    with pytest.raises(OverLimit, match="twilio"):
        await n.send_order_confirmation_task(job(things, full="twilio", is_fresh=True), **ORDER)
    assert len(fakes.inbox.find(Provider.SENDGRID)) == 1

    # The mail has gone out, and asks for no second turn.
    result = await n.send_order_confirmation_task(job(things, full="sendgrid"), **ORDER)

    assert {channel: message["status"] for channel, message in result.items()} == {
        "email": "already_sent",
        "sms": "sent",
    }
    assert len(fakes.inbox.find(Provider.SENDGRID)) == 1


async def test_a_mail_that_fails_uses_up_a_try_while_its_sms_waits(resources: tuple[Fakes, Resources]) -> None:
    fakes, things = resources
    fakes.faults.add(Failure(provider=Provider.SENDGRID, status=429, times=1))

    with pytest.raises(NotDone) as failure:
        await n.send_order_confirmation_task(job(things, full="twilio", is_fresh=True), **ORDER)

    assert not isinstance(failure.value, OverLimit)
