"""Ending work at one of its awaits, as a death or a cancellation would."""

import asyncio
import types
from collections.abc import Coroutine, Generator
from itertools import count
from typing import Any


@types.coroutine
def ended_at(step: int, work: Coroutine[Any, Any, Any]) -> Generator[Any, Any, bool]:
    """Runs it and cancels it at its so-manieth await; whether it came to its end before."""
    sent = None
    error: BaseException | None = None
    for number in count(1):
        try:
            waiting_for = work.send(sent) if error is None else work.throw(error)
        except StopIteration:
            return True
        except asyncio.CancelledError:
            return False
        sent = error = None
        if number == step:
            if waiting_for is None:
                error = asyncio.CancelledError()
                continue
            waiting_for.cancel()
        try:
            sent = yield waiting_for
        except BaseException as thrown:  # noqa: BLE001 -- handed on
            error = thrown
    raise AssertionError("count() never ends")
