"""Being told by PostgreSQL (LISTEN), where one can be: behind PgBouncer in transaction mode one can't."""

import asyncio
from uuid import uuid4

import asyncpg
import structlog
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from app.db.engine import Database, DatabaseUnavailable

log = structlog.stdlib.get_logger(__name__)

# A pooler takes LISTEN and tells nothing; a connection may die without a word. So it is tried out, every so often.
PROBE_EVERY = 30.0
HEARD_WITHIN = 2.0
TRY_AGAIN_AFTER = 10.0
# Who told nothing is most likely a pooler, and will be one the next time.
TRY_A_POOLER_AGAIN_AFTER = 60.0


class NotToldAnything(Exception):
    """What was sent to the channel did not arrive on the connection that listens."""


class Listener:
    """Sets `heard` when the channel is notified. While `is_listening` is False, somebody has to look by himself."""

    def __init__(self, url: str, channel: str, database: Database) -> None:
        # asyncpg reads libpq's URLs, sslmode included.
        self._url = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._channel = channel
        # A channel of its own, so that trying it out wakes nobody else; one for good, since a pooler's connections to
        # the server may keep it.
        self._probe = f"indostar_probe_{uuid4().hex}"
        self._database = database
        self.heard = asyncio.Event()
        self.is_listening = False
        self._is_failing = False

    async def run(self) -> None:
        """Listens until cancelled, again after each outage."""
        while True:
            again_after = TRY_AGAIN_AFTER
            try:
                await self._listen()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, DatabaseUnavailable, DBAPIError) as error:
                self._tell(error)
            except NotToldAnything as error:
                self._tell(error)
                again_after = TRY_A_POOLER_AGAIN_AFTER
            self.is_listening = False
            await asyncio.sleep(again_after)

    def _tell(self, error: Exception) -> None:
        if not self._is_failing:
            self._is_failing = True
            log.info("database.not_listening", channel=self._channel, error=type(error).__name__)

    async def _listen(self) -> None:
        connection = await asyncpg.connect(
            self._url, timeout=HEARD_WITHIN, server_settings={"application_name": "indostar listener"}
        )
        try:
            arrived = asyncio.Event()
            await connection.add_listener(self._probe, lambda *_: arrived.set())
            while True:
                await self._try_out(arrived)
                if not self.is_listening:
                    # Not before: a pooler's connection would go on listening, and others would be told in our stead.
                    await connection.add_listener(self._channel, lambda *_: self.heard.set())
                    self.is_listening, self._is_failing = True, False
                    # What was told before did not arrive.
                    self.heard.set()
                await asyncio.sleep(PROBE_EVERY)
        finally:
            self.is_listening = False
            connection.terminate()

    async def _try_out(self, arrived: asyncio.Event) -> None:
        arrived.clear()
        try:
            async with asyncio.timeout(HEARD_WITHIN):
                async with self._database.autocommit() as other:
                    await other.execute(text("SELECT pg_notify(:channel, '')"), {"channel": self._probe})
                await arrived.wait()
        except TimeoutError:
            raise NotToldAnything from None
