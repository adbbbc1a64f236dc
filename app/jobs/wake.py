"""Waking idle lanes the moment something is put on their queues, whoever puts it there.

The server tells of every write to a key with our prefixes: client-side caching in broadcast mode, redirected to a
connection that listens. That needs no configuration, serves stock enqueuers too, and costs the server next to nothing.
Source: Redis, Client-side caching in Redis, "Broadcasting mode" and "Two connections mode".
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

import structlog
from arq.constants import default_queue_name
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from app.jobs.outage import LONGEST_WAIT, REDIS_DOWN, is_outage
from app.jobs.queues import ABORTS, PAUSED
from app.jobs.wire import ANSWER_WITHIN, patient_connection

log = structlog.stdlib.get_logger(__name__)

CHANNEL = "__redis__:invalidate"
# Prefixes may not overlap; the first stands for every queue.
PREFIXES = (default_queue_name, ABORTS, PAUSED)


class WakeUp:
    """Sets the events of each key that is written to. `is_listening` is False where the server does not tell."""

    def __init__(self, connections: ConnectionPool, events: Mapping[str, Sequence[asyncio.Event]]) -> None:
        self._connections = connections
        self._events = {key.encode(): listening for key, listening in events.items()}
        self.is_listening = False

    async def run(self) -> None:
        """Listens until cancelled, again after each outage; returns where the server refuses."""
        while True:
            try:
                connection = await patient_connection(self._connections)
                try:
                    await self._listen(connection)
                finally:
                    self.is_listening = False
                    await connection.disconnect(nowait=True)
            except (*REDIS_DOWN, ResponseError) as refusal:
                if not is_outage(refusal):
                    log.warning("wakeup.refused", reason=str(refusal))
                    return
            await asyncio.sleep(LONGEST_WAIT)

    async def _listen(self, connection: AbstractConnection) -> None:
        async with asyncio.timeout(ANSWER_WITHIN):
            client_id = await _ask(connection, "CLIENT", "ID")
            prefixes = (word for prefix in PREFIXES for word in ("PREFIX", prefix))
            await _ask(connection, "CLIENT", "TRACKING", "ON", "REDIRECT", str(client_id), "BCAST", *prefixes)
            await _ask(connection, "SUBSCRIBE", CHANNEL)
        self.is_listening = True
        # What was put there before is not told.
        self._wake(self._events)
        while True:
            message = await connection.read_response()
            # No keys: FLUSHALL, after which nothing is as it was.
            self._wake(message[2] or self._events)

    def _wake(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            for event in self._events.get(key, ()):
                event.set()


async def _ask(connection: AbstractConnection, *words: str | bytes) -> object:
    await connection.send_command(*words)
    return await connection.read_response()
