"""Mail by SMTP, to any server that takes it in."""

import asyncio
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from aiosmtplib import (
    SMTP,
    SMTPDataError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)

from app.providers import mime
from app.providers.failures import (
    Misconfigured,
    ProviderDeferred,
    ProviderFailure,
    ProviderNotDone,
    ProviderOutcomeUnknown,
    ProviderRefused,
    masked,
)
from app.providers.http import TOTAL_SECONDS
from app.providers.mail import Mail, Sender
from app.providers.smtp_connections import SmtpConnections

CLOSING: Final = 421

# What a reply to a mail means that does not take it: by its code, else by the code's hundred.
# Source: RFC 5321 4.2, RFC 4954 6.
_OUTCOMES: Mapping[int, type[ProviderFailure]] = {
    530: Misconfigured,  # wants a login
    534: Misconfigured,  # wants a stronger one
    535: Misconfigured,
    538: Misconfigured,  # wants encryption
}
_OUTCOMES_BY_HUNDRED: Mapping[int, type[ProviderFailure]] = {4: ProviderNotDone, 5: ProviderRefused}
# What a server says of itself or the network, not of a mailbox. Source: RFC 3463 3.4, 3.5.
_SERVERS_OWN: Final = re.compile(r"4\.[34]\.")


class Smtp:
    """Sends each mail in a transaction of its own, so that one that is refused keeps no other back.

    The id of a mail is its Message-ID: made from the mail's key, it is the same when the mail is sent again, and a
    mailbox may then show it once. SMTP can't be asked whether a server has a mail.
    """

    name = "smtp"

    def __init__(
        self,
        connections: SmtpConnections,
        *,
        sender: Sender,
        total_seconds: float = TOTAL_SECONDS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._connections = connections
        self._sender = sender
        self._total_seconds = total_seconds
        self._now = now

    async def send(self, mail: Mail) -> str:
        content = mime.as_bytes(mail, self._sender, self._now())
        ends = asyncio.get_running_loop().time() + self._total_seconds
        async with self._connections.place():
            connection = await self._announced(mail, ends)
            await self._hand_over(connection, mail, content, ends)
        return mime.message_id(mail, self._sender)

    async def aclose(self) -> None:
        await self._connections.aclose()

    async def _announced(self, mail: Mail, ends: float) -> SMTP:
        """A connection whose server waits for the mail's content. Raises a failure after which nothing was sent."""
        while (connection := self._connections.kept()) is not None:
            try:
                await self._announce(connection, mail, ends)
            except ProviderNotDone:
                if connection.is_connected:
                    raise
                # The server had hung up on a silent client, or wants only so many mails on a connection.
            else:
                return connection
        connection = await self._connections.opened(ends)
        await self._announce(connection, mail, ends)
        return connection

    async def _announce(self, connection: SMTP, mail: Mail, ends: float) -> None:
        """Say who writes to whom."""
        try:
            async with asyncio.timeout_at(ends):
                await connection.mail(self._sender.email)
                await connection.rcpt(mail.to)
        except (SMTPSenderRefused, SMTPRecipientRefused) as reply:
            await self._take_back(connection, reply, ends)
            # Not chained: it holds the recipient. A reply of another kind is none of SMTP's.
            raise self._failure(reply, mail, otherwise=Misconfigured) from None
        except SMTPResponseException as reply:
            connection.close()
            raise self._failure(reply, mail, otherwise=Misconfigured) from None
        except (SMTPException, OSError) as error:
            connection.close()
            raise ProviderNotDone(self.name, type(error).__name__, masked(str(error), mail.to)) from error
        except BaseException:
            connection.close()
            raise

    async def _hand_over(self, connection: SMTP, mail: Mail, content: bytes, ends: float) -> None:
        try:
            async with asyncio.timeout_at(ends):
                await connection.data(content)
        except SMTPDataError as reply:
            await self._take_back(connection, reply, ends)
            raise self._failure(reply, mail, otherwise=ProviderOutcomeUnknown) from None
        except (SMTPException, OSError) as error:
            connection.close()
            raise ProviderOutcomeUnknown(self.name, type(error).__name__, masked(str(error), mail.to)) from error
        except BaseException:
            connection.close()
            raise
        self._connections.keep(connection)

    async def _take_back(self, connection: SMTP, reply: SMTPResponseException, ends: float) -> None:
        """Keep a connection whose server refused a mail, once it has forgotten that mail."""
        if reply.code == CLOSING or reply.code // 100 not in _OUTCOMES_BY_HUNDRED:
            connection.close()
            return
        try:
            async with asyncio.timeout_at(ends):
                await connection.rset()
        except (SMTPException, OSError):
            connection.close()
        except BaseException:
            connection.close()
            raise
        self._connections.keep(connection)

    def _failure(
        self, reply: SMTPResponseException, mail: Mail, *, otherwise: type[ProviderFailure]
    ) -> ProviderFailure:
        outcome = _OUTCOMES.get(reply.code) or _OUTCOMES_BY_HUNDRED.get(reply.code // 100, otherwise)
        if outcome is ProviderNotDone and isinstance(reply, SMTPRecipientRefused) and not _is_servers_own(reply):
            outcome = ProviderDeferred
        return outcome(self.name, str(reply.code), masked(reply.message, mail.to))


def _is_servers_own(reply: SMTPResponseException) -> bool:
    return reply.code == CLOSING or _SERVERS_OWN.match(reply.message) is not None
