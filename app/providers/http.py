"""The HTTP client of the providers: httpx's interface over aiohttp's connections, with truthful errors."""

import asyncio
import re
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Annotated, Final

import aiohttp
import httpx
import yarl
from pydantic import Field

from app.providers.failures import Misconfigured, NoConnectionFree, ProviderOutcomeUnknown, ProviderUnreachable

TIMEOUT: Final = httpx.Timeout(connect=5, read=15, write=5, pool=5)
TOTAL_SECONDS: Final = 20.0  # a request under way at SIGTERM ends within the worker's 25 s of grace
# Common servers close idle connections after 5 s or more. Staying below that keeps requests off connections that
# are being closed, where nobody can tell whether a request arrived.
IDLE_SECONDS: Final = 4.0
MAX_ANSWER_BYTES: Final = 1024 * 1024
MAX_RETRY_AFTER: Final = timedelta(hours=1)

MessageId = Annotated[str, Field(pattern=r"^[!-~]{1,250}$")]
"""What a provider may call a message: words that logs and tables can hold."""

# First match counts. Up to LocalProtocolError nothing was sent; from there on it may have been.
_MEANING: Final[tuple[tuple[type[Exception], type[httpx.TransportError]], ...]] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.NonHttpUrlClientError, httpx.LocalProtocolError),
    (ValueError, httpx.LocalProtocolError),  # a URL or header that can't be written
    (TimeoutError, httpx.ReadTimeout),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),
    (aiohttp.ClientError, httpx.ReadError),
)
_FAILURES: Final = tuple(failure for failure, _ in _MEANING)
# Three describe the body as it travelled, which is not how it is handed on. The fourth httpx would parse, and fail on
# a broken one, though redirects are not followed.
_HEADERS_LEFT_OUT: Final = frozenset({b"content-encoding", b"content-length", b"transfer-encoding", b"location"})


class AnswerTooLarge(httpx.RemoteProtocolError):
    """The answer has more than `MAX_ANSWER_BYTES`."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends a request once and returns its whole answer.

    Raises ConnectError, ConnectTimeout, PoolTimeout and LocalProtocolError only if nothing was sent; ReadTimeout,
    ReadError and RemoteProtocolError (AnswerTooLarge is one) if it may have been. A server that closes an idle
    connection at the moment a request is written on it is among the latter: the client can't tell. aiohttp repeats
    a GET then, never a POST.
    """

    def __init__(
        self,
        *,
        max_connections: int = 100,
        total_seconds: float = TOTAL_SECONDS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._places = asyncio.Semaphore(max_connections)
        self._total_seconds = total_seconds
        self._tls = tls or httpx.create_ssl_context()
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        limits = request.extensions.get("timeout", {})
        content = await request.aread()
        try:
            async with asyncio.timeout(limits.get("pool")):
                await self._places.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("no connection became free") from None
        try:
            async with asyncio.timeout(self._total_seconds):
                return await self._exchange(
                    request,
                    content,
                    aiohttp.ClientTimeout(connect=limits.get("connect"), sock_read=limits.get("read")),
                )
        except _FAILURES as failure:
            # Not chained: aiohttp's sentences quote the URL, and with it a recipient.
            raise _meaning(failure) from None
        finally:
            self._places.release()

    async def _exchange(self, request: httpx.Request, content: bytes, limits: aiohttp.ClientTimeout) -> httpx.Response:
        async with self._connections().request(
            request.method,
            yarl.URL(str(request.url), encoded=True),  # else aiohttp would quote it in its own way
            headers=[(name.decode(), value.decode()) for name, value in request.headers.raw],
            data=content or None,
            allow_redirects=False,
            timeout=limits,
        ) as answer:
            body = bytearray()
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise AnswerTooLarge(f"the answer ({answer.status}) is larger than {MAX_ANSWER_BYTES} bytes")
            headers = [(name, value) for name, value in answer.raw_headers if name.lower() not in _HEADERS_LEFT_OUT]
            return httpx.Response(answer.status, headers=headers, content=bytes(body), request=request)

    def _connections(self) -> aiohttp.ClientSession:
        if self._session is None:  # aiohttp wants a running loop, which whoever builds the client may not have
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=self._tls,
                    limit=0,  # `_places` limits them, and can say that it did
                    keepalive_timeout=IDLE_SECONDS,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
                trust_env=False,
            )
        return self._session

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


def _meaning(failure: Exception) -> httpx.TransportError:
    meaning = next(meaning for kind, meaning in _MEANING if isinstance(failure, kind))
    if isinstance(failure, aiohttp.ClientConnectorError):
        return meaning(f"{failure.host}:{failure.port}: {failure.os_error}")
    return meaning(type(failure).__name__)


class _NoCookies(httpx.Cookies):
    """Stays empty. An AsyncClient would look for them in every answer, for a twentieth of what a request costs."""

    def extract_cookies(self, response: httpx.Response) -> None:
        pass


class _Client(httpx.AsyncClient):
    _no_cookies = _NoCookies()

    @property  # type: ignore[misc]  # they can't be set either
    def cookies(self) -> httpx.Cookies:
        return self._no_cookies


def http_client(
    *,
    timeout: httpx.Timeout | None = None,
    max_connections: int = 100,
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """A client that keeps no cookies, follows no redirects and heeds no proxy of the environment."""
    return _Client(
        transport=transport or AiohttpTransport(max_connections=max_connections),
        timeout=timeout or TIMEOUT,
        headers={"User-Agent": "indostar-background", "Accept-Encoding": "gzip, deflate"},
        follow_redirects=False,
        trust_env=False,
    )


async def exchange(
    client: httpx.AsyncClient, provider: str, request: httpx.Request, *, auth: httpx.Auth | None = None
) -> httpx.Response:
    """The provider's answer to `request`, whatever its status.

    Raises ProviderUnreachable or Misconfigured if nothing was sent, ProviderOutcomeUnknown if it may have been.
    """
    try:
        return await client.send(request, auth=auth)
    except httpx.PoolTimeout as error:
        raise NoConnectionFree(provider, type(error).__name__, str(error)) from error
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise ProviderUnreachable(provider, type(error).__name__, str(error)) from error
    except (httpx.LocalProtocolError, httpx.UnsupportedProtocol) as error:
        raise Misconfigured(provider, type(error).__name__, str(error)) from error
    except httpx.RequestError as error:
        raise ProviderOutcomeUnknown(provider, type(error).__name__, str(error)) from error


def retry_after(response: httpx.Response, now: datetime) -> timedelta | None:
    """How long the provider wants us to wait: at most an hour, None where it does not say.

    Source: RFC 9110 10.2.3 (Retry-After: seconds or a date); X-RateLimit-Reset is SendGrid's, in epoch seconds.
    """
    wait = _wait(response.headers.get("Retry-After", ""), now)
    reset = response.headers.get("X-RateLimit-Reset", "")
    if wait is None and re.fullmatch(r"[0-9]{1,10}", reset):
        wait = datetime.fromtimestamp(int(reset), UTC) - now
    return min(wait, MAX_RETRY_AFTER) if wait is not None and wait > timedelta(0) else None


def _wait(value: str, now: datetime) -> timedelta | None:
    if re.fullmatch(r"[0-9]{1,9}", value):
        return timedelta(seconds=int(value))
    try:
        return rfc5322_date(value) - now
    except ValueError:
        return None


def rfc5322_date(value: str) -> datetime:
    """An HTTP or mail date as an aware time. Raises ValueError if it is none."""
    try:
        date = parsedate_to_datetime(value)
    except OverflowError as error:  # "1 Jan 99999999999"
        raise ValueError(value) from error
    return date if date.tzinfo else date.replace(tzinfo=UTC)  # asctime dates and "-0000" are UTC too
