"""The whole shop on this machine: started in order, watched, and stopped in reverse."""

import asyncio
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import redis
import redis.asyncio
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from app.db.engine import Database
from app.dev.demo_day import run_demo_day
from app.dev.demo_gateway import open_accounts
from app.dev.demo_shop import seed
from app.dev.environment import development_settings, shop_environment, write_exports
from app.dev.postgres import EmbeddedPostgres
from app.dev.processes import Check, Child
from app.dev.state import free_port, locked
from app.dev.valkey import EmbeddedValkey
from app.errors import Unavailable
from app.jobs.registry import is_alive
from app.settings import PROJECT_ROOT

ADMIN_API_PORT = 8000
FAKES_PORT = 8025
FAKES_SMTP_PORT = 1025


class ServerUnreachable(Unavailable):
    """The server that a set URL names can't be used, and no other takes its place."""

    def __init__(self, variable: str, reason: str) -> None:
        super().__init__(variable, reason)
        self.variable = variable
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.variable} is set, but its server can't be used: {self.reason}"


class Launcher:
    """One run of the shop, with all that it keeps in the folder `state`."""

    def __init__(self, state: Path, console: Console) -> None:
        self._state = state.resolve()
        self._console = console
        self._running = AsyncExitStack()
        self._dead: Child | None = None

    async def run(self, *, once: bool) -> bool:
        """Serve until told to stop, or (`once`) for one day of the shop; whether that went well.

        SIGINT, SIGTERM and SIGHUP stop it; a second one kills the child that is just being stopped. Raises
        FolderInUse, ServerUnreachable, ServerNotInstalled, ChildDied or ChildNotReady.
        """
        endings = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # started by nohup
            endings.remove(signal.SIGHUP)
        for ending in endings:
            asyncio.get_running_loop().add_signal_handler(ending, _current_task().cancel)
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with locked(self._state):
                async with self._running:
                    environment = await self._start(quiet=once)
                    if once:
                        return await run_demo_day(environment)
                    await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self._dead:
                raise self._dead.died() from None
        return not once

    async def _start(self, *, quiet: bool) -> dict[str, str]:
        """Start everything; the environment it all has. `quiet` sends the worker's and the API's output to files."""
        fakes_port, smtp_port, api_port = free_port(FAKES_PORT), free_port(FAKES_SMTP_PORT), free_port(ADMIN_API_PORT)
        fakes_url, api_url = (f"http://127.0.0.1:{port}" for port in (fakes_port, api_port))
        ours = development_settings(self._state, fakes_url, smtp_port)
        environment = shop_environment(ours)
        http = await self._running.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=2))

        await self._start_servers(environment)
        self._tell("migrations and demo shop")
        await self._child("migrate", "app", "migrate", environment=environment).run()
        await seed(environment["DATABASE_URL"], environment["REDIS_URL"])

        await self._start_child(
            self._child(
                "fakes",
                *("app", "fakes", "--port", str(fakes_port), "--smtp-port", str(smtp_port)),
                environment=environment,
            ),
            ready=_answers(http, f"{fakes_url}/healthz"),
        )
        if environment["RAZORPAY_BASE_URL"] == fakes_url:
            await open_accounts(environment["DATABASE_URL"], fakes_url)
        await self._start_child(
            self._child(
                "worker",
                *("arq", "worker.WorkerSettings"),
                environment=environment,
                quiet=quiet,
                # It sets itself a limit (SHUTDOWN_GRACE_SECONDS); this one is for a worker that hangs.
                grace=timedelta(minutes=2),
            ),
            ready=lambda: is_alive(environment["REDIS_URL"]),
        )
        await self._start_child(
            self._child(
                "admin-api",
                *("uvicorn", "admin_api:app", "--host", "127.0.0.1", "--port", str(api_port)),
                # Readers of the event stream would keep it open for ever.
                *("--timeout-graceful-shutdown", "3"),
                environment=environment,
                quiet=quiet,
            ),
            ready=_answers(http, f"{api_url}/readyz"),
        )

        exports = self._state / "environment"
        write_exports(exports, environment, [*ours, "DATABASE_URL", "REDIS_URL"])
        self._show(
            {
                "PostgreSQL": _without_credentials(environment["DATABASE_URL"]),
                "Redis": _without_credentials(environment["REDIS_URL"]),
                "Mail and SMS that were sent": fakes_url,
                "Admin API": f"{api_url}/docs",
                "Data and logs": str(self._state),
                "Tokens and other settings": f"source {exports}",
            }
        )
        return environment

    async def _start_servers(self, environment: dict[str, str]) -> None:
        """Reach the servers whose URLs are set, start the others and set theirs."""
        if url := environment.get("DATABASE_URL"):
            await _reach_postgres(url)
        else:
            self._tell("PostgreSQL")
            postgres = await self._running.enter_async_context(EmbeddedPostgres(self._state))
            self._watch(postgres.child)
            environment["DATABASE_URL"] = postgres.url
        if url := environment.get("REDIS_URL"):
            await _reach_redis(url)
        else:
            self._tell("Valkey")
            valkey = await self._running.enter_async_context(EmbeddedValkey(self._state))
            self._watch(valkey.child)
            environment["REDIS_URL"] = valkey.url

    def _child(
        self,
        name: str,
        *module: str,
        environment: Mapping[str, str],
        quiet: bool = True,
        grace: timedelta = timedelta(seconds=10),
    ) -> Child:
        return Child(
            name,
            [sys.executable, "-m", *module],
            environment=environment,
            folder=PROJECT_ROOT,
            log=self._state / f"{name}.log" if quiet else None,
            grace=grace,
        )

    async def _start_child(self, child: Child, ready: Check) -> None:
        self._tell(child.name)
        await child.start(ready)
        self._running.push_async_callback(child.stop)
        self._watch(child)

    def _watch(self, child: Child) -> None:
        """End the run as soon as this child ends before it is asked to."""
        run = _current_task()

        async def watch() -> None:
            await child.wait()
            self._dead = self._dead or child
            run.cancel()

        self._running.callback(asyncio.create_task(watch()).cancel)

    def _tell(self, what: str) -> None:
        self._console.print(f"Starting {what}", style="dim")

    def _show(self, places: Mapping[str, str]) -> None:
        table = Table(box=None, show_header=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, place in places.items():
            table.add_row(name, place)
        self._console.print(table)


def _current_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("no task is running")
    return task


def _answers(http: httpx.AsyncClient, url: str) -> Check:
    async def answers() -> bool:
        try:
            return (await http.get(url)).is_success
        except httpx.TransportError:
            return False

    return answers


async def _reach_postgres(url: str) -> None:
    try:
        database = Database(url, application_name="indostar run", pool_size=1)
        try:
            await database.ping()
        finally:
            await database.close()
    except (Unavailable, SQLAlchemyError, asyncpg.PostgresError, ValueError) as error:
        # SQLAlchemy adds lines of its own to what the server said.
        reason = str(getattr(error, "orig", error))
        raise ServerUnreachable("DATABASE_URL", reason) from error


async def _reach_redis(url: str) -> None:
    try:
        async with redis.asyncio.Redis.from_url(url, socket_connect_timeout=10) as client:
            await client.ping()
    except (redis.RedisError, ValueError) as error:
        raise ServerUnreachable("REDIS_URL", str(error)) from error


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
