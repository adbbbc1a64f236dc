"""Wait for a state, never for a time."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

import pytest

T = TypeVar("T")


@overload
async def until(check: Callable[[], Coroutine[Any, Any, T]], *, within: float, every: float = 0.02) -> T: ...
@overload
async def until(check: Callable[[], T], *, within: float, every: float = 0.02) -> T: ...
async def until(check: Callable[[], Any], *, within: float, every: float = 0.02) -> Any:
    """The first true value of `check`, asked every so many seconds. Fails the test after `within` seconds."""
    value: Any = None
    try:
        async with asyncio.timeout(within):
            while True:
                answer = check()
                value = await answer if inspect.isawaitable(answer) else answer
                if value:
                    return value
                await asyncio.sleep(every)
    except TimeoutError:
        pytest.fail(f"{getattr(check, '__name__', check)} was still {value!r} after {within:g} seconds")
