"""A mail server on a port of this machine, with the faults and the inbox of the other fakes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Final

from aiosmtpd.smtp import SMTP, Envelope, Session

from app.dev.fakes.faults import Breakage, Failure, Faults, Refusal, Struck
from app.dev.fakes.inbox import Inbox, Message, Provider
from app.dev.fakes.provider import Clock
from app.dev.fakes.smtp_replies import FAILURES, REFUSALS

_MAX_BYTES: Final = 30 * 1024 * 1024


class _Envelope(Envelope):
    """`struck` is what befalls the mail, by its recipients."""

    def __init__(self) -> None:
        super().__init__()
        self.struck: list[Struck] = []


class _Connection(SMTP):
    def _create_envelope(self) -> _Envelope:
        return _Envelope()

    def hang_up(self) -> None:
        """At once, without another word."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()

    def close(self) -> None:
        """Once what was said is written."""
        if self.transport is not None:
            self.transport.close()


class FakeSmtp:
    """Takes mail for everybody, from everybody. Refusals strike where a recipient is named, the rest at the end."""

    def __init__(self, clock: Clock, inbox: Inbox, faults: Faults) -> None:
        self._clock = clock
        self._inbox = inbox
        self._faults = faults
        self._connections: list[_Connection] = []

    @asynccontextmanager
    async def serving(self, host: str, port: int) -> AsyncIterator[int]:
        """The port that it listens on. Raises OSError when that is taken."""
        listener = await asyncio.get_running_loop().create_server(self._connected, host, port, backlog=1024)
        try:
            yield listener.sockets[0].getsockname()[1]
        finally:
            listener.close()
            for connection in self._connections:
                connection.hang_up()
            await listener.wait_closed()

    def _connected(self) -> _Connection:
        connection = _Connection(self, hostname="fakes", data_size_limit=_MAX_BYTES, loop=asyncio.get_running_loop())
        self._connections = [other for other in self._connections if other.transport is not None]
        self._connections.append(connection)
        return connection

    async def handle_RCPT(  # noqa: N802 -- aiosmtpd's names
        self, _server: SMTP, _session: Session, envelope: _Envelope, address: str, _options: list[str]
    ) -> str:
        struck = self._faults.strike(Provider.SMTP, "send", [address])
        if isinstance(refusal := struck[1], Refusal):
            self._count(str(refusal.code))
            return REFUSALS[int(refusal.code)].format(address)
        envelope.rcpt_tos.append(address)
        envelope.struck.append(struck)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: _Connection, _session: Session, envelope: _Envelope) -> str:  # noqa: N802
        fault = next((fault for _, fault in envelope.struck if fault is not None), None)
        reply = "250 2.0.0 OK"
        if isinstance(fault, Failure):
            reply = FAILURES[fault.status]
        elif isinstance(fault, Breakage) and fault.kind == "wrong_json":
            reply = "25"  # broken off
        if not isinstance(fault, Failure) and not (isinstance(fault, Breakage) and fault.kind == "dropped_before"):
            self._inbox.add(self._message(envelope))
        if latency := sum(seconds for seconds, _ in envelope.struck):
            await self._faults.last(latency)
        if isinstance(fault, Breakage) and fault.kind != "wrong_json":
            self._count("none")
            if fault.kind != "no_answer":
                server.hang_up()
            await asyncio.Event().wait()  # aiosmtpd ends this when the client has gone
        if reply.startswith("421"):
            asyncio.get_running_loop().call_soon(server.close)  # after this reply
        self._count(reply[:3])
        return reply

    def _count(self, answer: str) -> None:
        count = self._inbox.counts[Provider.SMTP]
        count.requests += 1
        count.answers[answer] += 1

    def _message(self, envelope: _Envelope) -> Message:
        content = message_from_bytes(bytes(envelope.original_content or b""), policy=policy.default)
        return Message(
            id=str(content.get("Message-ID", "")).strip(" <>"),  # folded where it is long
            provider=Provider.SMTP,
            sender=envelope.mail_from or "",
            to=tuple(envelope.rcpt_tos),
            subject=str(content.get("Subject", "")),
            text=_part(content, "plain"),
            html=_part(content, "html"),
            details={"from": str(content.get("From", ""))},
            headers={name.lower(): str(value) for name, value in content.items()},
            received_at=self._clock(),
        )


def _part(content: EmailMessage, subtype: str) -> str | None:
    part = content.get_body((subtype,))
    return None if part is None else str(part.get_content())
