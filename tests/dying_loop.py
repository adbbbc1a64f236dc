"""An event loop that dies at a turn that a test names, as a process does: nothing is told, nothing is cleaned up."""

import asyncio
import gc
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any


class _Died(BaseException):
    pass


class _DyingLoop(asyncio.SelectorEventLoop):
    def __init__(self, turns: int) -> None:
        super().__init__()
        self._turns = turns

    def _run_once(self) -> None:
        if self._turns == 0:
            raise _Died
        self._turns -= 1
        super()._run_once()  # type: ignore[misc]  # asyncio's own

    def leave(self) -> None:
        """Closes all sockets, so that their other ends notice, and nothing else."""
        for key in list(self._selector.get_map().values()):  # type: ignore[attr-defined]  # asyncio's own
            transport = getattr(getattr(key.data[0] or key.data[1], "_callback", None), "__self__", None)
            sock = getattr(transport, "_sock", None)
            if isinstance(sock, socket.socket):
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def deaths() -> Iterator[None]:
    """A block in which loops die: what they leave behind is swept up at its end, and nobody else hears of it."""
    gc.disable()
    told, sys.unraisablehook = sys.unraisablehook, lambda _unraisable: None
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()
        gc.enable()
        sys.unraisablehook = told


async def dies_at(turn: int, work: Callable[[], Coroutine[Any, Any, Any]]) -> bool:
    """Runs the work in a loop of its own, which dies at its n-th turn; whether the work came to its end before."""

    def live() -> bool:
        loop = _DyingLoop(turn)
        # What is left behind complains about that: tasks that were never ended, sockets that were never closed.
        loop.set_exception_handler(lambda _loop, _context: None)
        try:
            loop.run_until_complete(_quietly(work()))
        except _Died:
            loop.leave()
            return False
        return True

    lived: list[bool] = []
    thread = threading.Thread(target=lambda: lived.append(live()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        thread.start()
        await asyncio.to_thread(thread.join)
    return lived[0]


async def _quietly(work: Coroutine[Any, Any, Any]) -> None:
    # What ends a job in its own way is an end, too.
    with suppress(Exception):
        await work
