"""What runs beside the jobs: it is started again when it fails, and its failure is told once."""

import asyncio

import pytest
from structlog.testing import capture_logs

from app.errors import Unavailable
from app.jobs.companions import catch_up, keep_running


class Faltering:
    """Raises what it has left to raise, then runs until it may end."""

    name = "faltering"

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.starts = 0
        self.caught_up = 0

    async def run(self) -> None:
        self.starts += 1
        if self.errors:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._fail())

    async def catch_up(self) -> None:
        if self.errors:
            await self._fail()
        self.caught_up += 1

    async def _fail(self) -> None:
        raise self.errors.pop(0)


class Plain:
    """Nobody has to wait for it."""

    name = "plain"

    async def run(self) -> None:
        raise AssertionError("it is not to be started")


@pytest.mark.parametrize(
    ("error", "told"),
    [(Unavailable("away"), ("warning", "companion.waits")), (KeyError("x"), ("error", "companion.failed"))],
    ids=["outage", "fault"],
)
async def test_one_that_fails_is_started_again_and_told_of_once(error: Exception, told: tuple[str, str]) -> None:
    companion = Faltering(error, error, error)

    with capture_logs() as lines:
        await keep_running(companion)

    assert companion.starts == 4
    assert [(line["log_level"], line["event"], line["companion"]) for line in lines] == [(*told, "faltering")]


async def test_catching_up_is_waited_for_where_somebody_can() -> None:
    companion = Faltering(Unavailable("away"))

    with capture_logs() as lines:
        await catch_up([Plain(), companion])

    assert companion.caught_up == 1
    assert [line["event"] for line in lines] == ["companion.waits"]


async def test_it_ends_when_it_is_cancelled() -> None:
    class Endless(Plain):
        async def run(self) -> None:
            await asyncio.Event().wait()

    running = asyncio.create_task(keep_running(Endless()))
    await asyncio.sleep(0)

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
