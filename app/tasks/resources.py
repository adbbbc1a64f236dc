"""What the tasks work with, made from the settings and closed again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
from pydantic import SecretStr

from app.db.engine import Database
from app.jobs.context import Resources
from app.jobs.limits import Limit
from app.notify.ledger import MessageLedger
from app.notify.messenger import Messenger
from app.providers.console import Console
from app.providers.http import http_client
from app.providers.mail import EmailProvider
from app.providers.sendgrid import SendGrid
from app.providers.sms import SmsProvider
from app.providers.twilio import Twilio
from app.settings import Settings

LAST_RECORDS_SECONDS = 20


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Settings, Database and Messenger for one worker process. Nothing is connected until it is used."""
    # An order confirmation sends its mail and its SMS at the same time.
    connections = 2 * settings.notifications_concurrency + settings.subscriptions_concurrency
    database = Database(settings.database_url.get_secret_value(), application_name="indostar worker")
    async with http_client(max_connections=connections) as client:
        messenger = Messenger(
            MessageLedger(database),
            email_provider(settings, client),
            sms_provider(settings, client),
            limits=provider_limits(settings),
            resend_unknown_mail=settings.resend_unknown_mail,
            resend_unknown_sms=settings.resend_unknown_sms,
        )
        try:
            yield Resources([settings, database, messenger])
        finally:
            # What became of messages is to be on record before the connection goes, but nobody waits for ever.
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_RECORDS_SECONDS):
                    await messenger.drained()
            await database.close()


def provider_limits(settings: Settings) -> list[Limit]:
    """What the providers allow us, under their names."""
    return [
        Limit(SendGrid.name, settings.sendgrid_max_per_second, settings.sendgrid_max_in_flight),
        Limit(Twilio.name, settings.twilio_max_per_second, settings.twilio_max_in_flight),
    ]


def email_provider(settings: Settings, client: httpx.AsyncClient) -> EmailProvider:
    match settings.email_provider:
        case "sendgrid":
            return SendGrid(
                client,
                base_url=settings.sendgrid_base_url,
                api_key=settings.sendgrid_api_key or SecretStr(""),
                from_email=settings.sendgrid_from_email or "",
            )
        case "console":
            return Console()


def sms_provider(settings: Settings, client: httpx.AsyncClient) -> SmsProvider:
    match settings.sms_provider:
        case "twilio":
            return Twilio(
                client,
                base_url=settings.twilio_base_url,
                account_sid=settings.twilio_account_sid or "",
                auth_token=settings.twilio_auth_token or SecretStr(""),
                phone_number=settings.twilio_phone_number or "",
            )
        case "console":
            return Console()
