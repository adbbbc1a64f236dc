"""The shared connection where the other end does not behave like Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import ConnectionPool
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.jobs.wire import Wire
from tests.waiting import PATIENCE


@asynccontextmanager
async def falls_silent(after: int) -> AsyncIterator[str]:
    """The URL of a listener that answers so many commands with OK and then no more."""
    writers = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        answered = 0
        while chunk := await reader.read(65536):
            commands = chunk.count(b"*")
            writer.write(b"+OK\r\n" * min(commands, after - answered))
            answered = min(after, answered + commands)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield f"redis://127.0.0.1:{port}/0"
    for writer in writers:
        writer.close()
    server.close()
    await server.wait_closed()


# Before its first answer redis-py has told two things of itself.
@pytest.mark.parametrize("answers", [0, 2])
async def test_who_listens_and_says_nothing_is_not_waited_for(answers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.jobs.wire.ANSWER_WITHIN", 0.1)
    async with falls_silent(after=answers) as url:
        connections = ConnectionPool.from_url(url, socket_connect_timeout=5)
        wire = Wire(connections)

        async with asyncio.timeout(PATIENCE):
            with pytest.raises(RedisTimeoutError):
                await wire.call("GET", "key")

        await wire.aclose()
        await connections.aclose()
