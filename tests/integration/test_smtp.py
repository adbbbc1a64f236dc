"""Mail by SMTP, against a server that is none of ours, with everything that one may do to a client."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pydantic import SecretStr

from app.errors import NotDone
from app.providers.failures import (
    Misconfigured,
    NoConnectionFree,
    ProviderDeferred,
    ProviderFailure,
    ProviderNotDone,
    ProviderOutcomeUnknown,
    ProviderRefused,
    ProviderUnreachable,
)
from app.providers.mail import EmailProvider, Mail, Sender
from app.providers.smtp import Smtp
from app.providers.smtp_connections import Security, SmtpConnections, SmtpServer
from tests.waiting import until

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SENDER = Sender(email="orders@dairy.example", name="Dairy")
HELLO = "220 mail.example ESMTP\r\n"
EHLO = "250-mail.example\r\n250 8BITMIME\r\n"


def mail(key: str = "ntf_01", to: str = "asha@example.com") -> Mail:
    return Mail(to=to, subject="Receipt ₹45", text="दूध ₹45\n.\n", html="<p>दूध</p>", key=key)


@dataclass
class Server:
    """An aiosmtpd server. `replies` are what it says at a stage instead of what it would, one after another."""

    replies: dict[str, list[str]] = field(default_factory=dict)
    mails: list[tuple[str, list[str], EmailMessage]] = field(default_factory=list)
    connections: list[SMTP] = field(default_factory=list)
    logins: list[LoginPassword] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    at_once: int = 0
    most_at_once: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        self.may_answer.set()

    def _instead(self, stage: str) -> str | None:
        replies = self.replies.get(stage)
        return replies.pop(0) if replies else None

    async def handle_MAIL(  # noqa: N802 -- aiosmtpd's names
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if reply := self._instead("MAIL"):
            return reply
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if reply := self._instead(f"RCPT {address}") or self._instead("RCPT"):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        content = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(content, EmailMessage)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.may_answer.wait()
        finally:
            self.at_once -= 1
        if reply := self._instead("DATA"):
            return reply
        self.mails.append((envelope.mail_from or "", envelope.rcpt_tos, content))
        self.encrypted.append(session.ssl is not None)
        return "250 queued as 4711"

    def login(self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, data: Any) -> AuthResult:
        self.logins.append(data)
        return AuthResult(success=data.password == b"right", handled=False)

    async def hang_up(self) -> None:
        """Close every connection, as a server does that has waited for long enough."""
        for connection in self.connections:
            if connection.transport is not None:
                connection.transport.close()
        self.connections.clear()


@asynccontextmanager
async def serving(
    *, tls: ssl.SSLContext | None = None, at_once: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[Server]:
    """`tls` is offered by STARTTLS, `at_once` begins with the connection."""
    server = Server()

    def connected() -> SMTP:
        connection = SMTP(
            server,
            tls_context=tls,
            hostname="mail.example",
            authenticator=server.login,
            loop=asyncio.get_running_loop(),
            **options,
        )
        server.connections.append(connection)
        return connection

    listener = await asyncio.get_running_loop().create_server(connected, "127.0.0.1", 0, ssl=at_once)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await server.hang_up()
        await listener.wait_closed()


@asynccontextmanager
async def sending(
    port: int,
    *,
    host: str = "127.0.0.1",
    security: Security = "none",
    password: str | None = None,
    size: int = 10,
    tls: ssl.SSLContext | None = None,
    sender: Sender = SENDER,
    clock: Callable[[], float] = lambda: 0.0,
    total_seconds: float = 60,
    place_seconds: float = 60,
) -> AsyncIterator[EmailProvider]:
    server = SmtpServer(
        host=host,
        port=port,
        security=security,
        username=password and "shop",
        password=SecretStr(password) if password else None,
    )
    connections = SmtpConnections("smtp", server, size=size, tls=tls, place_seconds=place_seconds, clock=clock)
    smtp = Smtp(connections, sender=sender, total_seconds=total_seconds, now=lambda: NOW)
    yield smtp
    await smtp.aclose()


async def failure(smtp: EmailProvider, letter: Mail | None = None) -> ProviderFailure:
    with pytest.raises(ProviderFailure) as caught:
        await smtp.send(letter or mail())
    return caught.value


async def test_a_mail_arrives_as_it_was_meant() -> None:
    sender = Sender(
        email="orders@dairy.example",
        name="Śri Dairy",
        reply_to="help@dairy.example",
        list_unsubscribe="<https://dairy.example/unsubscribe>, <mailto:stop@dairy.example>",
    )
    async with serving() as server, sending(server.port, sender=sender) as smtp:
        message_id = await smtp.send(mail())

    [(envelope_from, recipients, received)] = server.mails
    assert (envelope_from, recipients) == ("orders@dairy.example", ["asha@example.com"])
    assert received["Message-ID"] == f"<{message_id}>"
    assert received["From"] == "Śri Dairy <orders@dairy.example>"
    assert received["Reply-To"] == "help@dairy.example"
    assert received["List-Unsubscribe"] == sender.list_unsubscribe
    assert received["Date"].datetime == NOW
    assert (received["To"], received["Subject"]) == ("asha@example.com", "Receipt ₹45")
    text, html = received.get_body(("plain",)), received.get_body(("html",))
    assert text is not None
    assert html is not None
    assert (text.get_content(), html.get_content()) == ("दूध ₹45\r\n.\r\n", "<p>दूध</p>\r\n")


async def test_a_mail_has_the_same_id_whenever_it_is_sent_and_no_other_has_it() -> None:
    async with serving() as server, sending(server.port) as smtp:
        ids = [await smtp.send(mail(key)) for key in ("a", "b", "a")]

    assert ids[0] == ids[2] != ids[1]


async def test_connections_are_kept_for_the_next_mail() -> None:
    async with serving() as server, sending(server.port) as smtp:
        for number in range(5):
            await smtp.send(mail(str(number)))

        assert len(server.connections) == 1
        assert len(server.mails) == 5


async def test_no_more_mails_are_handed_over_at_once_than_there_are_connections() -> None:
    async with serving() as server, sending(server.port, size=3) as smtp:
        server.may_answer.clear()
        sends = [asyncio.create_task(smtp.send(mail(str(number)))) for number in range(9)]
        await until(lambda: server.at_once == 3)
        server.may_answer.set()
        await asyncio.gather(*sends)

        assert (server.most_at_once, len(server.mails), len(server.connections)) == (3, 9, 3)


async def test_a_connection_that_was_hung_up_on_is_replaced() -> None:
    async with serving() as server, sending(server.port) as smtp:
        await smtp.send(mail("1"))
        await server.hang_up()

        await smtp.send(mail("2"))

        assert len(server.mails) == 2


async def test_a_connection_that_carried_enough_mails_is_replaced() -> None:
    async with serving() as server, sending(server.port) as smtp:
        await smtp.send(mail("1"))
        server.replies["MAIL"] = ["421 4.7.0 too many mails on this connection"]

        await smtp.send(mail("2"))

        assert len(server.mails) == 2
        assert len(server.connections) == 2


async def test_a_connection_that_was_silent_for_long_is_not_trusted() -> None:
    times = iter([0.0, 30.0, 30.0, 30.0])
    async with serving() as server, sending(server.port, clock=lambda: next(times)) as smtp:
        await smtp.send(mail("1"))
        await smtp.send(mail("2"))

        assert len(server.connections) == 2


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("421 4.3.2 closing", ProviderNotDone),
        ("451 4.3.0 local error", ProviderNotDone),
        ("451 4.4.1 no answer from the next server", ProviderNotDone),
        ("500 5.5.2 what?", ProviderRefused),
        ("501 5.1.3 bad address", ProviderRefused),
        ("503 5.5.1 wrong order", ProviderRefused),
        ("530 5.7.0 authentication required", Misconfigured),
        ("534 5.7.9 stronger mechanism needed", Misconfigured),
        ("535 5.7.8 bad credentials", Misconfigured),
        ("538 5.7.11 encryption required", Misconfigured),
        ("550 5.1.1 no such user", ProviderRefused),
        ("551 5.1.6 moved", ProviderRefused),
        ("552 5.3.4 too big", ProviderRefused),
        ("553 5.1.8 sender not allowed", ProviderRefused),
        ("554 5.7.1 spam", ProviderRefused),
    ],
)
async def test_what_a_reply_means(stage: str, reply: str, outcome: type[ProviderFailure]) -> None:
    async with serving() as server, sending(server.port) as smtp:
        server.replies[stage] = [reply]

        failed = await failure(smtp)

        assert (type(failed), failed.code, failed.message) == (outcome, reply[:3], reply[4:])
        # What became of one mail is nothing to the next.
        await smtp.send(mail("2"))
        assert len(server.mails) == 1


@pytest.mark.parametrize(
    "reply", ["450 4.2.0 try later", "450 greylisted", "452 4.2.2 mailbox full", "454 4.7.0 temporary failure"]
)
@pytest.mark.parametrize(
    ("stage", "outcome"), [("MAIL", ProviderNotDone), ("RCPT", ProviderDeferred), ("DATA", ProviderNotDone)]
)
async def test_what_a_mailbox_does_not_take_now_says_nothing_against_the_server(
    stage: str, outcome: type[ProviderFailure], reply: str
) -> None:
    async with serving() as server, sending(server.port) as smtp:
        server.replies[stage] = [reply]

        failed = await failure(smtp)

        assert (type(failed), failed.code, failed.message) == (outcome, reply[:3], reply[4:])
        await smtp.send(mail("2"))
        assert len(server.mails) == 1


async def test_a_server_that_accepts_some_recipients_only_gets_their_mails() -> None:
    async with serving() as server, sending(server.port, size=1) as smtp:
        server.replies["RCPT ravi@example.com"] = ["550 5.1.1 <ravi@example.com> is unknown here"]

        results = await asyncio.gather(
            *(smtp.send(mail(to, to)) for to in ("asha@example.com", "ravi@example.com", "uma@example.com")),
            return_exceptions=True,
        )

        assert [type(result) for result in results] == [str, ProviderRefused, str]
        assert "5.1.1 <<recipient>> is unknown here" in str(results[1])
        assert [recipients for _, recipients, _ in server.mails] == [["asha@example.com"], ["uma@example.com"]]
        assert len(server.connections) == 1


async def test_a_login_is_made_once_a_connection() -> None:
    async with serving(auth_require_tls=False) as server, sending(server.port, password="right") as smtp:
        await smtp.send(mail("1"))
        await smtp.send(mail("2"))

        assert [(login.login, login.password) for login in server.logins] == [(b"shop", b"right")]


@pytest.mark.parametrize("wants_tls", [False, True], ids=["wrong", "not offered"])
async def test_a_login_that_fails_is_a_fault_of_the_settings_and_is_not_told(wants_tls: bool) -> None:
    async with serving(auth_require_tls=wants_tls) as server, sending(server.port, password="wrong-secret") as smtp:
        failed = await failure(smtp)

        assert type(failed) is Misconfigured
        assert "wrong-secret" not in str(failed) + repr(failed)
        assert server.mails == []


def server_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize(
    ("host", "trusted", "arrives"),
    [("localhost", True, True), ("127.0.0.1", True, False), ("localhost", False, False)],
    ids=["trusted", "another host's", "self-signed"],
)
async def test_certificates_are_verified(
    certificate: tuple[Path, Path], security: Security, host: str, trusted: bool, arrives: bool
) -> None:
    context = server_tls(certificate)
    ours = ssl.create_default_context(cafile=certificate[0] if trusted else None)
    encryption = {"tls": context} if security == "starttls" else {"at_once": context}

    async with (
        serving(**encryption, auth_require_tls=security == "starttls") as server,
        sending(server.port, host=host, security=security, tls=ours, password="right") as smtp,
    ):
        if arrives:
            await smtp.send(mail())
            assert server.encrypted == [security == "starttls"] or server.mails
        else:
            failed = await failure(smtp)
            assert type(failed) is ProviderUnreachable
            assert "certificate verify failed" in str(failed)
            assert (server.mails, server.logins) == ([], [])


async def test_a_server_without_starttls_gets_neither_login_nor_mail() -> None:
    async with (
        serving(auth_require_tls=False) as server,
        sending(server.port, security="starttls", password="right") as smtp,
    ):
        failed = await failure(smtp)

        assert type(failed) is Misconfigured
        assert "STARTTLS" in str(failed)
        assert (server.mails, server.logins) == ([], [])


async def test_nobody_listens() -> None:
    listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()

    async with sending(port) as smtp:
        assert type(await failure(smtp)) is ProviderUnreachable


class Talk:
    """The server's end of a connection that follows a script."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def say(self, words: str | bytes) -> None:
        self._writer.write(words if isinstance(words, bytes) else words.encode())
        await self._writer.drain()

    async def hear(self) -> bytes:
        return await self._reader.readuntil(b"\r\n")

    async def content(self) -> bytes:
        return await self._reader.readuntil(b"\r\n.\r\n")

    async def silence(self) -> None:
        """Until the client has hung up."""
        await self._reader.read()

    async def up_to_data(self) -> None:
        await self.say(HELLO)
        for reply in (EHLO, "250 OK\r\n", "250 OK\r\n", "354 go on\r\n"):
            await self.hear()
            await self.say(reply)


Script = Callable[[Talk], Awaitable[None]]


@asynccontextmanager
async def following(script: Script) -> AsyncIterator[int]:
    """The port of a server that follows `script` on each connection and then hangs up."""
    writers: list[asyncio.StreamWriter] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            await script(Talk(reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.close()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for writer in writers:
            writer.transport.abort()
        await listener.wait_closed()


async def dropped_before_the_content(talk: Talk) -> None:
    await talk.say(HELLO)
    await talk.hear()
    await talk.say(EHLO)
    await talk.hear()


async def nonsense_before_the_content(talk: Talk) -> None:
    await talk.say(HELLO)
    await talk.hear()
    await talk.say(EHLO)
    await talk.hear()
    await talk.say("HTTP/1.1 400 Bad Request\r\n")
    await talk.silence()


async def dropped_after_the_content(talk: Talk) -> None:
    await talk.up_to_data()
    await talk.content()


async def nonsense_after_the_content(talk: Talk) -> None:
    await talk.up_to_data()
    await talk.content()
    await talk.say(b"{\xff\0}\r\n")
    await talk.silence()


async def an_odd_code_after_the_content(talk: Talk) -> None:
    await talk.up_to_data()
    await talk.content()
    await talk.say("299 fine, somehow\r\n")
    await talk.silence()


async def a_megabyte_after_the_content(talk: Talk) -> None:
    await talk.up_to_data()
    await talk.content()
    await talk.say("250 " + "x" * 1024 * 1024 + "\r\n")


async def endless_lines_after_the_content(talk: Talk) -> None:
    await talk.up_to_data()
    await talk.content()
    while True:
        await talk.say("250-" + "x" * 1000 + "\r\n")
        await asyncio.sleep(0)


async def another_protocol(talk: Talk) -> None:
    await talk.say("SSH-2.0-OpenSSH_9.9\r\n")
    await talk.silence()


async def busy(talk: Talk) -> None:
    await talk.say("421 mail.example too many connections\r\n")


async def unwilling(talk: Talk) -> None:
    await talk.say("554 mail.example no mail from you\r\n")


async def without_a_greeting(talk: Talk) -> None:
    pass


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (without_a_greeting, ProviderUnreachable),
        (busy, ProviderUnreachable),
        (unwilling, Misconfigured),
        (another_protocol, Misconfigured),
        (dropped_before_the_content, ProviderNotDone),
        (nonsense_before_the_content, Misconfigured),
        (dropped_after_the_content, ProviderOutcomeUnknown),
        (nonsense_after_the_content, ProviderOutcomeUnknown),
        (an_odd_code_after_the_content, ProviderOutcomeUnknown),
        (a_megabyte_after_the_content, ProviderOutcomeUnknown),
        (endless_lines_after_the_content, ProviderOutcomeUnknown),
    ],
)
async def test_whatever_a_server_does_nobody_takes_a_mail_for_sent_or_lost_that_may_not_be(
    script: Script, outcome: type[ProviderFailure]
) -> None:
    async with following(script) as port, sending(port) as smtp:
        failed = await failure(smtp)

        assert type(failed) is outcome
        assert len(failed.message) <= 300
        assert failed.message.isprintable()


@pytest.mark.parametrize("silent_from", ["the start", "the first command", "the content"])
async def test_a_server_that_stops_answering_is_given_up_on(silent_from: str) -> None:
    arrived: list[bytes] = []

    async def script(talk: Talk) -> None:
        if silent_from == "the first command":
            await talk.say(HELLO)
            await talk.hear()
        if silent_from == "the content":
            await talk.up_to_data()
            arrived.append(await talk.content())
        await talk.silence()

    async with following(script) as port, sending(port, total_seconds=0.3) as smtp:
        failed = await failure(smtp)

    # A machine that stalls may be over its time before the content.
    assert type(failed) is ProviderOutcomeUnknown if arrived else isinstance(failed, NotDone)


async def test_a_send_that_is_cancelled_leaves_no_connection_in_an_unknown_state() -> None:
    async with serving() as server, sending(server.port, size=1) as smtp:
        server.may_answer.clear()
        cancelled = asyncio.create_task(smtp.send(mail("1")))
        await until(lambda: server.at_once)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        server.may_answer.set()

        await smtp.send(mail("2"))

        assert len(server.connections) == 2


async def test_without_a_place_nothing_is_sent() -> None:
    async with serving() as server, sending(server.port, size=1, place_seconds=0.05) as smtp:
        server.may_answer.clear()
        first = asyncio.create_task(smtp.send(mail("1")))
        await until(lambda: server.at_once)

        assert type(await failure(smtp, mail("2"))) is NoConnectionFree

        server.may_answer.set()
        await first
        assert len(server.mails) == 1
