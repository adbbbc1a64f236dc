"""Stands in for the providers on a developer's machine: nothing leaves it."""

from datetime import datetime
from uuid import uuid4

import structlog

from app.providers.mail import Mail
from app.providers.sms import Sms

log = structlog.get_logger(__name__)


class Console:
    """An email and SMS provider that logs which message it was given, without address and text."""

    name = "console"

    async def send(self, message: Mail | Sms) -> str:
        message_id = f"console-{uuid4().hex}"
        channel = "email" if isinstance(message, Mail) else "sms"
        log.info("console.sent", channel=channel, key=message.key, message_id=message_id)
        return message_id

    def carries(self, template: str | None, locale: str) -> bool:  # noqa: ARG002 -- any
        return True

    async def find(self, sms: Sms, *, since: datetime, until: datetime) -> str | None:  # noqa: ARG002 -- asked only about failures
        """None: what it was given it has, and it never fails to say so."""
        return None
