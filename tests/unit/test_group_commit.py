import asyncio
from collections.abc import Sequence

import pytest

from app.db.group_commit import GroupCommit
from app.errors import Unavailable


async def test_what_comes_while_a_write_is_on_its_way_goes_together() -> None:
    batches: list[list[int]] = []
    first_may_end = asyncio.Event()

    async def write(items: Sequence[int]) -> Sequence[int]:
        batches.append(list(items))
        if len(batches) == 1:
            await first_may_end.wait()
        return [item * 10 for item in items]

    group = GroupCommit(write)
    first = asyncio.create_task(group.submit(0))
    while not batches:
        await asyncio.sleep(0)
    others = [asyncio.create_task(group.submit(number)) for number in range(1, 5)]
    await asyncio.sleep(0)
    first_may_end.set()

    assert await asyncio.gather(first, *others) == [0, 10, 20, 30, 40]
    assert batches == [[0], [1, 2, 3, 4]]


async def test_one_item_that_can_not_be_written_does_not_take_the_others_along() -> None:
    async def write(items: Sequence[str]) -> Sequence[str]:
        if "bad" in items:
            raise ValueError("bad")
        return items

    group = GroupCommit(write)
    results = await asyncio.gather(*map(group.submit, ["a", "bad", "b"]), return_exceptions=True)

    assert [str(result) for result in results] == ["a", "bad", "b"]
    assert isinstance(results[1], ValueError)


async def test_where_nobody_can_write_nothing_is_tried_one_by_one() -> None:
    calls: list[int] = []

    async def write(items: Sequence[int]) -> Sequence[int]:
        calls.append(len(items))
        raise Unavailable("down")

    group = GroupCommit(write)
    results = await asyncio.gather(*map(group.submit, range(5)), return_exceptions=True)

    assert all(isinstance(result, Unavailable) for result in results)
    assert calls == [5]


async def test_who_was_cancelled_before_the_write_is_left_out() -> None:
    written: list[int] = []

    async def write(items: Sequence[int]) -> Sequence[int]:
        written.extend(items)
        return items

    group = GroupCommit(write)
    wanted, unwanted = asyncio.create_task(group.submit(1)), asyncio.create_task(group.submit(2))
    asyncio.get_running_loop().call_soon(unwanted.cancel)

    assert await wanted == 1
    with pytest.raises(asyncio.CancelledError):
        await unwanted
    assert written == [1]
