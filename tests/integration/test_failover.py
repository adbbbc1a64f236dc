"""Mail and SMS while a provider is down: from a task to what arrived, at whom, and what is on record."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from app.db.engine import Database
from app.dev.fakes import Fakes, running_fakes
from app.dev.fakes.faults import Breakage, Failure, Refusal
from app.dev.fakes.inbox import Provider
from app.dev.postgres import EmbeddedPostgres
from app.errors import NotDone, Refused, Unavailable
from app.jobs.breaker import Breaker, BreakerOpen
from app.jobs.breaker_store import breakers
from app.jobs.context import Context, Resources
from app.jobs.failures import OverLimit
from app.jobs.limits import Limit
from app.jobs.queues import Queue
from app.jobs.wire import Wire
from app.notify.ledger import MessageLedger, NewMessage
from app.notify.messenger import LONGEST_SEND, Messenger
from app.notify.outages import OutageLog
from app.providers.failures import Misconfigured
from app.providers.http import http_client
from app.tasks import TASKS
from app.tasks import notifications as n
from app.tasks.resources import email_provider, provider_limits, sms_provider
from app.tasks.serving import open_worker, worker_options
from tests.conftest import fresh_database
from tests.running import open_pool
from tests.settings import make_settings

MAIL = "asha@example.com"
PHONE = "98123 45678"
FACTS = {"product_name": "Milk", "amount": 64}


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Shop:
    """A shop with two providers for mail and two for SMS."""

    fakes: Fakes
    resources: Resources
    outages: OutageLog
    clock: Clock
    switches: list[tuple[str, str, str]]
    asked: list[str] = field(default_factory=list)

    given_away: list[str] = field(default_factory=list)

    def job(self, job_id: str = "j1", **others: Any) -> Context:
        def admit(limit: Limit) -> AbstractAsyncContextManager[None]:
            self.asked.append(limit.name)
            return nullcontext()

        def give_away(limit: Limit) -> None:
            self.given_away.append(limit.name)

        defaults: dict[str, Any] = {"job_try": 1, "admit": admit, "give_away": give_away}
        return Context(
            job_id=job_id,
            root_id=job_id,
            task="t",
            max_tries=4,
            enqueued_at=datetime(2026, 1, 5, tzinfo=UTC),
            resources=self.resources,
            **defaults | others,
        )

    async def mail(self, job_id: str = "j1", **others: Any) -> str | None:
        """Who sent it."""
        return (await n.send_email_task(self.job(job_id, **others), MAIL, "Hello", "Milk"))["provider"]

    async def sms(self, job_id: str = "j1", **others: Any) -> str | None:
        task = n.send_templated_sms_task
        return (await task(self.job(job_id, **others), PHONE, "subscription_renewal", FACTS))["provider"]

    async def put_out(self, provider: Provider, job: str = "out") -> None:
        """Has the provider fail until its breaker is open."""
        self.fakes.faults.add(Failure(provider=provider, status=503))
        for number in range(5):
            # The last one opens it, and may find another way.
            with suppress(NotDone):
                await self.mail(f"{job}{number}")
        self.fakes.faults.clear()
        self.fakes.inbox.clear()
        self.switches.clear()

    async def on_record(self, columns: str, table: str = "messages", order: str = "id") -> Sequence[tuple[Any, ...]]:
        async with self.resources[Database].session() as session:
            rows = await session.execute(text(f"SELECT {columns} FROM tasks.{table} ORDER BY {order}"))
            return [tuple(row) for row in rows]

    async def outages_on_record(self) -> Sequence[tuple[Any, ...]]:
        await self.resources[Messenger].aclose()
        await self.outages.drained()
        return await self.on_record("provider, reason, closed_at IS NULL", "provider_outages", "opened_at, provider")


@asynccontextmanager
async def open_shop(database_url: str, **values: Any) -> AsyncIterator[Shop]:
    async with AsyncExitStack() as stack:
        fakes = await stack.enter_async_context(running_fakes())
        settings = make_settings(
            database_url=database_url,
            fakes_url=fakes.url,
            **({"email_provider": "sendgrid,ses", "sms_provider": "twilio,msg91"} | values),
        )
        database = Database(database_url, application_name="test")
        stack.push_async_callback(database.close)
        client = await stack.enter_async_context(http_client())
        clock, outages = Clock(), OutageLog(database)
        switches: list[tuple[str, str, str]] = []
        messenger = Messenger(
            MessageLedger(database),
            [email_provider(name, settings, client) for name in settings.email_provider],
            [sms_provider(name, settings, client) for name in settings.sms_provider],
            resend_unknown_mail=True,
            resend_unknown_sms=True,
            limits=provider_limits(settings),
            breaker=partial(Breaker, clock=clock, listener=outages.heed),
            on_switch=lambda *switch: switches.append(switch),
        )
        yield Shop(fakes, Resources([settings, database, messenger]), outages, clock, switches)
        await messenger.drained()
        await messenger.aclose()
        await outages.drained()


@pytest.fixture(scope="module")
async def one_database(postgres_server: EmbeddedPostgres, database_template: str) -> AsyncIterator[str]:
    """For all of these tests: making one takes longer than any of them."""
    async with fresh_database(postgres_server, template=database_template) as url:
        yield url


@pytest.fixture
async def database_url(one_database: str) -> str:
    database = Database(one_database, application_name="test")
    async with database.session() as session:
        await session.execute(text("TRUNCATE tasks.messages, tasks.provider_outages, tasks.jobs, tasks.outbox"))
    await database.close()
    return one_database


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    async with open_shop(database_url) as shop:
        yield shop


async def test_while_a_provider_is_down_the_next_one_sends_and_everybody_is_told(shop: Shop) -> None:
    assert await shop.mail("before") == "sendgrid"
    with capture_logs() as logs:
        await shop.put_out(Provider.SENDGRID)

        assert [await shop.mail(f"during{number}") for number in range(3)] == ["ses"] * 3

    assert shop.switches == [("email", "sendgrid", "ses")] * 3
    assert await shop.outages_on_record() == [("sendgrid", "503: Service Unavailable", True)]
    warnings = [(log["event"], log["provider"]) for log in logs if log["log_level"] == "warning"]
    assert warnings == [("provider.left_alone", "sendgrid")] + [("message.switched", "ses")] * 4


async def test_it_comes_back_by_itself(shop: Shop) -> None:
    await shop.put_out(Provider.SENDGRID)
    shop.clock.now += 5

    with capture_logs() as logs:
        assert [await shop.mail(f"after{number}") for number in range(4)] == ["sendgrid"] * 4

    assert shop.switches == []
    assert await shop.outages_on_record() == [("sendgrid", "503: Service Unavailable", False)]
    assert ("provider.trusted_again", "warning") in [(log["event"], log["log_level"]) for log in logs]


async def test_what_failed_before_goes_by_the_next_one(shop: Shop) -> None:
    await shop.put_out(Provider.SENDGRID)

    assert await shop.mail("out0", job_try=2) == "ses"

    assert len(shop.fakes.inbox.find(Provider.SES)) == 1
    assert (await shop.on_record("root_job_id, provider, status, tries, possibly_twice"))[0] == (
        ("out0", "ses", "sent", 2, False)
    )


async def test_a_mail_that_finds_its_provider_unusable_goes_by_the_next_one_at_once(shop: Shop) -> None:
    shop.fakes.faults.add(Refusal(provider=Provider.SENDGRID, code=401))

    with capture_logs() as logs:
        assert [await shop.mail(f"j{number}") for number in range(3)] == ["ses"] * 3

    assert shop.fakes.inbox.counts[Provider.SENDGRID].requests == 1
    assert await shop.on_record("root_job_id, provider, status, tries") == [
        ("j0", "ses", "sent", 2),
        ("j1", "ses", "sent", 1),
        ("j2", "ses", "sent", 1),
    ]
    # The fallback hides nothing: keys are for a person to put right.
    assert [log["log_level"] for log in logs if log["event"] == "provider.left_alone"] == ["error"]


async def test_a_bad_moment_is_waited_out(shop: Shop) -> None:
    shop.fakes.faults.add(Failure(provider=Provider.SENDGRID, status=503, times=1))

    with pytest.raises(NotDone):
        await shop.mail()

    assert await shop.mail(job_try=2) == "sendgrid"
    assert len(shop.fakes.inbox.find(Provider.SES)) == 0


async def test_a_mail_that_may_have_been_sent_is_never_given_to_another(shop: Shop) -> None:
    shop.fakes.faults.add(Breakage(provider=Provider.SENDGRID, kind="dropped_after", times=1))
    with pytest.raises(NotDone):
        await shop.mail("unknown")
    await shop.put_out(Provider.SENDGRID)

    with pytest.raises(BreakerOpen) as waiting:
        await shop.mail("unknown", job_try=2)

    # It costs no try, and is worth coming back for when it is tried again.
    assert isinstance(waiting.value, Unavailable)
    assert waiting.value.retry_after is not None
    assert 5 <= waiting.value.retry_after.total_seconds() <= 6.25
    assert len(shop.fakes.inbox.find(Provider.SES)) == 0

    shop.clock.now += 5
    assert await shop.mail("unknown", job_try=2) == "sendgrid"
    assert (await shop.on_record("provider, status, possibly_twice"))[0] == ("sendgrid", "sent", True)


async def test_an_sms_that_may_have_been_sent_is_asked_about_where_it_was(shop: Shop) -> None:
    shop.fakes.faults.add(Breakage(provider=Provider.TWILIO, kind="dropped_after", times=1))
    with pytest.raises(NotDone):
        await shop.sms()

    assert await shop.sms(job_try=2) == "twilio"

    assert await shop.on_record("provider, status, possibly_twice") == [("twilio", "sent", False)]
    assert len(shop.fakes.inbox.find(Provider.TWILIO)) == 1
    assert len(shop.fakes.inbox.find(Provider.MSG91)) == 0


@pytest.mark.parametrize("is_fresh", [True, False])
async def test_what_an_attempt_that_died_was_sending_is_kept_to_its_provider(shop: Shop, is_fresh: bool) -> None:
    ledger = MessageLedger(shop.resources[Database])
    await ledger.begin(NewMessage("j1", "email", "j1", "a1", None, "a***@example.com", "ses"))
    async with shop.resources[Database].session() as session:
        await session.execute(
            text("UPDATE tasks.messages SET updated_at = now() - CAST(:ago AS interval)"), {"ago": LONGEST_SEND}
        )

    # SendGrid is well, and first.
    assert await shop.mail(is_fresh=is_fresh) == "ses"

    assert await shop.on_record("provider, status, possibly_twice") == [("ses", "sent", True)]


async def test_where_no_provider_is_left_mail_waits_at_the_cost_of_no_try(shop: Shop) -> None:
    await shop.put_out(Provider.SENDGRID)
    await shop.put_out(Provider.SES, "out too")

    with pytest.raises(BreakerOpen, match="is left alone for now"):
        await shop.mail()

    assert await shop.on_record("count(*) FILTER (WHERE root_job_id = 'j1')", order="1") == [(0,)]
    shop.clock.now += 10
    assert await shop.mail() == "sendgrid"


async def test_where_there_is_no_other_provider_mail_waits_too(database_url: str) -> None:
    async with open_shop(database_url, email_provider="sendgrid", sendgrid_api_key="SG.wrong") as shop:
        with pytest.raises(Misconfigured) as first:
            await shop.mail("first")
        with pytest.raises(BreakerOpen) as second:
            await shop.mail("second")

        assert shop.fakes.inbox.counts[Provider.SENDGRID].requests == 1
        for failure in (first.value, second.value):
            assert failure.retry_after is not None
            assert 5 <= failure.retry_after.total_seconds() <= 6.25


async def test_refusals_and_throttling_are_signs_of_life(shop: Shop) -> None:
    shop.fakes.faults.add(Refusal(provider=Provider.SENDGRID, code=400, times=10))
    for number in range(10):
        with pytest.raises(Refused):
            await shop.mail(f"refused{number}")
    shop.fakes.faults.add(Failure(provider=Provider.SENDGRID, status=429, times=10))
    for number in range(10):
        with pytest.raises(NotDone):
            await shop.mail(f"throttled{number}")

    assert await shop.mail() == "sendgrid"


async def test_silence_is_an_outage(shop: Shop) -> None:
    shop.fakes.faults.add(Breakage(provider=Provider.SENDGRID, kind="dropped_after"))
    for number in range(5):
        with pytest.raises(NotDone):
            await shop.mail(f"j{number}")

    assert await shop.mail("another") == "ses"


async def test_a_probe_that_fails_sends_its_mail_by_the_next_one(shop: Shop) -> None:
    await shop.put_out(Provider.SENDGRID)
    shop.clock.now += 5
    shop.fakes.faults.add(Failure(provider=Provider.SENDGRID, status=500))
    requests = shop.fakes.inbox.counts[Provider.SENDGRID].requests

    assert [await shop.mail(f"j{number}") for number in range(3)] == ["ses"] * 3

    assert shop.fakes.inbox.counts[Provider.SENDGRID].requests == requests + 1


async def test_text_that_the_next_one_can_not_send_waits_for_the_first(shop: Shop) -> None:
    shop.fakes.faults.add(Failure(provider=Provider.TWILIO, status=503))
    for number in range(5):
        with pytest.raises(NotDone):
            await shop.sms(f"unknown{number}")
    assert await shop.sms("known") == "msg91"

    with pytest.raises(BreakerOpen, match="twilio"):
        await n.send_sms_task(shop.job("free"), PHONE, "The dairy is open.")

    assert shop.fakes.inbox.counts[Provider.MSG91].requests == 1


async def test_text_that_only_the_second_one_can_send_goes_there_and_is_no_switch(database_url: str) -> None:
    async with open_shop(database_url, sms_provider="msg91,twilio") as shop:
        result = await n.send_sms_task(shop.job(), PHONE, "The dairy is open.")

        assert result["provider"] == "twilio"
        assert shop.switches == []


async def test_the_limit_is_the_one_of_the_provider_that_sends(database_url: str) -> None:
    async with open_shop(database_url, sendgrid_max_per_second=5, ses_max_per_second=14) as shop:
        shop.fakes.faults.add(Refusal(provider=Provider.SENDGRID, code=401))

        assert [await shop.mail(f"j{number}") for number in range(2)] == ["ses"] * 2

        assert shop.asked == ["sendgrid", "ses", "ses"]


async def test_a_turn_at_a_provider_that_is_left_alone_is_given_away(database_url: str) -> None:
    async with open_shop(database_url, sendgrid_max_per_second=5) as shop:
        await shop.put_out(Provider.SENDGRID)
        shop.given_away.clear()

        assert await shop.mail("fresh", is_fresh=True) == "ses"
        assert await shop.mail("waited") == "ses"

        assert shop.given_away == ["sendgrid"]


async def test_a_probe_that_has_to_wait_for_its_limit_makes_way_for_another(database_url: str) -> None:
    def full(limit: Limit) -> AbstractAsyncContextManager[None]:
        raise OverLimit(limit)

    async with open_shop(database_url, sendgrid_max_per_second=5) as shop:
        await shop.put_out(Provider.SENDGRID)
        shop.clock.now += 5

        with pytest.raises(OverLimit):
            await shop.mail("waits", admit=full)

        assert await shop.mail("probe") == "sendgrid"


async def test_an_outage_that_redis_forgot_is_over(shop: Shop) -> None:
    async with shop.resources[Database].session() as session:
        await session.execute(
            text(
                "INSERT INTO tasks.provider_outages (provider, opened_at, reason)"
                " VALUES ('sendgrid', '2023-01-01Z', 'long ago'), ('twilio', '2023-01-01Z', 'another one')"
            )
        )

    await shop.mail()

    assert await shop.outages_on_record() == [("sendgrid", "long ago", False), ("twilio", "another one", True)]


async def test_a_worker_goes_around_a_provider_whose_keys_are_wrong(database_url: str, redis_url: str) -> None:
    ids = [f"j{number}" for number in range(20)]
    async with running_fakes() as fakes:
        settings = make_settings(
            database_url=database_url,
            redis_url=redis_url,
            fakes_url=fakes.url,
            email_provider="sendgrid,ses",
            sendgrid_api_key="SG.wrong",
        )
        async with open_pool(redis_url, TASKS) as pool:
            for job_id in ids:
                task = n.send_email_task.using(job_id=job_id)
                await task.enqueue(pool, to_email=MAIL, subject="Hello", body="Milk")

            async with open_worker(settings, worker_options(settings, [Queue.NOTIFICATIONS], burst=True)) as worker:
                await worker.run()

            left_alone = await breakers(wire := Wire(pool.connection_pool))
            await wire.aclose()

        assert len(fakes.inbox.find(Provider.SES)) == len(ids)
    assert (left_alone["sendgrid"].is_open, left_alone["ses"].is_open) == (True, False)
    database = Database(database_url, application_name="test")
    async with database.session() as session:
        outages = (await session.execute(text("SELECT provider, closed_at FROM tasks.provider_outages"))).all()
        tries = await session.scalar(text("SELECT sum(tries) FROM tasks.messages"))
    await database.close()
    assert [tuple(outage) for outage in outages] == [("sendgrid", None)]
    # Those that were under way when the first one failed asked it, too.
    assert tries == len(ids) + fakes.inbox.counts[Provider.SENDGRID].requests
