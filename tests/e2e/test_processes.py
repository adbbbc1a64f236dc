"""Children end when they are asked to, when their parent is killed, and never unnoticed."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import psutil
import pytest

from app.dev import unprivileged
from app.dev.processes import Child, ChildDied, ChildNotReady
from app.settings import PROJECT_ROOT
from tests.folders import open_folder
from tests.waiting import PATIENCE, until

IGNORES_SIGTERM = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(subprocess.Popen(["sleep", "600"]).pid, flush=True)
time.sleep(600)
"""

PARENT = """
import asyncio, sys
from pathlib import Path
from app.dev import unprivileged
from app.dev.postgres import EmbeddedPostgres
from app.dev.processes import Child
from app.dev.valkey import EmbeddedValkey

async def main(folder, way):
    postgres = EmbeddedPostgres(folder, durable=False, way=getattr(unprivileged, way, None))
    async with postgres, EmbeddedValkey(folder):
        await Child("sleeper", ["sleep", "600"]).start()
        print(postgres.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


def python(script: str, *arguments: str | Path, log: Path, grace: timedelta = timedelta(seconds=10)) -> Child:
    command = [sys.executable, "-c", script, *arguments]
    return Child("script", command, folder=PROJECT_ROOT, log=log, grace=grace)


def has_ended(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def with_a_busy_session(pid: int) -> list[psutil.Process]:
    """All processes below this one, once a PostgreSQL session among them executes a statement."""
    family = psutil.Process(pid).children(recursive=True)
    return family if any("SELECT" in " ".join(process.cmdline()) for process in family) else []


async def never() -> bool:
    return False


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
@pytest.mark.parametrize("way", ["NAMESPACE", "NOBODY"] if os.geteuid() == 0 else ["whichever works"])
async def test_kill_9_of_the_parent_leaves_no_process_behind(way: str, folder: Path, tmp_path: Path) -> None:
    if not unprivileged.runs(getattr(unprivileged, way, unprivileged.DIRECT), ["true"]):
        pytest.skip("this machine does not allow it")
    parent = python(PARENT, folder, way, log=tmp_path / "log")
    await parent.start()
    url = await until(parent.last_lines)
    connection = await asyncpg.connect(url, ssl=False)
    busy = asyncio.create_task(connection.execute("SELECT count(*) FROM generate_series(1, 10000000000)"))
    family = await until(lambda: with_a_busy_session(parent.pid))

    os.kill(parent.pid, signal.SIGKILL)

    try:
        await until(lambda: all(map(has_ended, family)))
    finally:
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await busy
    await parent.wait()


async def test_child_that_dies_before_it_is_ready_is_noticed_with_its_last_lines(tmp_path: Path) -> None:
    child = python("print('reading', flush=True); raise SystemExit('no milk today')", log=tmp_path / "log")

    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ChildDied) as died:
            await child.start(never, within=timedelta(minutes=1))

    assert str(died.value).splitlines() == ["script ended with exit code 1", "reading", "no milk today"]


async def test_child_that_is_not_ready_in_time_is_stopped(tmp_path: Path) -> None:
    child = Child("sleeper", ["sleep", "600"], log=tmp_path / "log")

    with pytest.raises(ChildNotReady, match=r"sleeper was not ready within 0\.1 seconds"):
        await child.start(never, within=timedelta(seconds=0.1))

    assert child.exit_code == -signal.SIGTERM


async def test_child_that_a_signal_ended_says_which(tmp_path: Path) -> None:
    child = Child("sleeper", ["sleep", "600"], log=tmp_path / "log")
    await child.start()

    os.kill(child.pid, signal.SIGKILL)
    await child.wait()

    assert str(child.died()) == "sleeper was ended by SIGKILL"


async def test_child_that_will_not_stop_is_killed_with_its_own_children(tmp_path: Path) -> None:
    child = python(IGNORES_SIGTERM, log=tmp_path / "log", grace=timedelta(seconds=0.1))
    await child.start()
    grandchild = psutil.Process(int(await until(child.last_lines)))

    await child.stop()

    assert child.exit_code == -signal.SIGKILL
    await until(lambda: has_ended(grandchild))


async def test_a_stop_that_is_cancelled_kills_the_child(tmp_path: Path) -> None:
    child = python(IGNORES_SIGTERM, log=tmp_path / "log", grace=timedelta(minutes=5))
    await child.start()
    await until(child.last_lines)
    stop = asyncio.create_task(child.stop())
    await asyncio.sleep(0)

    stop.cancel()

    async with asyncio.timeout(PATIENCE):
        await child.wait()
    assert child.exit_code == -signal.SIGKILL


async def test_ctrl_c_in_the_terminal_does_not_reach_a_child() -> None:
    child = Child("sleeper", ["sleep", "600"])
    await child.start()

    try:
        assert os.getpgid(child.pid) != os.getpgid(0)
    finally:
        await child.stop()


async def test_a_program_that_fails_is_an_error(tmp_path: Path) -> None:
    await Child("yes", ["true"], log=tmp_path / "yes").run()

    with pytest.raises(ChildDied, match="no ended with exit code 1"):
        await Child("no", ["false"], log=tmp_path / "no").run()
