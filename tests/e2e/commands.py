"""Running the project's commands as their users do."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from app.settings import PROJECT_ROOT
from tests.waiting import PATIENCE

# What of this process's environment a command needs to run at all.
PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR")
BIN = Path(sys.executable).parent


class Command:
    """A running command and what it has printed (both streams, in `output`)."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.output = ""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.output += line.decode()

    def send(self, sign: signal.Signals) -> None:
        self.process.send_signal(sign)

    async def exit_code(self) -> int:
        """Waits for its end."""
        async with asyncio.timeout(PATIENCE):
            await self._reading
            return await self.process.wait()


def _hear_everything() -> None:
    """Else a suite that was started under nohup, or in a script's background, hands its deafness down."""
    for sign in (signal.SIGHUP, signal.SIGINT):
        signal.signal(sign, signal.SIG_DFL)


@asynccontextmanager
async def command(
    *arguments: str, environment: Mapping[str, str], folder: Path = PROJECT_ROOT
) -> AsyncIterator[Command]:
    """Starts a program of the venv with this environment and nothing of ours; kills it at the end."""
    program, *rest = arguments
    process = await asyncio.create_subprocess_exec(
        BIN / program,
        *rest,
        cwd=folder,
        env={name: os.environ[name] for name in PASSED_ON if name in os.environ} | dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        preexec_fn=_hear_everything,
    )
    running = Command(process)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await running.exit_code()
        # pytest shows it where the test fails.
        sys.stdout.write(running.output)


async def run_to_end(*arguments: str, environment: Mapping[str, str], folder: Path = PROJECT_ROOT) -> tuple[int, str]:
    """Exit code and output of a command."""
    async with command(*arguments, environment=environment, folder=folder) as running:
        code = await running.exit_code()
        return code, running.output
