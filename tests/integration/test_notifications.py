"""The notification tasks, from a call to what reached the provider and what is on record."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.db.engine import Database
from app.dev.fakes import Fakes, running_fakes
from app.dev.fakes.faults import Breakage, Failure, Latency, Refusal
from app.dev.fakes.inbox import Message, Provider
from app.errors import NotDone, OutcomeUnknown, Refused, Unavailable
from app.jobs.context import Context, Resources
from app.jobs.effects import EffectState, PastJob
from app.jobs.failures import LeaseRanOut, WrongArguments
from app.jobs.task import Task
from app.notify.ledger import MessageEnd, MessageLedger, NewMessage
from app.notify.messenger import Messenger
from app.tasks import notifications as n
from app.tasks.resources import open_resources
from tests.settings import make_settings
from tests.waiting import until

ORDER: dict[str, Any] = {
    "order_number": "ORD-7",
    "customer_name": "Asha <b>Patil</b>",
    "order_total": "125000.50",
    "delivery_address": "4 MG Road\nPune 411001",
}
MAIL = "asha@example.com"
PHONE = "98123 45678"
E164 = "+919812345678"


@dataclass
class Shop:
    """The fakes, what tasks work with, and the table of messages."""

    fakes: Fakes
    resources: Resources

    def job(self, job_id: str = "j1", *, root_id: str | None = None, job_try: int = 1) -> Context:
        return Context(
            job_id=job_id,
            root_id=root_id or job_id,
            task="t",
            job_try=job_try,
            max_tries=4,
            enqueued_at=datetime(2026, 1, 5, tzinfo=UTC),
            resources=self.resources,
        )

    def sent(self, provider: Provider) -> list[Message]:
        return self.fakes.inbox.find(provider)

    async def messages(self) -> Sequence[dict[str, Any]]:
        async with self.resources[Database].session() as session:
            rows = await session.execute(text("SELECT * FROM tasks.messages ORDER BY root_job_id, channel"))
            return [dict(row) for row in rows.mappings()]


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    async with running_fakes() as fakes:
        settings = make_settings(database_url=database_url, fakes_url=fakes.url)
        async with open_resources(settings) as resources:
            yield Shop(fakes, resources)


async def test_an_order_confirmation_is_one_mail_and_one_sms(shop: Shop) -> None:
    result = await n.send_order_confirmation_task(shop.job(), email=MAIL, phone=PHONE, **ORDER)

    [mail] = shop.sent(Provider.SENDGRID)
    [sms] = shop.sent(Provider.TWILIO)
    assert result == {
        "email": {"status": "sent", "provider": "sendgrid", "message_id": mail.id},
        "sms": {"status": "sent", "provider": "twilio", "message_id": sms.id},
    }
    assert mail.to == (MAIL,)
    assert mail.text is not None
    assert "₹1,25,000.50" in mail.text
    assert mail.html is not None
    assert "<b>" not in mail.html
    assert sms.to == (E164,)
    assert sms.text is not None
    assert "Rs 1,25,000.50" in sms.text


async def test_what_was_sent_is_on_record_without_the_recipient(shop: Shop) -> None:
    await n.send_order_confirmation_task(shop.job(), email=MAIL, phone=PHONE, **ORDER)

    mail, sms = await shop.messages()
    assert (mail["channel"], mail["status"], mail["template"]) == ("email", "sent", "order_confirmation")
    assert (mail["provider"], mail["provider_message_id"]) == ("sendgrid", shop.sent(Provider.SENDGRID)[0].id)
    assert (mail["tries"], mail["possibly_twice"]) == (1, False)
    assert mail["sent_at"] is not None
    assert (mail["recipient"], sms["recipient"]) == ("a***@example.com", "+91******5678")


async def test_a_job_that_is_run_twice_sends_nothing_twice(shop: Shop) -> None:
    first = await n.send_order_confirmation_task(shop.job(), email=MAIL, phone=PHONE, **ORDER)
    second = await n.send_order_confirmation_task(shop.job(), email=MAIL, phone=PHONE, **ORDER)

    assert len(shop.sent(Provider.SENDGRID)) == len(shop.sent(Provider.TWILIO)) == 1
    assert {channel: message["status"] for channel, message in second.items()} == {
        "email": "already_sent",
        "sms": "already_sent",
    }
    assert second["email"]["message_id"] == first["email"]["message_id"]


async def test_a_retry_sends_only_what_is_missing(shop: Shop) -> None:
    shop.fakes.faults.add(Failure(provider=Provider.TWILIO, status=429, times=1))
    with pytest.raises(NotDone):
        await n.send_order_confirmation_task(shop.job(), email=MAIL, phone=PHONE, **ORDER)

    await n.send_order_confirmation_task(shop.job(job_try=2), email=MAIL, phone=PHONE, **ORDER)

    assert len(shop.sent(Provider.SENDGRID)) == len(shop.sent(Provider.TWILIO)) == 1
    mail, sms = await shop.messages()
    assert (mail["tries"], sms["tries"]) == (1, 2)


async def test_a_customer_without_mail_gets_the_sms_alone(shop: Shop) -> None:
    result = await n.send_order_confirmation_task(shop.job(), email=None, phone=PHONE, **ORDER)

    assert list(result) == ["sms"]
    assert shop.sent(Provider.SENDGRID) == []


async def test_a_refused_mail_does_not_keep_the_sms_back(shop: Shop) -> None:
    shop.fakes.faults.add(Refusal(provider=Provider.SENDGRID, code=400))

    with pytest.raises(Refused, match="sendgrid refused the request"):
        await n.send_order_confirmation_task(shop.job(), email=MAIL, phone=PHONE, **ORDER)

    assert len(shop.sent(Provider.TWILIO)) == 1
    mail, sms = await shop.messages()
    assert (mail["status"], sms["status"]) == ("refused", "sent")
    assert MAIL not in mail["error"]


async def test_while_one_message_may_still_go_out_the_job_is_tried_again(shop: Shop) -> None:
    shop.fakes.faults.add(Refusal(provider=Provider.SENDGRID, code=400))
    shop.fakes.faults.add(Failure(provider=Provider.TWILIO, status=429, times=1))
    with pytest.raises(NotDone):
        await n.send_order_confirmation_task(shop.job(), email=MAIL, phone=PHONE, **ORDER)

    # The mail stays refused; it is not offered to the provider again.
    with pytest.raises(Refused):
        await n.send_order_confirmation_task(shop.job(job_try=2), email=MAIL, phone=PHONE, **ORDER)

    assert shop.fakes.inbox.counts[Provider.SENDGRID].requests == 1
    assert len(shop.sent(Provider.TWILIO)) == 1


async def test_a_rerun_sends_only_what_was_not_sent(shop: Shop) -> None:
    shop.fakes.faults.add(Refusal(provider=Provider.SENDGRID, code=400, times=1))
    with pytest.raises(Refused):
        await n.send_order_confirmation_task(shop.job("j1"), email=MAIL, phone=PHONE, **ORDER)

    result = await n.send_order_confirmation_task(shop.job("j2", root_id="j1"), email=MAIL, phone=PHONE, **ORDER)

    assert {channel: message["status"] for channel, message in result.items()} == {
        "email": "sent",
        "sms": "already_sent",
    }
    assert len(shop.sent(Provider.SENDGRID)) == len(shop.sent(Provider.TWILIO)) == 1


async def test_a_mail_nobody_knows_of_is_sent_again_and_counted(shop: Shop) -> None:
    shop.fakes.faults.add(Breakage(provider=Provider.SENDGRID, kind="dropped_after", times=1))
    with pytest.raises(NotDone):
        await n.send_email_task(shop.job(), MAIL, "Hello", "Milk")
    assert (await shop.messages())[0]["status"] == "unknown"

    await n.send_email_task(shop.job(job_try=2), MAIL, "Hello", "Milk")

    [message] = await shop.messages()
    assert (message["status"], message["possibly_twice"]) == ("sent", True)
    assert len(shop.sent(Provider.SENDGRID)) == 2


async def test_an_sms_nobody_knows_of_is_looked_up_and_not_sent_again(shop: Shop) -> None:
    shop.fakes.faults.add(Breakage(provider=Provider.TWILIO, kind="dropped_after", times=1))
    with pytest.raises(NotDone):
        await n.send_sms_task(shop.job(), PHONE, "Milk")

    result = await n.send_sms_task(shop.job(job_try=2), PHONE, "Milk")

    [sms] = shop.sent(Provider.TWILIO)
    assert result == {"status": "already_sent", "provider": "twilio", "message_id": sms.id}
    [message] = await shop.messages()
    assert (message["status"], message["possibly_twice"]) == ("sent", False)


async def test_an_sms_that_is_not_on_the_list_yet_is_asked_about_again(shop: Shop) -> None:
    shop.fakes.faults.add(Breakage(provider=Provider.TWILIO, kind="dropped_before", times=1))
    with pytest.raises(NotDone):
        await n.send_sms_task(shop.job(), PHONE, "Milk")

    with pytest.raises(NotDone) as waiting:
        await n.send_sms_task(shop.job(job_try=2), PHONE, "Milk")

    assert waiting.value.retry_after is not None
    assert shop.sent(Provider.TWILIO) == []


async def test_a_list_that_can_not_be_asked_leaves_the_sms_unsettled(shop: Shop) -> None:
    shop.fakes.faults.add(Breakage(provider=Provider.TWILIO, kind="dropped_after", times=1))
    shop.fakes.faults.add(Failure(provider=Provider.TWILIO, status=503, on="lookup", times=1))
    with pytest.raises(NotDone):
        await n.send_sms_task(shop.job(), PHONE, "Milk")

    with pytest.raises(NotDone):
        await n.send_sms_task(shop.job(job_try=2), PHONE, "Milk")
    assert [message["status"] for message in await shop.messages()] == ["unknown"]
    await n.send_sms_task(shop.job(job_try=3), PHONE, "Milk")

    assert len(shop.sent(Provider.TWILIO)) == 1


async def test_a_mail_of_unknown_fate_stays_so_while_sending_it_again_fails(shop: Shop) -> None:
    shop.fakes.faults.add(Breakage(provider=Provider.SENDGRID, kind="dropped_after", times=1))
    shop.fakes.faults.add(Failure(provider=Provider.SENDGRID, status=503, times=1))
    for job_try in (1, 2):
        with pytest.raises(NotDone):
            await n.send_email_task(shop.job(job_try=job_try), MAIL, "Hello", "Milk")
    [message] = await shop.messages()
    assert (message["status"], message["possibly_twice"]) == ("unknown", False)

    await n.send_email_task(shop.job(job_try=3), MAIL, "Hello", "Milk")

    [message] = await shop.messages()
    assert (message["status"], message["possibly_twice"], message["tries"]) == ("sent", True, 3)


async def test_a_message_that_another_worker_is_sending_is_waited_for(shop: Shop) -> None:
    shop.fakes.faults.add(Latency(provider=Provider.SENDGRID, milliseconds=500))
    first = asyncio.create_task(n.send_email_task(shop.job(), MAIL, "Hello", "Milk"))
    await until(lambda: shop.fakes.inbox.counts[Provider.SENDGRID].requests)

    with pytest.raises(Unavailable) as waiting:
        await n.send_email_task(shop.job(), MAIL, "Hello", "Milk")

    assert waiting.value.retry_after is not None
    assert (await first)["status"] == "sent"
    assert len(shop.sent(Provider.SENDGRID)) == 1


async def test_two_attempts_at_one_moment_are_one_message(shop: Shop) -> None:
    results = await asyncio.gather(
        *(n.send_email_task(shop.job(), MAIL, "Hello", "Milk") for _ in range(5)), return_exceptions=True
    )

    assert [result for result in results if not isinstance(result, Unavailable)] == [
        {"status": "sent", "provider": "sendgrid", "message_id": shop.sent(Provider.SENDGRID)[0].id}
    ]
    assert len(shop.sent(Provider.SENDGRID)) == 1


async def test_a_job_that_is_ended_while_it_sends_leaves_its_fate_unknown(shop: Shop) -> None:
    shop.fakes.faults.add(Latency(provider=Provider.SENDGRID, milliseconds=60_000))
    sending = asyncio.create_task(n.send_email_task(shop.job(), MAIL, "Hello", "Milk"))
    await until(lambda: shop.fakes.inbox.counts[Provider.SENDGRID].requests)

    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await shop.resources[Messenger].drained()

    assert [message["status"] for message in await shop.messages()] == ["unknown"]


async def test_a_job_that_is_ended_before_it_sends_leaves_nothing_unknown(shop: Shop) -> None:
    async with shop.resources[Database].session() as session:
        await session.execute(text("LOCK TABLE tasks.messages IN ACCESS EXCLUSIVE MODE"))
        sending = asyncio.create_task(n.send_email_task(shop.job(), MAIL, "Hello", "Milk"))
        await until(lambda: _somebody_waits(shop))
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    await shop.resources[Messenger].drained()

    assert [message["status"] for message in await shop.messages()] in ([], ["failed"])
    assert shop.fakes.inbox.counts[Provider.SENDGRID].requests == 0


async def _somebody_waits(shop: Shop) -> bool:
    async with shop.resources[Database].session() as session:
        return bool(await session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


async def test_what_a_stale_attempt_says_changes_nothing_but_that_it_was_sent(shop: Shop) -> None:
    ledger = MessageLedger(shop.resources[Database])
    stale = NewMessage("j1", "email", "j1", "a1", None, "a***@example.com", "sendgrid")
    newer = replace(stale, attempt="a2")
    assert await ledger.begin(stale) is None
    earlier = await ledger.begin(newer)
    assert earlier is not None
    assert await ledger.resume(newer, earlier)
    assert not await ledger.resume(replace(stale, attempt="a3"), earlier)

    await ledger.end(MessageEnd(stale, "failed"))
    assert [message["status"] for message in await shop.messages()] == ["sending"]
    await ledger.end(MessageEnd(stale, "sent", "m1"))
    await ledger.end(MessageEnd(newer, "failed"))

    [message] = await shop.messages()
    assert (message["status"], message["provider_message_id"], message["possibly_twice"]) == ("sent", "m1", True)


async def test_a_worker_that_was_stopped_past_its_lease_does_not_send(shop: Shop) -> None:
    def ran_out() -> None:
        raise LeaseRanOut

    with pytest.raises(LeaseRanOut):
        await n.send_email_task(replace(shop.job(), ensure_held=ran_out), MAIL, "Hello", "Milk")
    assert await shop.messages() == []

    held = iter([None])

    def run_out_meanwhile() -> None:
        if next(held, "gone") == "gone":
            raise LeaseRanOut

    with pytest.raises(LeaseRanOut):
        await n.send_email_task(replace(shop.job(), ensure_held=run_out_meanwhile), MAIL, "Hello", "Milk")

    assert [message["status"] for message in await shop.messages()] == ["failed"]
    assert shop.fakes.inbox.counts[Provider.SENDGRID].requests == 0


async def test_the_settings_may_forbid_to_send_again(database_url: str) -> None:
    async with running_fakes() as fakes:
        fakes.faults.add(Breakage(provider=Provider.SENDGRID, kind="dropped_after"))
        settings = make_settings(database_url=database_url, fakes_url=fakes.url, resend_unknown_mail=False)
        async with open_resources(settings) as resources:
            shop = Shop(fakes, resources)

            for job_try in (1, 2):
                with pytest.raises(OutcomeUnknown):
                    await n.send_email_task(shop.job(job_try=job_try), MAIL, "Hello", "Milk")

            assert len(shop.sent(Provider.SENDGRID)) == 1


async def test_wrong_keys_put_jobs_off_after_one_request(database_url: str) -> None:
    async with running_fakes() as fakes:
        settings = make_settings(database_url=database_url, fakes_url=fakes.url, sendgrid_api_key="SG.wrong")
        async with open_resources(settings) as resources:
            shop = Shop(fakes, resources)

            for number in range(20):
                with pytest.raises(Unavailable):
                    await n.send_email_task(shop.job(f"j{number}"), MAIL, "Hello", "Milk")

            assert fakes.inbox.counts[Provider.SENDGRID].requests == 1


async def test_a_provider_that_is_not_there_is_waited_for(database_url: str) -> None:
    settings = make_settings(database_url=database_url, fakes_url="http://127.0.0.1:9")
    async with open_resources(settings) as resources:
        shop = Shop(Fakes(), resources)

        with pytest.raises(Unavailable, match="can't be reached"):
            await n.send_email_task(shop.job(), MAIL, "Hello", "Milk")

        assert [message["status"] for message in await shop.messages()] == ["failed"]


async def test_without_postgres_nothing_is_sent(redis_url: str) -> None:
    async with running_fakes() as fakes:
        settings = make_settings(database_url="postgresql://me:secret@127.0.0.1:9/none", fakes_url=fakes.url)
        async with open_resources(settings) as resources:
            shop = Shop(fakes, resources)

            with pytest.raises(Unavailable) as failure:
                await n.send_email_task(shop.job(), MAIL, "Hello", "Milk")

            assert "secret" not in str(failure.value)
            assert fakes.inbox.counts[Provider.SENDGRID].requests == 0


@pytest.mark.parametrize(
    ("task", "arguments", "named"),
    [
        (n.send_email_task, {"to_email": "not an address", "subject": "s", "body": "b"}, "to_email"),
        (n.send_email_task, {"to_email": MAIL, "subject": "  ", "body": "b"}, "subject"),
        (n.send_email_task, {"to_email": MAIL, "subject": "Hi\r\nBcc: x@example.com", "body": "b"}, "subject"),
        (n.send_email_task, {"to_email": MAIL, "subject": "s", "body": "x" * 10_000_000}, "body"),
        (n.send_sms_task, {"phone": "22 1234 5678", "message": "m"}, "phone"),
        (n.send_sms_task, {"phone": PHONE, "message": ""}, "message"),
        (
            n.send_templated_email_task,
            {"to_email": MAIL, "notification_type": "birthday", "context": {}},
            "notification_type",
        ),
        (
            n.send_templated_email_task,
            {"to_email": MAIL, "notification_type": "password_reset", "context": {"customer_name": "A"}},
            "context.reset_url",
        ),
        (
            n.send_templated_sms_task,
            {"phone": PHONE, "notification_type": "password_reset", "context": {"reset_url": "https://x.example"}},
            "notification_type",
        ),
        (n.send_order_confirmation_task, {"email": None, "phone": None, **ORDER}, "email"),
        (n.send_order_confirmation_task, {"email": MAIL, "phone": "12345", **ORDER}, "phone"),
        (n.send_order_confirmation_task, {"email": MAIL, "phone": PHONE, **ORDER, "order_total": 1.5}, "order_total"),
        (n.send_order_confirmation_task, {"email": MAIL, "phone": PHONE, **ORDER, "locale": "mr"}, "locale"),
        (n.send_order_confirmation_task, {"email": MAIL, "phone": PHONE, **ORDER, "locale": None}, "locale"),
        (
            n.send_templated_sms_task,
            {
                "phone": PHONE,
                "notification_type": "payment_failed",
                "context": {"order_number": "O"},
                "locale": "hi_IN",
            },
            "locale",
        ),
    ],
)
async def test_bad_input_is_refused_by_name_and_nothing_is_sent(
    shop: Shop, task: Any, arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(WrongArguments) as refusal:
        await task(shop.job(), **arguments)

    assert named in dict(refusal.value.faults)
    assert shop.fakes.inbox.find() == []


async def test_a_number_of_another_country_is_refused_before_the_mail_goes_out(shop: Shop) -> None:
    with pytest.raises(Refused, match="not a number of a country that gets SMS"):
        await n.send_order_confirmation_task(shop.job(), email=MAIL, phone="+447400123456", **ORDER)

    assert shop.fakes.inbox.find() == []


async def test_a_reminder_leads_to_the_subscription(shop: Shop) -> None:
    await n.send_subscription_renewal_reminder_task(
        shop.job(),
        email=MAIL,
        customer_name="Asha",
        product_name="A2 milk",
        frequency="daily",
        next_delivery_date="2026-03-05",
        amount=64,
        subscription_id=42,
    )

    [mail] = shop.sent(Provider.SENDGRID)
    assert mail.text is not None
    assert "https://shop.example/subscriptions/42" in mail.text
    assert "5 March 2026" in mail.text


async def test_a_reminder_of_several_deliveries_leads_to_all_subscriptions(shop: Shop) -> None:
    other = {"product_name": "Ghee", "frequency": "weekly", "amount": "650.00", "subscription_id": 43}
    await n.send_subscription_renewal_reminder_task(
        shop.job(),
        email=MAIL,
        customer_name="Asha",
        product_name="A2 milk",
        frequency="daily",
        next_delivery_date="2026-03-05",
        amount="64.00",
        subscription_id=42,
        others=[other],
    )

    [mail] = shop.sent(Provider.SENDGRID)
    assert mail.subject == "Your 2 deliveries on 5 March 2026"
    assert mail.text is not None
    assert "https://shop.example/subscriptions\n" in mail.text


SKIPPED: dict[str, Any] = {
    "customer_name": "Asha",
    "product_name": "A2 milk",
    "delivery_date": "2026-03-05",
    "reason": "no_stock",
    "subscription_id": 42,
}


@pytest.mark.parametrize(
    ("email", "phone", "goes_to"),
    [
        (MAIL, PHONE, "email"),
        (" asha@example.com ", PHONE, "email"),
        (None, PHONE, "sms"),
        ("", PHONE, "sms"),
        ("asha@", PHONE, "sms"),
        ("asha\r\nBcc: x@example.com", PHONE, "sms"),
        (MAIL, "12345", "email"),
        (MAIL, None, "email"),
        (None, "12345", None),
        ("asha at example", "+447400123456", None),
        (None, None, None),
    ],
)
async def test_a_skip_is_told_by_mail_else_by_sms_whatever_the_shop_keeps(
    shop: Shop, email: str | None, phone: str | None, goes_to: str | None
) -> None:
    result = await n.send_delivery_skipped_task(shop.job(), email=email, phone=phone, **SKIPPED)

    assert list(result) == [goes_to or "unreachable"]
    assert [len(shop.sent(Provider.SENDGRID)), len(shop.sent(Provider.TWILIO))] == [
        goes_to == "email",
        goes_to == "sms",
    ]


async def test_a_skip_says_what_and_why_and_leads_to_the_subscription(shop: Shop) -> None:
    await n.send_delivery_skipped_task(shop.job(), email=MAIL, phone=None, **SKIPPED, dates=["2026-03-06"])
    await n.send_delivery_skipped_task(shop.job("j2"), email=None, phone=PHONE, **SKIPPED)

    [mail], [sms] = shop.sent(Provider.SENDGRID), shop.sent(Provider.TWILIO)
    assert mail.subject == "No delivery of A2 milk on 5 March 2026 and 1 more day"
    assert mail.text is not None
    assert "5 March 2026\n6 March 2026\n" in mail.text
    assert "https://shop.example/subscriptions/42\n" in mail.text
    assert sms.text == (
        "No delivery of A2 milk on 5 March 2026: out of stock. "
        "https://shop.example/subscriptions/42 - IndoStar Naturals"
    )


async def test_a_paused_subscription_is_told_by_mail_else_by_sms(shop: Shop) -> None:
    paused: dict[str, Any] = {"customer_name": "", "product_name": "", "refusals": 3, "subscription_id": 42}
    await n.send_subscription_paused_task(shop.job("a"), email=MAIL, phone=PHONE, **paused)
    await n.send_subscription_paused_task(shop.job("b"), email=None, phone=PHONE, **paused)

    [mail], [sms] = shop.sent(Provider.SENDGRID), shop.sent(Provider.TWILIO)
    assert mail.subject == "Your product subscription is paused"
    assert sms.text == (
        "Your product subscription is paused. Failed payments in a row: 3. "
        "Resume: https://shop.example/subscriptions/42 - IndoStar Naturals"
    )


@pytest.mark.parametrize(
    ("email", "phone", "channels"),
    [(MAIL, PHONE, ["email"]), (None, PHONE, ["sms"]), ("asha@", PHONE, ["sms"]), (None, None, [])],
)
async def test_a_rerun_knows_which_of_the_two_was_sent(
    shop: Shop, email: str | None, phone: str | None, channels: list[str]
) -> None:
    await n.send_delivery_skipped_task(shop.job(), email=email, phone=phone, **SKIPPED)
    record = n.send_delivery_skipped_task.effects
    assert record is not None

    [effects] = await record.of(shop.resources, [PastJob("j1", {"email": email, "phone": phone})])

    assert [(effect.what, effect.state) for effect in effects] == [(channel, EffectState.DONE) for channel in channels]


async def test_each_task_that_fills_in_a_text_does_so_in_hindi_on_demand(shop: Shop) -> None:
    hindi: dict[str, Any] = {"locale": "hi"}
    shipped = {"tracking_info": "Van 4", "expected_delivery": "2026-03-05"}
    renewal = {"product_name": "Ghee", "amount": 64}
    await n.send_templated_email_task(shop.job("a"), MAIL, "distributor_approved", {"distributor_name": "A"}, **hindi)
    await n.send_templated_sms_task(shop.job("b"), PHONE, "subscription_renewal", renewal, **hindi)
    await n.send_order_confirmation_task(shop.job("c"), MAIL, PHONE, **ORDER, **hindi)
    await n.send_order_shipped_task(shop.job("d"), MAIL, PHONE, "ORD-7", "Asha", **shipped, **hindi)
    await n.send_payment_failed_task(shop.job("e"), MAIL, "ORD-7", "Asha", 64, "declined", phone=PHONE, **hindi)
    await n.send_subscription_renewal_reminder_task(
        shop.job("f"), MAIL, "Asha", "Ghee", "daily", "2026-03-05", 64, 42, **hindi
    )
    await n.send_delivery_skipped_task(shop.job("g"), MAIL, None, "Asha", "", "2026-03-05", "missed", 42, **hindi)
    await n.send_subscription_paused_task(shop.job("h"), None, PHONE, "Asha", "Ghee", 3, 42, **hindi)

    # The newest first.
    mails, texts = shop.sent(Provider.SENDGRID), shop.sent(Provider.TWILIO)
    assert [mail.text.partition(" ")[0] for mail in mails if mail.text] == ["नमस्ते"] * 6
    assert "उत्पाद: उत्पाद\n" in (mails[0].text or "")
    assert [text.text.partition(" ")[0] for text in texts if text.text] == [*("आपका", "आपके", "आपका", "आपका", "आपके")]
    sms = [message for message in await shop.messages() if message["channel"] == "sms"]
    assert {message["encoding"] for message in sms} == {"UCS-2"}


def test_every_task_that_fills_in_a_customers_text_takes_a_locale() -> None:
    without = {"send_email_task", "send_sms_task"}

    tasks = [task for task in vars(n).values() if isinstance(task, Task)]
    assert {task.name for task in tasks if "locale" not in task.arguments.model.model_fields} == without


async def test_the_other_tasks_reach_their_provider(shop: Shop) -> None:
    job = shop.job
    context = {"product_name": "Jaggery", "amount": 120}
    shipped = {"tracking_info": "Van 4", "expected_delivery": "2026-03-05"}
    await n.send_templated_sms_task(job("a"), PHONE, "subscription_renewal", context)
    await n.send_templated_email_task(job("b"), MAIL, "distributor_approved", {"distributor_name": "Ravi"})
    await n.send_order_shipped_task(job("c"), MAIL, PHONE, "ORD-7", "Asha", **shipped)
    await n.send_payment_failed_task(job("d"), MAIL, "ORD-7", "Asha", 64, "declined", phone=PHONE)
    await n.send_email_task(job("e"), MAIL, "Hello", "Milk", html_body="<p>Milk</p>")

    assert len(shop.sent(Provider.SENDGRID)) == 4
    assert len(shop.sent(Provider.TWILIO)) == 3


async def test_many_messages_share_their_transactions(shop: Shop) -> None:
    before = await _transactions(shop)

    await asyncio.gather(*(n.send_sms_task(shop.job(f"j{i}"), PHONE, f"Milk {i}") for i in range(50)))

    assert len(await shop.messages()) == 50
    assert await _transactions(shop) - before < 60


async def _transactions(shop: Shop) -> int:
    async with shop.resources[Database].session() as session:
        statement = text(
            "SELECT pg_stat_force_next_flush(), xact_commit FROM pg_stat_database WHERE datname = current_database()"
        )
        return int((await session.execute(statement)).one()[1])


async def test_the_requests_to_the_fakes_are_what_the_fakes_count(shop: Shop) -> None:
    await n.send_sms_task(shop.job(), PHONE, "Milk")

    async with httpx.AsyncClient(trust_env=False) as client:
        page = (await client.get(f"{shop.fakes.url}/inbox")).json()

    assert page["counts"]["twilio"]["messages"] == 1
