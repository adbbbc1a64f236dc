"""The line between a supervisor and its child: a socket pair on which the child says where it stands."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from enum import StrEnum


class Word(StrEnum):
    """What a child may say, one word a line."""

    READY = "ready"  # it serves
    RETIRING = "retiring"  # it wants to be replaced, and goes on serving until SIGTERM


class LineToSupervisor:
    """The child's end; `fd` is the descriptor that it was started with. Raises OSError where that is no socket."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)

    def say(self, word: Word) -> None:
        # A supervisor that is gone is noticed by `when_gone`.
        with contextlib.suppress(OSError):
            self._socket.sendall(f"{word}\n".encode())

    def when_gone(self, act: Callable[[], None]) -> None:
        """Calls `act` once, in the running loop, when the supervisor has ended, however that happened."""
        loop = asyncio.get_running_loop()

        def hear() -> None:
            # It never says anything: what can be read is the end.
            loop.remove_reader(self._socket)
            act()

        loop.add_reader(self._socket, hear)
