"""Connections to one SMTP server: opened, verified, logged in, and kept for the next mail."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, Literal

from aiosmtplib import SMTP, SMTPException, SMTPResponseException
from pydantic import SecretStr

from app.providers.failures import Misconfigured, NoConnectionFree, ProviderFailure, ProviderUnreachable, printable

# Whatever a server takes for one answer. Its own allowance may be minutes, but a worker that is told to stop has 25 s.
COMMAND_SECONDS: Final = 15.0
PLACE_SECONDS: Final = 5.0
QUIT_SECONDS: Final = 1.0
# Servers hang up on silent clients after half a minute at the earliest that one meets.
IDLE_SECONDS: Final = 25.0

Security = Literal["none", "starttls", "tls"]
DEFAULT_PORTS: Final[Mapping[Security, int]] = {"none": 25, "starttls": 587, "tls": 465}


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpServer:
    """Where mail is handed in. With `starttls`, a server that does not offer it gets neither login nor mail."""

    host: str
    port: int
    security: Security
    username: str | None = None
    password: SecretStr | None = None


class SmtpConnections:
    """At most `size` connections at once. A connection carries one mail at a time and is then kept for others."""

    def __init__(
        self,
        provider: str,
        server: SmtpServer,
        *,
        size: int,
        tls: ssl.SSLContext | None = None,
        place_seconds: float = PLACE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._server = server
        # What the system trusts takes megabytes, and unencrypted connections have no use for it.
        self._tls = tls or (ssl.create_default_context() if server.security != "none" else None)
        self._place_seconds = place_seconds
        self._clock = clock
        self._places = asyncio.Semaphore(size)
        self._kept: list[tuple[SMTP, float]] = []  # and since when

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Room for one connection. Raises NoConnectionFree when none becomes free."""
        try:
            async with asyncio.timeout(self._place_seconds):
                await self._places.acquire()
        except TimeoutError:
            raise NoConnectionFree(self._provider, "no place", "no connection became free") from None
        try:
            yield
        finally:
            self._places.release()

    def kept(self) -> SMTP | None:
        """The connection used last that still seems open. Its server may have hung up all the same."""
        while self._kept:
            connection, since = self._kept.pop()
            if connection.is_connected and self._clock() - since < IDLE_SECONDS:
                return connection
            connection.close()
        return None

    def keep(self, connection: SMTP) -> None:
        """Take back a connection on which the next mail can begin."""
        if connection.is_connected:
            self._kept.append((connection, self._clock()))

    async def opened(self, ends: float) -> SMTP:
        """A new connection, logged in by then (the loop's time). Raises ProviderUnreachable or Misconfigured."""
        server = self._server
        connection = SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password.get_secret_value() if server.password else None,
            timeout=COMMAND_SECONDS,
            use_tls=server.security == "tls",
            start_tls=server.security == "starttls",
            tls_context=self._tls,
        )
        try:
            async with asyncio.timeout_at(ends):
                await connection.connect()
                if connection.is_ehlo_or_helo_needed:
                    await connection.ehlo()
        except SMTPResponseException as reply:
            connection.close()
            raise self._refusal(reply.code, reply.message) from None
        except OSError as error:  # aiosmtplib's own errors of connections and time-outs are among these
            connection.close()
            raise ProviderUnreachable(self._provider, type(error).__name__, str(error)) from error
        except SMTPException as error:  # the server lacks STARTTLS or a way to log in
            connection.close()
            raise Misconfigured(self._provider, type(error).__name__, error.message) from error
        except BaseException:
            connection.close()
            raise
        return connection

    async def aclose(self) -> None:
        """Say goodbye on the connections that are kept; none may be in use."""
        kept, self._kept = self._kept, []
        await asyncio.gather(*(_closed(connection) for connection, _ in kept))

    def _refusal(self, code: int, words: str) -> ProviderFailure:
        """Of a server that is too busy for us, or of one that does not know us or is none of SMTP."""
        kind = ProviderUnreachable if code // 100 == 4 else Misconfigured
        return kind(self._provider, str(code), printable(words))


async def _closed(connection: SMTP) -> None:
    with suppress(SMTPException, OSError):
        await connection.quit(timeout=QUIT_SECONDS)
    connection.close()
