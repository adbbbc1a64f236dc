"""What the tasks work with, made from the settings and closed again."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import httpx
from pydantic import SecretStr

from app.cleanup.keys import TokensRedis
from app.db.engine import Database
from app.jobs.breaker import Breaker
from app.jobs.breaker_state import BreakerRules
from app.jobs.breaker_store import BreakerStore
from app.jobs.context import Resources
from app.jobs.limits import Limit
from app.notify.ledger import MessageLedger
from app.notify.locales import Locale
from app.notify.messenger import Messenger, SwitchHook
from app.notify.outages import OutageLog
from app.notify.types import SMS_CONTEXTS
from app.providers.console import Console
from app.providers.http import http_client
from app.providers.mail import EmailProvider, Sender
from app.providers.msg91 import Msg91
from app.providers.payments.razorpay import Razorpay
from app.providers.sendgrid import SendGrid
from app.providers.sms import SmsProvider
from app.providers.smtp import Smtp
from app.providers.smtp_connections import DEFAULT_PORTS, SmtpConnections, SmtpServer
from app.providers.timed import CallHook, TimedEmail, TimedSms
from app.providers.twilio import Twilio
from app.setting_values import DltTemplate, EmailProviderName, SmsProviderName
from app.settings import GatewaySettings, Settings
from app.tasks.charging import open_charging

LAST_RECORDS_SECONDS = 20


@asynccontextmanager
async def open_resources(
    settings: Settings,
    *,
    breakers: BreakerStore | None = None,
    on_call: CallHook | None = None,
    on_switch: SwitchHook | None = None,
) -> AsyncIterator[Resources]:
    """What one worker process works with: Settings, Database, Messenger, TokensRedis and Charging.

    Nothing is connected until it is used. `breakers` are those that all workers share; without them the process has its
    own. `on_call` is told of each call to a provider, `on_switch` of each message that went by another than the first
    one.
    """
    # An order confirmation sends its mail and its SMS at the same time.
    connections = 2 * settings.notifications_concurrency + settings.subscriptions_concurrency
    database = Database(settings.database_url.get_secret_value(), application_name="indostar worker")
    tokens = TokensRedis.from_url((settings.tokens_redis_url or settings.redis_url).get_secret_value())
    outages = OutageLog(database)
    async with http_client(max_connections=connections) as client:
        email = [email_provider(name, settings, client) for name in settings.email_provider]
        sms = [sms_provider(name, settings, client) for name in settings.sms_provider]
        breaker = partial(Breaker, store=breakers, rules=breaker_rules(settings), listener=outages.heed)
        messenger = Messenger(
            MessageLedger(database),
            email if on_call is None else [TimedEmail(provider, on_call) for provider in email],
            sms if on_call is None else [TimedSms(provider, on_call) for provider in sms],
            limits=provider_limits(settings),
            breaker=breaker,
            on_switch=on_switch,
            resend_unknown_mail=settings.resend_unknown_mail,
            resend_unknown_sms=settings.resend_unknown_sms,
        )
        charging = open_charging(settings, database, client, breaker(Razorpay.name), on_call)
        try:
            yield Resources([settings, database, messenger, tokens, charging])
        finally:
            # What became of messages is to be on record before the connection goes, but nobody waits for ever.
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_RECORDS_SECONDS):
                    await messenger.drained()
                    await messenger.aclose()
                    await charging.aclose()
                    await outages.drained()
            await tokens.aclose()
            await database.close()
            for provider in email:
                if isinstance(provider, Smtp):
                    await provider.aclose()


def breaker_rules(settings: GatewaySettings) -> BreakerRules:
    """When a provider is left alone."""
    return BreakerRules(
        window_ms=round(settings.breaker_window_seconds * 1000),
        fewest_calls=settings.breaker_fewest_calls,
        error_percent=settings.breaker_error_percent,
        longest_wait_ms=round(settings.breaker_longest_wait_seconds * 1000),
    )


def providers_in_use(settings: Settings) -> Sequence[str]:
    """The names of those that are called by these settings, each once."""
    has_gateway = settings.razorpay_key_id is not None and settings.razorpay_key_secret is not None
    gateway = (Razorpay.name,) if has_gateway else ()
    return tuple(dict.fromkeys((*settings.email_provider, *settings.sms_provider, *gateway)))


def provider_limits(settings: Settings) -> list[Limit]:
    """What the providers allow us, under their names."""
    return [
        Limit(SendGrid.name, settings.sendgrid_max_per_second, settings.sendgrid_max_in_flight),
        Limit("ses", settings.ses_max_per_second, settings.ses_max_in_flight),
        Limit(Smtp.name, settings.smtp_max_per_second, settings.smtp_max_in_flight),
        Limit(Twilio.name, settings.twilio_max_per_second, settings.twilio_max_in_flight),
        Limit(Msg91.name, settings.msg91_max_per_second, settings.msg91_max_in_flight),
    ]


def email_provider(name: EmailProviderName, settings: Settings, client: httpx.AsyncClient) -> EmailProvider:
    match name:
        case "sendgrid":
            return SendGrid(
                client,
                base_url=settings.sendgrid_base_url,
                api_key=settings.sendgrid_api_key or SecretStr(""),
                sender=_sender(settings, settings.sendgrid_from_email),
            )
        case "ses":
            from app.providers.ses import Ses  # noqa: PLC0415 -- what signs its requests is nobody else's to load

            region = settings.aws_region or ""
            return Ses(
                client,
                base_url=settings.ses_base_url or f"https://email.{region}.amazonaws.com",
                region=region,
                access_key_id=settings.aws_access_key_id or "",
                secret_access_key=settings.aws_secret_access_key or SecretStr(""),
                sender=_sender(settings, settings.ses_from_email),
                configuration_set=settings.ses_configuration_set,
            )
        case "smtp":
            security = settings.smtp_security
            server = SmtpServer(
                host=settings.smtp_host or "",
                port=settings.smtp_port or DEFAULT_PORTS[security],
                security=security,
                username=settings.smtp_username,
                password=settings.smtp_password,
            )
            return Smtp(
                SmtpConnections(Smtp.name, server, size=settings.smtp_connections),
                sender=_sender(settings, settings.smtp_from_email),
            )
        case "console":
            return Console()


def sms_provider(name: SmsProviderName, settings: Settings, client: httpx.AsyncClient) -> SmsProvider:
    match name:
        case "twilio":
            return Twilio(
                client,
                base_url=settings.twilio_base_url,
                account_sid=settings.twilio_account_sid or "",
                auth_token=settings.twilio_auth_token or SecretStr(""),
                phone_number=settings.twilio_phone_number or "",
            )
        case "msg91":
            return Msg91(
                client,
                base_url=settings.msg91_base_url,
                auth_key=settings.msg91_auth_key or SecretStr(""),
                templates=_dlt_templates(settings),
                sender_id=settings.msg91_sender_id,
            )
        case "console":
            return Console()


def _sender(settings: Settings, email: str | None) -> Sender:
    return Sender(email=email or "", reply_to=settings.email_reply_to, list_unsubscribe=settings.email_list_unsubscribe)


def _dlt_templates(settings: Settings) -> Mapping[tuple[str, str], DltTemplate]:
    """By type and language."""
    templates = {
        (kind.value, locale.value): getattr(
            settings, f"msg91_template_{kind}{'' if locale is Locale.EN else f'_{locale}'}"
        )
        for kind in SMS_CONTEXTS
        for locale in Locale
    }
    return {text: template for text, template in templates.items() if template is not None}
