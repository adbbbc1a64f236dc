"""Noticing that the server is about to stop: it waits for open answers before it tells the app."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_stop_signal(act: Callable[[], None]) -> Iterator[None]:
    """Has `act` called in the running loop when the process is told to stop, beside what is done about that anyway.

    Does nothing outside of the main thread, which alone hears of signals, or where nobody handles them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    restored = {}
    for number in SIGNALS:
        handler = signal.getsignal(number)
        if callable(handler):
            restored[number] = handler
            signal.signal(number, _both(lambda: loop.call_soon_threadsafe(act), handler))
    try:
        yield
    finally:
        for number, handler in restored.items():
            signal.signal(number, handler)


def _both(
    first: Callable[[], object], then: Callable[[int, FrameType | None], object]
) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, frame: FrameType | None) -> None:
        first()
        then(number, frame)

    return handle
