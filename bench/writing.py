"""A customer who writes all the time, from outside: the process is `bench.measured.writer`."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.settings import PROJECT_ROOT


@dataclass(frozen=True, slots=True)
class Writes:
    """What became of a customer's writes for a while: of a hundred, one takes `p99_ms` or longer."""

    per_second: float
    p99_ms: float
    longest_ms: float


class Writer:
    """One who is at work."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def since(self) -> Writes:
        """What it did since it was last asked."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        return Writes(**json.loads(await self._line()))

    async def is_warm(self) -> None:
        await self._line()

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        return await self._process.stdout.readline()


@asynccontextmanager
async def writer(url: str, statement: str) -> AsyncIterator[Writer]:
    """It executes the statement, whose argument is a customer, without a pause until the block ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.measured.writer", url, statement),
        cwd=PROJECT_ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        writer = Writer(process)
        await writer.is_warm()
        yield writer
    finally:
        process.kill()
        await process.wait()
