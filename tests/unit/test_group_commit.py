import asyncio
from collections.abc import Iterable, Sequence
from typing import TypeVar

import pytest

from app.db.group_commit import WRITERS, GroupCommit
from app.errors import Unavailable

T = TypeVar("T")
# Seconds after which a test gives up.
PATIENCE = 10


async def gather(answers: Iterable[asyncio.Future[T]]) -> list[T | BaseException]:
    return await asyncio.gather(*answers, return_exceptions=True)


async def test_what_comes_while_a_write_is_on_its_way_goes_together() -> None:
    batches: list[list[int]] = []
    first_may_end = asyncio.Event()

    async def write(items: Sequence[int]) -> Sequence[int]:
        batches.append(list(items))
        if len(batches) <= WRITERS:
            await first_may_end.wait()
        return [item * 10 for item in items]

    group = GroupCommit(write)
    first = []
    for number in range(WRITERS):
        first.append(group.submit(number))
        while len(batches) <= number:
            await asyncio.sleep(0)
    others = [group.submit(number) for number in range(5, 9)]
    await asyncio.sleep(0)
    first_may_end.set()

    assert await asyncio.gather(*first, *others) == [0, 10, 50, 60, 70, 80]
    assert batches == [[0], [1], [5, 6, 7, 8]]


async def test_who_submits_at_the_moment_when_a_writer_ends_does_not_wait_for_it() -> None:
    async def write(items: Sequence[int]) -> Sequence[int]:
        return items

    group = GroupCommit(write, writers=1)
    async with asyncio.timeout(PATIENCE):
        for number in range(3):
            assert await group.submit(number) == number


async def test_one_item_that_can_not_be_written_does_not_take_the_others_along() -> None:
    async def write(items: Sequence[str]) -> Sequence[str]:
        if "bad" in items:
            raise ValueError("bad")
        return items

    group = GroupCommit(write)
    results = await gather(map(group.submit, ["a", "bad", "b"]))

    assert [str(result) for result in results] == ["a", "bad", "b"]
    assert isinstance(results[1], ValueError)


async def test_where_nobody_can_write_nothing_is_tried_one_by_one() -> None:
    calls: list[int] = []

    async def write(items: Sequence[int]) -> Sequence[int]:
        calls.append(len(items))
        raise Unavailable("down")

    group = GroupCommit(write)
    results = await gather(map(group.submit, range(5)))

    assert all(isinstance(result, Unavailable) for result in results)
    assert calls == [5]


async def test_who_was_cancelled_before_the_write_is_left_out() -> None:
    written: list[int] = []

    async def write(items: Sequence[int]) -> Sequence[int]:
        written.extend(items)
        return items

    group = GroupCommit(write)
    wanted, unwanted = group.submit(1), group.submit(2)
    unwanted.cancel()

    assert await wanted == 1
    with pytest.raises(asyncio.CancelledError):
        await unwanted
    assert written == [1]


async def test_what_passes_is_written_again_as_often_as_was_asked_for() -> None:
    calls: list[list[str]] = []

    async def write(items: Sequence[str]) -> Sequence[str]:
        calls.append(list(items))
        if len(calls) < 3:
            raise Unavailable("down")
        return items

    impatient, patient = GroupCommit(write, tries=2), GroupCommit(write, tries=None)
    with pytest.raises(Unavailable):
        await impatient.submit("a")
    assert calls == [["a"], ["a"]]

    calls.clear()
    answer = patient.submit("b")
    await patient.drained()

    assert answer.result() == "b"
    assert calls == [["b"], ["b"], ["b"]]


async def test_what_does_not_pass_is_not_written_again() -> None:
    calls: list[list[str]] = []

    async def write(items: Sequence[str]) -> Sequence[str]:
        calls.append(list(items))
        raise ValueError("never")

    group = GroupCommit(write, tries=None, is_passing=lambda error: not isinstance(error, ValueError))
    with pytest.raises(ValueError, match="never"):
        await group.submit("a")

    assert calls == [["a"]]
