"""One connection to Redis that many callers share: commands go out together, answers come back in order."""

import asyncio
from collections import deque
from hashlib import sha1
from pathlib import Path
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

# A server that has not answered for so long is not going to (seconds).
ANSWER_WITHIN = 10.0
SCRIPTS = Path(__file__).parent / "scripts"
CLOCK = (SCRIPTS / "clock.lua").read_bytes()

Word = str | bytes | int | float


class Script:
    """A Lua script of ours, called by its hash."""

    def __init__(self, name: str) -> None:
        self.source = CLOCK + (SCRIPTS / f"{name}.lua").read_bytes()
        self.sha = sha1(self.source, usedforsecurity=False).hexdigest()


class Wire:
    """Sends in one write what its callers ask for in one turn of the loop, and hands each its answer.

    The connection is made, as `connections` makes them, when it is first needed and again after it broke. Whoever
    waits for an answer while it breaks gets a RedisConnectionError: the command may have been executed or not.
    """

    def __init__(self, connections: ConnectionPool) -> None:
        self._connections = connections
        self._connecting = asyncio.Lock()
        self._line: _Line | None = None

    async def call(self, *command: Word) -> Any:
        """The answer to one command. Raises ResponseError where Redis refuses it."""
        line = self._line
        if line is None or line.is_broken:
            line = await self._connect()
        return await line.call(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub says one word

    async def run(self, script: Script, keys: tuple[str, ...], *args: Word) -> Any:
        """What the script returns; loads it where the server does not know it."""
        try:
            return await self.call("EVALSHA", script.sha, len(keys), *keys, *args)
        except NoScriptError:
            return await self.call("EVAL", script.source, len(keys), *keys, *args)

    async def aclose(self) -> None:
        if self._line is not None:
            await self._line.aclose()

    async def _connect(self) -> "_Line":
        async with self._connecting:
            if self._line is None or self._line.is_broken:
                if self._line is not None:
                    await self._line.aclose()
                self._line = _Line(await patient_connection(self._connections))
            return self._line


async def patient_connection(connections: ConnectionPool) -> AbstractConnection:
    """A connection as the pool makes them, but for one that may wait for ever to be told something.

    Raises RedisTimeoutError where somebody listens there and says nothing, as a proxy without a server does.
    """
    options = connections.connection_kwargs | {"socket_timeout": None}
    connection: AbstractConnection = connections.connection_class(**options)
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            await connection.connect()  # type: ignore[no-untyped-call]
    except BaseException as error:
        # Also where its caller would not wait for so long.
        await connection.disconnect(nowait=True)
        if isinstance(error, TimeoutError):
            raise RedisTimeoutError(f"Redis did not answer within {ANSWER_WITHIN:g} s") from None
        raise
    return connection


class _Line:
    """A connection in use, until it breaks."""

    def __init__(self, connection: AbstractConnection) -> None:
        self.is_broken = False
        self._connection = connection
        self._unsent: list[bytes] = []
        self._something_to_send = asyncio.Event()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._overdue: asyncio.Timeout | None = None
        self._tasks = [
            asyncio.create_task(self._until_broken(self._send()), name="redis send"),
            asyncio.create_task(self._until_broken(self._receive()), name="redis receive"),
        ]

    async def call(self, packed: bytes) -> Any:
        if self.is_broken:
            raise RedisConnectionError("the connection was closed")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        if not self._waiting and self._overdue is not None:
            self._overdue.reschedule(loop.time() + ANSWER_WITHIN)
        self._waiting.append(answer)
        self._unsent.append(packed)
        self._something_to_send.set()
        return await answer

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._connection.disconnect()

    async def _send(self) -> None:
        while True:
            await self._something_to_send.wait()
            self._something_to_send.clear()
            unsent, self._unsent = self._unsent, []
            await self._connection.send_packed_command(unsent, check_health=False)

    async def _receive(self) -> None:
        loop = asyncio.get_running_loop()
        # Something may have been asked already.
        async with asyncio.timeout(ANSWER_WITHIN if self._waiting else None) as self._overdue:
            while True:
                answer: Any
                try:
                    answer = await self._connection.read_response()
                except ResponseError as refusal:
                    answer = refusal
                waiting = self._waiting.popleft()
                self._overdue.reschedule(loop.time() + ANSWER_WITHIN if self._waiting else None)
                # A caller that was cancelled does not want it any more.
                if waiting.done():
                    continue
                if isinstance(answer, ResponseError):
                    waiting.set_exception(answer)
                else:
                    waiting.set_result(answer)

    async def _until_broken(self, work: Any) -> None:
        failure: Exception = RedisConnectionError("the connection was closed")
        try:
            await work
        except TimeoutError:
            failure = RedisTimeoutError(f"Redis did not answer within {ANSWER_WITHIN:g} s")
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            failure = error
        finally:
            self.is_broken = True
            for task in self._tasks:
                if task is not asyncio.current_task():
                    task.cancel()
            for waiting in self._waiting:
                if not waiting.done():
                    waiting.set_exception(failure)
            self._waiting.clear()
