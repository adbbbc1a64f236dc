"""Time limits of a running job: the soft one asks, the hard one ends it."""

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

R = TypeVar("R")


class SoftTimeLimitExceeded(asyncio.CancelledError):
    """Raised inside a task that has run for its soft time limit: it may clean up and return, soon.

    A CancelledError, because that is what ends the children of a TaskGroup and what an `except Exception` around one
    item of many does not swallow. Catch it by its name, or clean up in `finally`.
    """

    def __str__(self) -> str:
        return "the task ran longer than its soft time limit"


class TimeLimitExceeded(Exception):
    """The task ran for its hard time limit and was ended."""

    def __str__(self) -> str:
        return "the task ran longer than its time limit"


class Interruptible(Generic[R]):
    """Awaits a coroutine into which another exception can be raised than a cancellation.

    `asyncio.Task.cancel()` is the only way to reach a suspended coroutine; here the CancelledError is exchanged for
    the given exception on its way in.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, R]) -> None:
        self._coroutine = coroutine
        self._interruption: BaseException | None = None

    def interrupt(self, task: asyncio.Task[Any], error: BaseException) -> None:
        """Raises `error` where the coroutine is waiting; `task` is the one that awaits this."""
        self._interruption = error
        task.cancel()

    def __await__(self) -> Generator[Any, Any, R]:
        thrown: BaseException | None = None
        sent: Any = None
        while True:
            try:
                waiting_for = self._coroutine.send(sent) if thrown is None else self._coroutine.throw(thrown)
            except StopIteration as stop:
                result: R = stop.value
                return result
            try:
                sent, thrown = (yield waiting_for), None
            except BaseException as error:  # noqa: BLE001 -- every exception belongs to the coroutine
                sent, thrown = None, error
                if isinstance(error, asyncio.CancelledError) and self._interruption is not None:
                    thrown, self._interruption = self._interruption, None
                    task = asyncio.current_task()
                    if task is not None:
                        task.uncancel()
