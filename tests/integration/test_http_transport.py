"""What really happened on the wire, against what the transport says happened."""

import asyncio
import gzip
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from app.providers.http import MAX_ANSWER_BYTES, AiohttpTransport, AnswerTooLarge, http_client
from tests.waiting import until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
MAY_HAVE_BEEN_SENT = (httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError)


class Connection:
    """The server's end of one connection."""

    def __init__(self, server: "Server", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """The next request, whole."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0)
        request = head + await self.reader.readexactly(length)
        self.server.requests.append(request)
        return request

    async def answer(self, answer: bytes) -> None:
        self.writer.write(answer)
        await self.writer.drain()

    def reset(self) -> None:
        """End the connection with RST, as a crashed host does."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


Script = Callable[[Connection], Awaitable[None]]


class Server:
    """A server that follows a script on each connection and remembers what it was sent."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.port = 0
        self.connections: list[Connection] = []
        self.requests: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self, reader, writer)
        self.connections.append(connection)
        try:
            await self.script(connection)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.close()


@asynccontextmanager
async def serving(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(script)
    listener = await asyncio.start_server(server.connected, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for connection in server.connections:
            connection.writer.transport.abort()
        await listener.wait_closed()


def saying(answer: bytes) -> Script:
    """Answers every request of a connection with `answer`."""

    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.answer(answer)

    return script


async def silent(connection: Connection) -> None:
    await connection.request()
    await connection.reader.read()


async def test_nobody_listens() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with http_client() as client:
            with pytest.raises(httpx.ConnectError, match=r"127\.0\.0\.1"):
                await client.post(f"http://127.0.0.1:{closed.getsockname()[1]}/", json={})


async def test_a_connection_that_takes_too_long_to_make_sent_nothing() -> None:
    async def mute(connection: Connection) -> None:
        await connection.reader.read()  # leaves the client's TLS greeting unanswered

    async with serving(mute) as server, http_client(timeout=httpx.Timeout(5, connect=0.1)) as client:
        with pytest.raises(httpx.ConnectTimeout):
            await client.post(f"https://127.0.0.1:{server.port}/", json={})

    assert server.requests == []


async def test_no_free_connection_sent_nothing() -> None:
    timeout = httpx.Timeout(5, pool=0.05)
    async with serving(silent) as server, http_client(max_connections=1, timeout=timeout) as client:
        first = asyncio.create_task(client.post(server.url, json={"n": 1}))
        await until(lambda: server.requests, every=0)
        with pytest.raises(httpx.PoolTimeout):
            await client.post(server.url, json={"n": 2})
        first.cancel()
        await asyncio.wait([first])

        assert len(server.requests) == 1
        with pytest.raises(httpx.ReadTimeout):  # the cancelled request gave its connection back
            await client.post(server.url, json={"n": 3}, timeout=httpx.Timeout(5, read=0.05))


async def test_a_header_that_can_not_be_written_sent_nothing() -> None:
    async with serving(saying(OK)) as server, http_client() as client:
        with pytest.raises(httpx.LocalProtocolError):
            await client.post(server.url, headers={"Authorization": "Bearer key\n"}, json={})

    assert server.requests == []


async def dropped(connection: Connection) -> None:
    await connection.request()


async def reset(connection: Connection) -> None:
    await connection.request()
    connection.reset()


async def stalled(connection: Connection) -> None:
    await connection.request()
    await connection.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
    await connection.reader.read()


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (dropped, httpx.RemoteProtocolError),
        (reset, httpx.ReadError),
        (silent, httpx.ReadTimeout),
        (stalled, httpx.ReadTimeout),
    ],
)
async def test_a_request_that_arrived_may_have_been_done(script: Script, error: type[Exception]) -> None:
    async with serving(script) as server, http_client(timeout=httpx.Timeout(5, read=0.1)) as client:
        with pytest.raises(error) as caught:
            await client.post(f"{server.url}/?To=%2B919812345678", json={})

    assert type(caught.value) is error
    assert len(server.requests) == 1
    assert "9812345678" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Many: x\r\n" * 10_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: \xff\x00\r\nX\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_a_broken_answer_does_not_mean_that_nothing_was_sent(answer: bytes) -> None:
    async def broken(connection: Connection) -> None:
        await connection.request()
        await connection.answer(answer)

    async with serving(broken) as server, http_client() as client:
        with pytest.raises(MAY_HAVE_BEEN_SENT):
            await client.post(server.url, json={})

    assert len(server.requests) == 1


async def test_an_answer_that_dribbles_for_ever_ends() -> None:
    async def dribbling(connection: Connection) -> None:
        await connection.request()
        await connection.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not connection.writer.is_closing():
            await connection.answer(b"1\r\n.\r\n")
            await asyncio.sleep(0.01)

    transport = AiohttpTransport(total_seconds=0.2)
    async with serving(dribbling) as server, http_client(transport=transport) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(server.url, json={})


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_ANSWER_BYTES + 1),
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(50 * MAX_ANSWER_BYTES)),
    ],
)
async def test_an_answer_is_bounded(answer: bytes) -> None:
    async def large(connection: Connection) -> None:
        await connection.request()
        await connection.answer(answer)

    async with serving(large) as server, http_client() as client:
        with pytest.raises(AnswerTooLarge):
            await client.post(server.url, json={})


async def test_a_compressed_answer_is_read() -> None:
    body = gzip.compress(b'{"sid": "SM1"}')
    head = b"HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nX-Message-Id: m1\r\n"

    answer = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    async with serving(saying(answer)) as server, http_client() as client:
        response = await client.post(server.url, json={})

    assert (response.status_code, response.json(), response.headers["X-Message-Id"]) == (201, {"sid": "SM1"}, "m1")


async def test_an_idle_connection_that_was_closed_is_not_used() -> None:
    async def once(connection: Connection) -> None:
        await connection.request()
        await connection.answer(OK)

    transport = AiohttpTransport()
    async with serving(once) as server, http_client(transport=transport) as client:
        await client.post(server.url, json={"n": 1})
        idle = [protocol for pool in transport._connections().connector._conns.values() for protocol, _ in pool]  # type: ignore[union-attr] # a session that is open has a connector
        await until(lambda: not any(protocol.is_connected() for protocol in idle), every=0)
        await client.post(server.url, json={"n": 2})

    assert [request[-7:] for request in server.requests] == [b'{"n":1}', b'{"n":2}']


@pytest.mark.parametrize(("method", "arrivals"), [("POST", 2), ("GET", 3)])
async def test_a_connection_closed_under_a_request_repeats_no_post(method: str, arrivals: int) -> None:
    async def second_request_is_dropped(connection: Connection) -> None:
        await connection.request()
        await connection.answer(OK)
        if len(connection.server.connections) == 1:
            await connection.request()
        else:
            await connection.reader.read()

    async with serving(second_request_is_dropped) as server, http_client() as client:
        await client.request(method, server.url)
        if method == "GET":
            assert (await client.get(server.url)).text == "ok"
        else:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post(server.url)

        assert len(server.requests) == arrivals


@pytest.mark.parametrize("location", [b"/elsewhere", b"http:[::"])
async def test_a_redirect_is_not_followed(location: bytes) -> None:
    answer = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % location
    async with serving(saying(answer)) as server, http_client() as client:
        assert (await client.post(server.url, json={})).status_code == 307

    assert len(server.requests) == 1


async def test_requests_carry_what_was_asked_for_and_no_more() -> None:
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=1; Path=/\r\nContent-Length: 0\r\n\r\n"
    async with serving(saying(answer)) as server, http_client() as client:
        for _ in range(2):
            await client.get(
                f"{server.url}/Messages.json",
                params={"To": "+919812345678", "DateSent>": "2026-01-02T03:04:05Z", "PageSize": "1"},
            )

    line, *headers = server.requests[1].decode().rstrip().split("\r\n")
    assert line == ("GET /Messages.json?To=%2B919812345678&DateSent%3E=2026-01-02T03%3A04%3A05Z&PageSize=1 HTTP/1.1")
    assert sorted(headers) == [
        "Accept-Encoding: gzip, deflate",
        "Accept: */*",
        "Connection: keep-alive",
        f"Host: 127.0.0.1:{server.port}",
        "User-Agent: indostar-background",
    ]


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(saying(OK)) as proxy, serving(saying(OK)) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("all_proxy", proxy.url)
        async with http_client() as client:
            await client.post(server.url, json={})

    assert proxy.requests == []
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("host", "trusted", "arrives"),
    [("localhost", True, True), ("127.0.0.1", True, False), ("localhost", False, False)],
    ids=["trusted", "another host's", "self-signed"],
)
async def test_certificates_are_verified(
    certificate: tuple[Path, Path], host: str, trusted: bool, arrives: bool
) -> None:
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(*certificate)
    client_tls = ssl.create_default_context(cafile=certificate[0]) if trusted else None

    async with (
        serving(saying(OK), server_tls) as server,
        http_client(transport=AiohttpTransport(tls=client_tls)) as client,
    ):
        request = client.post(f"https://{host}:{server.port}/", json={})
        if arrives:
            assert (await request).text == "ok"
        else:
            with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
                await request

    assert len(server.requests) == arrives
