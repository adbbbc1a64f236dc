"""Mails sent straight to the provider: with bare aiohttp, and with our own client of SendGrid."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from app.providers.http import http_client
from app.providers.mail import Mail
from app.providers.mail import Sender as MailSender
from app.providers.sendgrid import SendGrid
from bench.measured import awaiting
from bench.measured.sender import Sender
from bench.measured.work import ASSIGNMENT, SUBJECT, TEXT


class _Aiohttp:
    async def send(self, _task: str, number: int) -> None:
        await awaiting.MAILER.send(number)


class _OurClient:
    def __init__(self, sendgrid: SendGrid) -> None:
        self._sendgrid = sendgrid

    async def send(self, _task: str, number: int) -> None:
        await self._sendgrid.send(Mail(to="asha@example.com", subject=SUBJECT, text=TEXT, html=None, key=str(number)))


@asynccontextmanager
async def aiohttp_sender() -> AsyncIterator[Sender]:
    yield _Aiohttp()
    await awaiting.MAILER.aclose()


@asynccontextmanager
async def our_client_sender() -> AsyncIterator[Sender]:
    async with http_client(max_connections=ASSIGNMENT.slots) as client:
        yield _OurClient(
            SendGrid(
                client,
                base_url=ASSIGNMENT.provider_url,
                api_key=SecretStr("SG.bench"),
                sender=MailSender(email="orders@example.com"),
            )
        )
