"""The supervisor with children that are small scripts: who is started, replaced and ended, and when."""

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.supervisor.place import Pauses
from app.supervisor.supervisor import Supervisor, SupervisorOptions
from tests.waiting import PATIENCE, until

# A child writes a diary of its life. Files in the same folder say how it is to be, from its next step on.
CHILD = """
import os, signal, socket, sys, time
from pathlib import Path

folder, line = Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[-1]))

def note(what):
    with (folder / "diary").open("a") as diary:
        diary.write(f"{what} {os.getpid()} {time.monotonic()}\\n")

def is_to(be):
    return (folder / be).exists()

def asked(*_):
    note("asked")
    if not is_to("wait for a second signal") and not is_to("be deaf"):
        sys.exit(0)

def hurried(*_):
    note("hurried")
    sys.exit(0)

signal.signal(signal.SIGTERM, asked)
signal.signal(signal.SIGINT, hurried)
note("started")
if is_to("refuse"):
    sys.exit(2)
if is_to("crash"):
    sys.exit(1)
while is_to("be mute"):
    time.sleep(0.01)
note("ready")
line.sendall(b"ready\\n")
line.recv(1)
"""


@dataclass(frozen=True)
class Entry:
    """A line of the diary; `at` in seconds of the monotonic clock."""

    what: str
    pid: int
    at: float


class Stage:
    """What the children of a test are to be like, and what became of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def let(self, *be: str) -> None:
        for each in be:
            (self._folder / each).touch()

    def let_not(self, be: str) -> None:
        (self._folder / be).unlink()

    def diary(self) -> list[Entry]:
        diary = self._folder / "diary"
        lines = diary.read_text().splitlines() if diary.exists() else []
        return [Entry(what, int(pid), float(at)) for what, pid, at in map(str.split, lines)]

    def pids(self, what: str) -> list[int]:
        return [entry.pid for entry in self.diary() if entry.what == what]

    async def until(self, what: str, count: int) -> list[int]:
        """The pids of those who noted it, once there are so many."""

        def enough() -> list[int]:
            pids = self.pids(what)
            return pids if len(pids) >= count else []

        return await until(enough)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@asynccontextmanager
async def supervised(folder: Path, processes: int = 1, **options: Any) -> AsyncIterator[tuple[Supervisor, Any]]:
    """A supervisor and its run, which is stopped and waited for at the end.

    Its children run under the folder's own `python`.
    """
    (folder / "python").symlink_to(sys.executable)
    defaults: dict[str, Any] = {"patience": timedelta(minutes=1), "ready_within": timedelta(minutes=1)}
    supervisor = Supervisor(
        SupervisorOptions(
            command=lambda _place: [str(folder / "python"), "-c", CHILD, str(folder)],
            processes=processes,
            **(defaults | options),
        )
    )
    running = asyncio.create_task(supervisor.run())
    try:
        yield supervisor, running
    finally:
        supervisor.stop()
        async with asyncio.timeout(PATIENCE):
            await running


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_child_that_dies_is_followed_by_another(stage: Stage, tmp_path: Path) -> None:
    async with supervised(tmp_path, processes=2):
        first, second = await stage.until("ready", 2)

        os.kill(first, signal.SIGKILL)

        *_, third = await stage.until("ready", 3)
        assert is_running(second)
        assert third not in {first, second}


async def test_a_crash_loop_slows_down_and_leaves_the_other_place_alone(stage: Stage, tmp_path: Path) -> None:
    async with supervised(tmp_path, processes=2):
        doomed, steady = await stage.until("ready", 2)
        stage.let("crash")
        os.kill(doomed, signal.SIGKILL)

        crashed = await stage.until("started", 2 + 3)
        assert steady not in crashed[2:]
        assert is_running(steady)

        starts = [entry.at for entry in stage.diary() if entry.what == "started"][2:]
        waits = [later - earlier for earlier, later in itertools.pairwise(starts)]
        # Half to full of 1 s and 2 s; the first, of half a second, was before the first of these starts.
        assert waits[0] >= 0.5
        assert waits[1] >= 1

        stage.let_not("crash")
        await stage.until("ready", 3)


async def test_a_system_that_starts_no_more_processes_is_asked_again(stage: Stage, tmp_path: Path) -> None:
    async with supervised(tmp_path) as (supervisor, running):
        [old] = await stage.until("ready", 1)
        (tmp_path / "python").rename(tmp_path / "python that is missed")
        with capture_logs() as logs:
            supervisor.renew()
            await until(lambda: [line for line in logs if line["event"] == "supervisor.child_not_started"])

        assert is_running(old)
        assert not running.done()
        (tmp_path / "python that is missed").rename(tmp_path / "python")
        await stage.until("ready", 2)


async def test_settings_at_fault_end_the_supervisor_with_2(stage: Stage, tmp_path: Path) -> None:
    stage.let("refuse")

    async with supervised(tmp_path, processes=2) as (_, running), asyncio.timeout(PATIENCE):
        assert await running == 2


async def test_where_somebody_serves_settings_at_fault_end_nothing(stage: Stage, tmp_path: Path) -> None:
    async with supervised(tmp_path) as (supervisor, running):
        [old] = await stage.until("ready", 1)
        stage.let("refuse")

        supervisor.renew()
        await stage.until("started", 3)

        assert is_running(old)
        assert not running.done()
        stage.let_not("refuse")
        await stage.until("ready", 2)
        assert await stage.until("asked", 1) == [old]


async def test_each_place_has_its_new_child_before_the_old_one_is_asked_to_go(stage: Stage, tmp_path: Path) -> None:
    async with supervised(tmp_path, processes=2) as (supervisor, _):
        old = await stage.until("ready", 2)

        supervisor.renew()
        asked = await stage.until("asked", 2)

        assert sorted(asked) == sorted(old)
        what = [entry.what for entry in stage.diary()]
        assert what[4:] == ["started", "ready", "asked"] * 2


async def test_a_replacement_that_does_not_get_ready_is_given_up(stage: Stage, tmp_path: Path) -> None:
    async with supervised(tmp_path, ready_within=timedelta(seconds=0.3)) as (supervisor, _):
        [old] = await stage.until("ready", 1)
        stage.let("be mute")

        supervisor.renew()
        [mute, *_] = await stage.until("asked", 1)

        assert mute != old
        assert is_running(old)
        stage.let_not("be mute")
        await until(lambda: old in stage.pids("asked"))
        # Some may have been too slow, but not the one for which the old one had to go.
        assert any(is_running(new) for new in {*stage.pids("ready")} - {*stage.pids("asked")})


async def test_a_child_that_follows_a_dead_one_may_take_its_time(stage: Stage, tmp_path: Path) -> None:
    async with supervised(tmp_path, ready_within=timedelta(0)):
        [first] = await stage.until("ready", 1)
        stage.let("be mute")
        os.kill(first, signal.SIGKILL)
        await stage.until("started", 2)

        stage.let_not("be mute")

        assert (await stage.until("ready", 2))[1] == stage.pids("started")[1]


async def test_a_stop_asks_every_child_once_and_waits_for_it(stage: Stage, tmp_path: Path) -> None:
    async with supervised(tmp_path, processes=3) as (supervisor, running):
        children = await stage.until("ready", 3)

        supervisor.stop()

        async with asyncio.timeout(PATIENCE):
            assert await running == 0
    assert sorted(stage.pids("asked")) == sorted(children)
    assert not any(map(is_running, children))


async def test_a_second_stop_is_passed_on(stage: Stage, tmp_path: Path) -> None:
    stage.let("wait for a second signal")
    async with supervised(tmp_path) as (supervisor, running):
        [child] = await stage.until("ready", 1)
        supervisor.stop()
        await stage.until("asked", 1)
        assert not running.done()

        supervisor.stop()

        async with asyncio.timeout(PATIENCE):
            assert await running == 0
    assert (stage.pids("asked"), stage.pids("hurried")) == ([child], [child])


async def test_a_stop_does_not_hurry_a_child_that_was_replaced_and_drains(stage: Stage, tmp_path: Path) -> None:
    stage.let("be deaf")
    async with supervised(tmp_path, patience=timedelta(seconds=0.5)) as (supervisor, running):
        [old] = await stage.until("ready", 1)
        supervisor.renew()
        await stage.until("asked", 1)

        supervisor.stop()

        async with asyncio.timeout(PATIENCE):
            await running
    new = stage.pids("ready")[1]
    assert stage.pids("asked") == [old, new]


async def test_a_child_that_outstays_its_patience_is_killed(stage: Stage, tmp_path: Path) -> None:
    stage.let("be deaf")
    async with supervised(tmp_path, patience=timedelta(seconds=0.2)) as (supervisor, running):
        [child] = await stage.until("ready", 1)

        supervisor.stop()

        async with asyncio.timeout(PATIENCE):
            assert await running == 1
    assert not is_running(child)


async def test_a_stop_while_a_place_waits_for_its_next_child_is_at_once(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "app.supervisor.place.Pauses", partial(Pauses, first=timedelta(hours=1), cap=timedelta(hours=1))
    )
    stage.let("crash")
    async with supervised(tmp_path) as (supervisor, running):
        [crashed] = await stage.until("started", 1)
        await until(lambda: not is_running(crashed))

        supervisor.stop()

        async with asyncio.timeout(PATIENCE):
            await running
