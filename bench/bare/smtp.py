"""Mails handed straight to the mail server, with our own client and the settings of a worker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.providers.http import http_client
from app.providers.mail import EmailProvider, Mail
from app.settings import Settings
from app.tasks.resources import email_provider
from bench.measured.sender import Sender
from bench.measured.work import SUBJECT, TEXT


class _OurClient:
    def __init__(self, provider: EmailProvider) -> None:
        self._provider = provider

    async def send(self, _task: str, number: int) -> None:
        await self._provider.send(Mail(to="asha@example.com", subject=SUBJECT, text=TEXT, html=None, key=str(number)))


@asynccontextmanager
async def sender() -> AsyncIterator[Sender]:
    async with http_client() as client:
        yield _OurClient(email_provider("smtp", Settings(), client))
