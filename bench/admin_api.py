"""The admin API as a process, to be measured."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from app.dev.environment import development_settings
from app.dev.processes import Child
from app.dev.state import kept_port
from app.settings import PROJECT_ROOT
from bench.trial import NO_DATABASE, NOWHERE


@asynccontextmanager
async def open_admin_api(
    folder: Path, redis_url: str, database_url: str = NO_DATABASE
) -> AsyncIterator[tuple[int, str, Child]]:
    """Its port, a token for it, and its process."""
    port = kept_port(folder / "api-port")
    settings = development_settings(folder, NOWHERE, 9)
    environment = {
        **os.environ,
        **settings,
        "ENVIRONMENT": "production",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "LOG_LEVEL": "WARNING",
    }
    command = (sys.executable, "-m", "uvicorn", "admin_api:app", "--port", str(port), "--no-access-log")
    api = Child("admin API", command, environment=environment, folder=PROJECT_ROOT, log=folder / "api.log")

    async def answers() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    await api.start(answers)
    try:
        yield port, settings["ADMIN_API_TOKEN"], api
    finally:
        await api.stop()
