"""A worker that runs every due notification to its end, or kills itself at the n-th await on the way there.

Everything in it is real: our worker and its resources, Redis, PostgreSQL, and the providers that the environment
names. The awaits of every asyncio task count, from the moment the job starts.
"""

import asyncio
import os
import signal
from collections.abc import Coroutine, Generator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import SecretStr

from app.db.engine import Database
from app.jobs.context import Resources
from app.jobs.pool import JobPool
from app.jobs.queues import Queue
from app.jobs.worker import Worker, WorkerOptions
from app.notify.ledger import MessageLedger
from app.notify.messenger import Messenger
from app.providers.http import http_client
from app.providers.twilio import Twilio
from app.settings import Settings
from app.tasks import TASKS
from app.tasks.resources import email_provider

LEASE = timedelta(milliseconds=300)


class Countdown:
    """A task factory that kills the process at the n-th await after a job started; 0 never does."""

    def __init__(self, fatal: int) -> None:
        self._fatal = fatal
        self._awaits = 0
        self._armed = False

    def task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        self._armed |= coroutine.__qualname__ == "RunningJobs._run"
        return asyncio.Task(self._counted(coroutine), loop=loop, **options)

    async def _counted(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return await _Counted(coroutine, self)

    def note_await(self) -> None:
        self._awaits += self._armed
        if self._armed and self._awaits == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)


class _Counted:
    """Awaits a coroutine, and tells each time it is suspended."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], countdown: Countdown) -> None:
        self._coroutine = coroutine
        self._countdown = countdown

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._coroutine.__await__()
        thrown: BaseException | None = None
        sent: Any = None
        while True:
            try:
                waiting_for = inner.send(sent) if thrown is None else inner.throw(thrown)
            except StopIteration as stop:
                return stop.value
            self._countdown.note_await()
            try:
                sent, thrown = (yield waiting_for), None
            except BaseException as error:  # noqa: BLE001 -- every exception belongs to the coroutine
                sent, thrown = None, error


def late() -> datetime:
    """A time at which Twilio's list shows everything sent until now."""
    return datetime.now(UTC) + timedelta(minutes=5)


async def run(settings: Settings, fatal: int) -> None:
    asyncio.get_running_loop().set_task_factory(Countdown(fatal).task)
    pool = JobPool.from_dsn(settings.redis_url.get_secret_value(), TASKS)
    database = Database(settings.database_url.get_secret_value(), application_name="dying worker")
    async with http_client() as client:
        sms = Twilio(
            client,
            base_url=settings.twilio_base_url,
            account_sid=settings.twilio_account_sid or "",
            auth_token=settings.twilio_auth_token or SecretStr(""),
            phone_number=settings.twilio_phone_number or "",
            now=late,
        )
        email = email_provider("sendgrid", settings, client)
        ledger = MessageLedger(database)
        messenger = Messenger(
            ledger,
            [email],
            [sms],
            resend_unknown_mail=True,
            resend_unknown_sms=True,
            # Nobody else is alive.
            longest_send=timedelta(0),
        )
        options = WorkerOptions(slots={Queue.NOTIFICATIONS: 1}, health_key="health", lease=LEASE, burst=True)
        await Worker(pool, Resources([settings, database, messenger]), options).run()
    await database.close()
    await pool.aclose()


def main(environment: Mapping[str, str], fatal: int) -> None:
    """What `multiprocessing` starts; it ends with exit code 0 if it lived to the end."""
    values: dict[str, Any] = {name.lower(): value for name, value in environment.items()}
    asyncio.run(run(Settings(_env_file=None, **values), fatal))
