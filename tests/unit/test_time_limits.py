import asyncio

import pytest

from app.jobs.time_limits import Interruptible, SoftTimeLimitExceeded


async def start(interruptible: Interruptible[str]) -> asyncio.Task[str]:
    async def run() -> str:
        return await interruptible

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    return task


async def test_a_coroutine_that_is_not_interrupted_returns_its_result() -> None:
    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    assert await Interruptible(work()) == "done"


async def test_the_interruption_is_raised_inside_and_may_be_handled() -> None:
    cleaned_up: list[str] = []

    async def work() -> str:
        try:
            await asyncio.Event().wait()
        except SoftTimeLimitExceeded:
            await asyncio.sleep(0)
            cleaned_up.append("yes")
        return "partial"

    interruptible = Interruptible(work())
    task = await start(interruptible)

    interruptible.interrupt(task, SoftTimeLimitExceeded())

    assert await task == "partial"
    assert cleaned_up == ["yes"]
    assert task.cancelling() == 0


async def test_an_interruption_that_is_not_handled_ends_the_task() -> None:
    async def work() -> str:
        await asyncio.Event().wait()
        return "never"

    interruptible = Interruptible(work())
    task = await start(interruptible)

    interruptible.interrupt(task, SoftTimeLimitExceeded())

    with pytest.raises(SoftTimeLimitExceeded):
        await task


async def test_a_cancellation_stays_a_cancellation() -> None:
    async def work() -> str:
        await asyncio.Event().wait()
        return "never"

    task = await start(Interruptible(work()))

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_code_that_swallows_errors_does_not_swallow_the_limit() -> None:
    async def work() -> str:
        for _ in range(3):
            try:
                await asyncio.Event().wait()
            except Exception:  # noqa: BLE001 -- what sloppy code does
                continue
        return "never"

    interruptible = Interruptible(work())
    task = await start(interruptible)

    interruptible.interrupt(task, SoftTimeLimitExceeded())

    with pytest.raises(SoftTimeLimitExceeded):
        await task


async def test_a_task_group_inside_leaves_no_child_behind() -> None:
    children: list[asyncio.Task[None]] = []

    async def child() -> None:
        await asyncio.Event().wait()

    async def work() -> str:
        async with asyncio.TaskGroup() as group:
            children.append(group.create_task(child()))
        return "never"

    interruptible = Interruptible(work())
    task = await start(interruptible)

    interruptible.interrupt(task, SoftTimeLimitExceeded())

    with pytest.raises(SoftTimeLimitExceeded):
        await task
    assert all(child.done() for child in children)
