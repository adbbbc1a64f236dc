"""Wait for a state, never for a time."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

import pytest

T = TypeVar("T")

# Seconds after which a test gives up. Far beyond what anything takes here: a busy machine may stall for seconds.
PATIENCE = 60.0


@overload
async def until(check: Callable[[], Coroutine[Any, Any, T]], *, every: float = 0.02) -> T: ...
@overload
async def until(check: Callable[[], T], *, every: float = 0.02) -> T: ...
async def until(check: Callable[[], Any], *, every: float = 0.02) -> Any:
    """The first true value of `check`, asked every so many seconds. Fails the test where there is none."""
    value: Any = None
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = check()
                value = await answer if inspect.isawaitable(answer) else answer
                if value:
                    return value
                await asyncio.sleep(every)
    except TimeoutError:
        pytest.fail(f"{getattr(check, '__name__', check)} was still {value!r} after {PATIENCE:g} seconds")
