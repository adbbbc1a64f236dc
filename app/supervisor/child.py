"""One child process, from its start to its end."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from datetime import timedelta
from typing import Self

import structlog

from app.supervisor.line import Word

log = structlog.stdlib.get_logger(__name__)


class Child:
    """A process in a group of its own, so that Ctrl-C in the terminal reaches it through its supervisor only.

    The events say where it stands: `ready` and `retiring` by its own word, `replaced` by its place's, `ended`.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        line: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        patience: timedelta,
    ) -> None:
        self.ready = asyncio.Event()
        self.retiring = asyncio.Event()
        self.replaced = asyncio.Event()
        self.ended = asyncio.Event()
        self._process = process
        # The writer is never written to; closing it tells the child that its supervisor is gone.
        self._words, self._line = line
        self._patience = patience
        self._is_to_end = False
        self._watching = asyncio.create_task(self._watch(), name=f"child {process.pid}")

    @classmethod
    async def start(cls, command: Sequence[str], patience: timedelta) -> Self:
        """Starts `command` with the number of its end of the line added as the last word.

        `patience` is how long it may take to end once it was asked to.
        """
        ours, its = socket.socketpair()
        with its:
            line = await asyncio.open_connection(sock=ours)
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    str(its.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=[its.fileno()],
                    process_group=0,
                )
            except BaseException:
                line[1].close()
                raise
        log.info("supervisor.child_started", child=process.pid)
        return cls(process, line, patience)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; the negative number of the signal that ended it."""
        return self._process.returncode

    def drain(self) -> None:
        """Asks it to end, once; it is killed when its patience is over."""
        if self._is_to_end or self.ended.is_set():
            return
        self._is_to_end = True
        self._send(signal.SIGTERM)
        asyncio.get_running_loop().call_later(self._patience.total_seconds(), self._kill)

    def hurry(self) -> None:
        """Passes on a second signal: what it works on is handed back at once.

        Another one than the first, which others may send to the whole group of processes as well.
        """
        self._send(signal.SIGINT)

    def _send(self, sign: signal.Signals) -> None:
        if not self.ended.is_set():
            # asyncio's own way would look for an exit code first, and may take it from whoever waits for it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sign)

    def _kill(self) -> None:
        if not self.ended.is_set():
            log.error("supervisor.child_killed", child=self.pid, patience_seconds=self._patience.total_seconds())
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def _watch(self) -> None:
        listening = asyncio.create_task(self._listen(), name=f"words of child {self.pid}")
        code = await self._process.wait()
        listening.cancel()
        self._line.close()
        self.ended.set()
        how = {"child": self.pid, "exit": signal.Signals(-code).name if code < 0 else code}
        if self._is_to_end:
            log.info("supervisor.child_ended", **how)
        else:
            log.warning("supervisor.child_lost", **how)

    async def _listen(self) -> None:
        async for line in self._words:
            match line.decode(errors="replace").strip():
                case Word.READY:
                    self.ready.set()
                    log.info("supervisor.child_ready", child=self.pid)
                case Word.RETIRING:
                    self.retiring.set()
                    log.info("supervisor.child_retiring", child=self.pid)
                # After a rolling restart it may be of a later release, and say more.


async def first_of(*events: asyncio.Event, within: timedelta | None = None) -> None:
    """Returns as soon as one of them is set, or the time is over."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(
            waits, timeout=None if within is None else within.total_seconds(), return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        for wait in waits:
            wait.cancel()
