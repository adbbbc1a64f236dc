"""The notification tasks through SES, SMTP and MSG91, from a call to what arrived and what is on record."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from app.db.engine import Database
from app.dev.fakes import Fakes, running_fakes
from app.dev.fakes.faults import Breakage, Failure, Fault, Refusal
from app.dev.fakes.inbox import Provider
from app.errors import NotDone, OutcomeUnknown, Refused, Unavailable
from app.jobs.context import Context, Resources
from app.tasks import notifications as n
from app.tasks.resources import open_resources
from tests.settings import make_settings

ORDER: dict[str, Any] = {
    "order_number": "ORD-7",
    "customer_name": "आशा <b>Patil</b>",
    "order_total": "125000.50",
    "delivery_address": "4 MG Road\nPune 411001",
}
MAIL = "asha@example.com"
# Long enough for a Message-ID that takes two lines.
FROM = "orders@indostarnaturals.example"
PHONE = "98123 45678"
MAILERS = [Provider.SES, Provider.SMTP]


@dataclass
class Shop:
    fakes: Fakes
    resources: Resources

    def job(self, job_id: str = "j1", *, job_try: int = 1) -> Context:
        return Context(
            job_id=job_id,
            root_id=job_id,
            task="t",
            job_try=job_try,
            max_tries=4,
            enqueued_at=datetime(2026, 1, 5, tzinfo=UTC),
            resources=self.resources,
        )

    async def on_record(self, *columns: str) -> Sequence[tuple[Any, ...]]:
        query = f"SELECT {', '.join(columns)} FROM tasks.messages ORDER BY root_job_id, channel"
        async with self.resources[Database].session() as session:
            return [tuple(row) for row in await session.execute(text(query))]


@pytest.fixture
async def provider(request: pytest.FixtureRequest) -> Provider:
    """The one that mails go through; MAILERS[0] unless a test says otherwise."""
    return getattr(request, "param", MAILERS[0])


@pytest.fixture
async def shop(database_url: str, provider: Provider) -> AsyncIterator[Shop]:
    async with running_fakes() as fakes:
        settings = make_settings(
            database_url=database_url,
            fakes_url=fakes.url,
            email_provider=provider,
            sms_provider="msg91",
            ses_from_email=FROM,
            smtp_from_email=FROM,
            smtp_port=fakes.smtp_port,
            email_reply_to="help@example.com",
            email_list_unsubscribe="https://shop.example/unsubscribe",
        )
        async with open_resources(settings) as resources:
            yield Shop(fakes, resources)


@pytest.mark.parametrize("provider", MAILERS, indirect=True)
async def test_an_order_confirmation_is_one_mail_and_one_registered_sms(shop: Shop, provider: Provider) -> None:
    result = await n.send_order_confirmation_task(shop.job(), email=MAIL, phone=PHONE, **ORDER)

    [mail], [sms] = shop.fakes.inbox.find(provider), shop.fakes.inbox.find(Provider.MSG91)
    assert result == {
        "email": {"status": "sent", "provider": provider.value, "message_id": mail.id},
        "sms": {"status": "sent", "provider": "msg91", "message_id": sms.id},
    }
    assert (mail.to, mail.sender) == ((MAIL,), FROM)
    assert mail.text is not None
    assert mail.html is not None
    assert "आशा" in mail.text
    assert "₹1,25,000.50" in mail.html
    assert sms.to == ("+919812345678",)
    assert sms.details == {
        "template_id": "flow-order-confirmation",
        "order_number": "ORD-7",
        "order_total": "Rs 1,25,000.50",
    }
    assert await shop.on_record("channel", "provider", "status", "encoding", "segments") == [
        ("email", provider.value, "sent", None, None),
        ("sms", "msg91", "sent", "GSM-7", 1),
    ]


async def test_every_type_of_sms_has_its_registered_text(shop: Shop) -> None:
    shipped = {"tracking_info": "Van 4", "expected_delivery": "2026-03-05"}
    await n.send_order_shipped_task(shop.job("a"), None, PHONE, "ORD-7", "Asha", **shipped)
    await n.send_payment_failed_task(shop.job("b"), None, "ORD-7", "Asha", 64, "declined", phone=PHONE)
    await n.send_templated_sms_task(
        shop.job("c"), PHONE, "subscription_renewal", {"product_name": "A2 “milk”", "amount": 64}
    )
    await n.send_delivery_skipped_task(
        shop.job("d"), None, PHONE, "Asha", "Ghee", "2026-03-05", "no_stock", 42, dates=["2026-03-07", "2026-03-06"]
    )
    await n.send_subscription_paused_task(shop.job("e"), None, PHONE, "Asha", "Ghee", 3, 42)

    assert [sms.details for sms in shop.fakes.inbox] == [
        {
            "template_id": "flow-order-shipped",
            "order_number": "ORD-7",
            "tracking_info": "Van 4",
            "expected_delivery": "5 March 2026",
        },
        {
            "template_id": "flow-payment-failed",
            "order_number": "ORD-7",
            "retry_payment_url": "https://shop.example/orders/ORD-7/pay",
        },
        {"template_id": "flow-subscription-renewal", "product_name": 'A2 "milk"', "amount": "Rs 64.00"},
        {
            "template_id": "flow-delivery-skipped",
            "product_name": "Ghee",
            "delivery_dates": "5 Mar 2026 and 2 more days",
            "reason": "out of stock",
            "subscription_url": "https://shop.example/subscriptions/42",
        },
        {
            "template_id": "flow-subscription-paused",
            "product_name": "Ghee",
            "refusals": "3",
            "subscription_url": "https://shop.example/subscriptions/42",
        },
    ]


async def test_an_sms_in_hindi_is_the_text_that_is_registered_in_hindi(shop: Shop) -> None:
    await n.send_delivery_skipped_task(
        shop.job(), None, PHONE, "Asha", "Ghee", "2026-03-05", "no_stock", 42, locale="hi"
    )

    [sms] = shop.fakes.inbox
    assert sms.details == {
        "template_id": "flow-delivery-skipped-hi",
        "product_name": "Ghee",
        "delivery_dates": "5 मार्च 2026",
        "reason": "स्टॉक ख़त्म हो गया",
        "subscription_url": "https://shop.example/subscriptions/42",
    }
    assert await shop.on_record("template", "encoding", "segments") == [("delivery_skipped", "UCS-2", 2)]


async def test_an_sms_that_is_not_registered_in_hindi_is_sent_in_english(database_url: str) -> None:
    async with running_fakes() as fakes:
        settings = make_settings(
            database_url=database_url,
            fakes_url=fakes.url,
            sms_provider="msg91",
            msg91_template_order_confirmation_hi=None,
        )
        async with open_resources(settings) as resources:
            shop = Shop(fakes, resources)
            await n.send_order_confirmation_task(shop.job(), email=MAIL, phone=PHONE, locale="hi", **ORDER)

            [mail], [sms] = fakes.inbox.find(Provider.SENDGRID), fakes.inbox.find(Provider.MSG91)
            assert mail.text is not None
            assert "नमस्ते आशा" in mail.text
            assert sms.details["template_id"] == "flow-order-confirmation"
            assert sms.details["order_total"] == "Rs 1,25,000.50"
            assert await shop.on_record("channel", "encoding") == [("email", None), ("sms", "GSM-7")]


async def test_an_sms_in_hindi_goes_by_the_provider_that_can_send_it(database_url: str) -> None:
    async with running_fakes() as fakes:
        settings = make_settings(
            database_url=database_url,
            fakes_url=fakes.url,
            sms_provider="msg91,twilio",
            msg91_template_order_confirmation_hi=None,
        )
        async with open_resources(settings) as resources:
            shop = Shop(fakes, resources)
            await n.send_order_confirmation_task(shop.job("a"), email=None, phone=PHONE, locale="hi", **ORDER)
            await n.send_order_confirmation_task(shop.job("b"), email=None, phone=PHONE, **ORDER)

            assert await shop.on_record("root_job_id", "provider", "encoding") == [
                ("a", "twilio", "UCS-2"),
                ("b", "msg91", "GSM-7"),
            ]


async def test_free_text_is_refused_where_only_registered_texts_go(shop: Shop) -> None:
    with pytest.raises(Refused, match="free text has no DLT template"):
        await n.send_sms_task(shop.job(), PHONE, "₹64 द्वारा")

    assert shop.fakes.inbox.counts[Provider.MSG91].requests == 0
    assert await shop.on_record("status", "encoding", "segments") == [("refused", "UCS-2", 1)]


async def test_an_sms_nobody_can_ask_about_is_sent_again_and_counted(shop: Shop) -> None:
    shop.fakes.faults.add(Breakage(provider=Provider.MSG91, kind="wrong_json", times=1))
    facts = {"product_name": "Milk", "amount": 64}
    with pytest.raises(NotDone):
        await n.send_templated_sms_task(shop.job(), PHONE, "subscription_renewal", facts)

    # MSG91 discards what it took for a repetition within ten seconds, and says so.
    with pytest.raises(NotDone) as discarded:
        await n.send_templated_sms_task(shop.job(job_try=2), PHONE, "subscription_renewal", facts)
    assert discarded.value.retry_after is not None
    assert await shop.on_record("status") == [("unknown",)]
    shop.fakes.msg91.forget()
    await n.send_templated_sms_task(shop.job(job_try=3), PHONE, "subscription_renewal", facts)

    assert await shop.on_record("status", "possibly_twice", "tries") == [("sent", True, 3)]


@pytest.mark.parametrize("provider", MAILERS, indirect=True)
@pytest.mark.parametrize("kind", ["dropped_after", "wrong_json"])
async def test_a_mail_nobody_knows_of_is_sent_again_and_counted(shop: Shop, provider: Provider, kind: Any) -> None:
    shop.fakes.faults.add(Breakage(provider=provider, kind=kind, times=1))
    with pytest.raises(NotDone):
        await n.send_email_task(shop.job(), MAIL, "Hello", "Milk")
    assert await shop.on_record("status") == [("unknown",)]

    await n.send_email_task(shop.job(job_try=2), MAIL, "Hello", "Milk")

    assert await shop.on_record("status", "possibly_twice") == [("sent", True)]
    first, second = shop.fakes.inbox.find(provider)
    # By SMTP it is the same mail for whoever looks at its Message-ID.
    assert (first.id == second.id) == (provider is Provider.SMTP)


@pytest.mark.parametrize(
    ("provider", "fault", "outcome", "status"),
    [
        (Provider.SES, Failure(provider=Provider.SES, status=429), NotDone, "failed"),
        (Provider.SES, Failure(provider=Provider.SES, status=503), NotDone, "failed"),
        (Provider.SES, Refusal(provider=Provider.SES, code=400), Refused, "refused"),
        (Provider.SES, Refusal(provider=Provider.SES, code=403), Unavailable, "failed"),
        (Provider.SES, Refusal(provider=Provider.SES, code=404), Unavailable, "failed"),
        (Provider.SMTP, Failure(provider=Provider.SMTP, status=429), NotDone, "failed"),
        (Provider.SMTP, Failure(provider=Provider.SMTP, status=500), NotDone, "failed"),
        (Provider.SMTP, Failure(provider=Provider.SMTP, status=503), NotDone, "failed"),
        (Provider.SMTP, Refusal(provider=Provider.SMTP, code=550), Refused, "refused"),
        (Provider.SMTP, Refusal(provider=Provider.SMTP, code=553), Refused, "refused"),
        (Provider.SMTP, Breakage(provider=Provider.SMTP, kind="dropped_before"), NotDone, "unknown"),
    ],
    indirect=["provider"],
)
async def test_what_a_providers_fault_does_to_a_mail(
    shop: Shop, provider: Provider, fault: Fault, outcome: type[Exception], status: str
) -> None:
    shop.fakes.faults.add(fault)

    with pytest.raises(outcome):
        await n.send_email_task(shop.job(), MAIL, "Hello", "Milk")

    assert await shop.on_record("status") == [(status,)]
    assert len(shop.fakes.inbox) == 0


@pytest.mark.parametrize(
    ("fault", "outcome", "status"),
    [
        (Failure(provider=Provider.MSG91, status=429), NotDone, "failed"),
        (Failure(provider=Provider.MSG91, status=500), NotDone, "unknown"),
        (Refusal(provider=Provider.MSG91, code=202), Refused, "refused"),
        (Refusal(provider=Provider.MSG91, code=301), Unavailable, "failed"),
        (Refusal(provider=Provider.MSG91, code=418), Unavailable, "failed"),
    ],
)
async def test_what_a_providers_fault_does_to_an_sms(
    shop: Shop, fault: Fault, outcome: type[Exception], status: str
) -> None:
    shop.fakes.faults.add(fault)

    with pytest.raises(outcome):
        await n.send_order_confirmation_task(shop.job(), email=None, phone=PHONE, **ORDER)

    assert await shop.on_record("status") == [(status,)]
    assert len(shop.fakes.inbox) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"email_provider": "ses", "aws_secret_access_key": "another-secret"},
        {"email_provider": "ses", "aws_access_key_id": "AKIDANOTHER1"},
        {"email_provider": "ses", "aws_region": "eu-west-1"},
    ],
)
async def test_wrong_keys_of_ses_put_jobs_off(database_url: str, wrong: dict[str, str]) -> None:
    async with running_fakes() as fakes:
        settings = make_settings(database_url=database_url, fakes_url=fakes.url, **wrong)
        async with open_resources(settings) as resources:
            with pytest.raises(Unavailable):
                await n.send_email_task(Shop(fakes, resources).job(), MAIL, "Hello", "Milk")

        assert fakes.inbox.counts[Provider.SES].answers == {"403": 1}


async def test_the_settings_may_forbid_to_send_a_mail_again(database_url: str) -> None:
    async with running_fakes() as fakes:
        fakes.faults.add(Breakage(provider=Provider.SMTP, kind="dropped_after"))
        settings = make_settings(
            database_url=database_url,
            email_provider="smtp",
            smtp_port=fakes.smtp_port,
            resend_unknown_mail=False,
        )
        async with open_resources(settings) as resources:
            shop = Shop(fakes, resources)

            for job_try in (1, 2):
                with pytest.raises(OutcomeUnknown):
                    await n.send_email_task(shop.job(job_try=job_try), MAIL, "Hello", "Milk")

            assert len(fakes.inbox) == 1
