"""The admin API as a process of its own."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.e2e.commands import Command, command
from tests.waiting import until


@dataclass(frozen=True)
class AdminServer:
    """A server that answers on a loopback port."""

    process: Command
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def admin_server(environment: Mapping[str, str]) -> AsyncIterator[AdminServer]:
    async with command("uvicorn", "admin_api:app", "--port", "0", environment=environment) as process:
        [port] = await until(lambda: re.findall(r"running on http://127\.0\.0\.1:(\d+)", process.output))
        yield AdminServer(process, int(port))
