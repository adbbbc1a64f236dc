"""Tasks that swallow a cancellation end all the same."""

import asyncio
from typing import Any

import pytest

from app.jobs import ending
from app.jobs.ending import end, run_together


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "CANCEL_AGAIN", 0.01)


async def deaf(times: int, heard: list[Any]) -> None:
    """Swallows so many cancellations."""
    while len(heard) < times:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heard.append("cancelled")
    await asyncio.Event().wait()


async def test_a_task_that_swallows_its_cancellation_is_cancelled_again() -> None:
    heard: list[Any] = []
    task = asyncio.create_task(deaf(2, heard))
    await asyncio.sleep(0)

    await end([task])

    assert task.cancelled()
    assert len(heard) == 2


async def test_loops_that_swallow_cancellations_end_with_who_runs_them() -> None:
    heard: list[Any] = []
    running = asyncio.create_task(run_together(deaf_one=deaf(3, heard), other=deaf(0, [])))
    await asyncio.sleep(0.001)

    await end([running])

    assert running.cancelled()
    assert len(heard) == 3


async def test_the_error_of_one_loop_ends_the_others() -> None:
    async def failing() -> None:
        raise ValueError("no milk")

    with pytest.raises(ValueError, match="no milk"):
        await run_together(failing=failing(), other=deaf(0, []))
