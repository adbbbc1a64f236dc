"""Programs that run below this process, are stopped in good order and do not outlive it."""

import asyncio
import contextlib
import ctypes
import functools
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import psutil

from app.dev.unprivileged import DIRECT, Way
from app.errors import NotDone

Check = Callable[[], Awaitable[bool]]

_PR_SET_PDEATHSIG = 1
# Loaded before any fork: between fork and exec there is no place for it.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class ChildDied(NotDone):
    """A child ended that nobody had asked to; a negative `exit_code` is the signal that ended it."""

    def __init__(self, name: str, exit_code: int, last_lines: str) -> None:
        super().__init__(name, exit_code, last_lines)
        self.name = name
        self.exit_code = exit_code
        self.last_lines = last_lines

    def __str__(self) -> str:
        how = (
            f"was ended by {signal.Signals(-self.exit_code).name}"
            if self.exit_code < 0
            else f"ended with exit code {self.exit_code}"
        )
        return f"{self.name} {how}\n{self.last_lines}".rstrip()


class ChildNotReady(NotDone):
    """A child runs but did not become ready in time."""

    def __init__(self, name: str, within: timedelta, last_lines: str) -> None:
        super().__init__(name, within, last_lines)
        self.name = name
        self.within = within
        self.last_lines = last_lines

    def __str__(self) -> str:
        seconds = f"{self.within.total_seconds():g} seconds"
        return f"{self.name} was not ready within {seconds}\n{self.last_lines}".rstrip()


class Child:
    """One program, in a process group of its own so that Ctrl-C in the terminal does not reach it.

    Its output goes to `log` (written anew at each start), or where ours goes. On Linux it gets `death_signal`
    when this process ends, however that happens.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        log: Path | None = None,
        way: Way = DIRECT,
        stop_signal: signal.Signals = signal.SIGTERM,
        death_signal: signal.Signals = signal.SIGKILL,
        grace: timedelta = timedelta(seconds=10),
    ) -> None:
        self.name = name
        self._command = [*way.prefix, *command]
        self._environment = environment
        self._folder = folder
        self._log = log
        self._identity = way.identity()
        self._stop_signal = stop_signal
        self._death_signal = death_signal
        self._grace = grace
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        return self._started.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; the negative number of the signal that ended it."""
        return self._started.returncode

    async def start(self, ready: Check | None = None, *, within: timedelta = timedelta(seconds=60)) -> None:
        """Start it and wait until `ready` is true.

        Raises ChildDied as soon as it ends before that, ChildNotReady after `within`, which stops it.
        """
        with self._log.open("wb") if self._log else contextlib.nullcontext() as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT if output else None,
                env=self._environment,
                cwd=self._folder,
                process_group=0,
                **self._identity,
                # Runs after the change of user, which would clear the signal.
                preexec_fn=functools.partial(end_with_parent, os.getpid(), self._death_signal),
            )
        if ready is None:
            return
        try:
            await self._until(ready, within)
        except BaseException:
            await self.stop()
            raise

    async def run(self) -> None:
        """Start it and wait for its end. Raises ChildDied when that was no success."""
        await self.start()
        try:
            await self.wait()
        finally:
            await self.stop()
        if self.exit_code:
            raise self.died()

    async def wait(self) -> None:
        """Return once it has ended."""
        await self._started.wait()

    async def stop(self) -> None:
        """Ask it to end, and kill its process group when the grace time is over or the caller is cancelled."""
        process = self._started
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, self._stop_signal)
        try:
            async with asyncio.timeout(self._grace.total_seconds()):
                await process.wait()
        except TimeoutError:
            self._kill()
            await process.wait()
        except asyncio.CancelledError:
            self._kill()
            raise

    def last_lines(self, count: int = 15) -> str:
        """The end of its log; empty where its output goes elsewhere."""
        if self._log is None:
            return ""
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - 8192))
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-count:])

    def died(self) -> ChildDied:
        """What to raise now that it has ended."""
        return ChildDied(self.name, self._started.returncode or 0, self.last_lines())

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    @property
    def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process

    async def _until(self, ready: Check, within: timedelta) -> None:
        try:
            async with asyncio.timeout(within.total_seconds()):
                while not await ready():
                    if self.exit_code is not None:
                        raise self.died()
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise ChildNotReady(self.name, within, self.last_lines()) from None


def end_with_parent(parent: int, death_signal: signal.Signals) -> None:
    """This process gets the signal when that parent ends; on Linux; elsewhere nothing happens."""
    if _libc is None:
        return
    _libc.prctl(_PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:  # it ended before we could ask to be told
        os._exit(1)


def end_leftovers(program: str, mark: str, stop_signal: signal.Signals, *, grace: timedelta) -> None:
    """End what a killed parent may have left: processes of `program` with `mark` in their command line."""
    left = [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == program and mark in " ".join(process.info["cmdline"] or ())
    ]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.send_signal(stop_signal)
    _, alive = psutil.wait_procs(left, timeout=grace.total_seconds())
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=grace.total_seconds())
