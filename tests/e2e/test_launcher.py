"""`make run`, as the process that it is."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from app.dev.processes import Child, ChildDied
from app.settings import PROJECT_ROOT
from tests.folders import open_folder
from tests.waiting import until


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


def launcher(state: Path, log: Path, *options: str, **environment: str) -> Child:
    # A developer's own servers are none of the test's business.
    inherited = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    return Child(
        "launcher",
        [sys.executable, "-m", "app.dev", *options],
        environment={**inherited, "INDOSTAR_STATE": str(state), **environment},
        folder=PROJECT_ROOT,
        log=log,
        stop_signal=signal.SIGINT,
        grace=timedelta(seconds=60),
    )


def shows_where_everything_is(log: Path) -> bool:
    return "source " in log.read_text()


async def test_one_instance_runs_until_ctrl_c_and_stops_in_order(state: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    run = launcher(state, log)
    await run.start()
    await until(lambda: shows_where_everything_is(log))
    family = psutil.Process(run.pid).children(recursive=True)

    with pytest.raises(ChildDied, match=f"is in use by process {run.pid}"):
        await launcher(state, tmp_path / "second").run()
    await run.stop()

    assert run.exit_code == 0
    assert not any(process.is_running() for process in family)
    lines = log.read_text()
    assert lines.index("Application shutdown complete") < lines.index("worker.stopped")


async def test_death_of_the_worker_is_told_and_stops_everything(state: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    run = launcher(state, log)
    await run.start()
    await until(lambda: shows_where_everything_is(log))
    family = psutil.Process(run.pid).children(recursive=True)
    [worker] = [process for process in family if "worker.WorkerSettings" in process.cmdline()]

    worker.kill()
    await run.wait()

    assert run.exit_code == 1
    assert run.last_lines(1) == "worker was ended by SIGKILL"
    assert not any(process.is_running() for process in family)


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("DATABASE_URL", "postgresql://shop:secret@127.0.0.1:1/shop"),
        ("REDIS_URL", "redis://:secret@127.0.0.1:1/0"),
    ],
)
async def test_a_server_that_is_named_but_not_there_is_an_error(
    variable: str, url: str, state: Path, tmp_path: Path
) -> None:
    run = launcher(state, tmp_path / "log", **{variable: url})

    with pytest.raises(ChildDied):
        await run.run()

    assert run.exit_code == 1
    assert run.last_lines(1).startswith(f"{variable} is set, but its server can't be used: ")
    assert "secret" not in (tmp_path / "log").read_text()


async def test_a_day_of_the_shop_brings_every_kind_of_notification_to_its_provider(state: Path, tmp_path: Path) -> None:
    # The second day finds the first one's data.
    for day in ("first", "second"):
        log = tmp_path / day
        await launcher(state, log, "--once").run()
        table = [line.split("│")[1:-1] for line in log.read_text().splitlines() if line.startswith("│")]
        rows = [[cell.strip() for cell in row] for row in table]

        assert "paid orders, charges and what the gateway took agree" in log.read_text()
        assert all(provider_id and seen == "yes" for *_, provider_id, seen in rows)
        kinds = {(re.sub(r" [A-Z]*-?[0-9].*", "", what), channel) for what, channel, *_ in rows}
        assert kinds == {
            ("order confirmation", "email"),
            ("order confirmation", "sms"),
            ("order shipped", "email"),
            ("order shipped", "sms"),
            ("payment failed", "email"),
            ("payment failed", "sms"),
            ("renewal reminder", "email"),
            ("password reset", "email"),
            ("email verification", "email"),
            ("distributor approved", "email"),
            ("templated SMS", "sms"),
            ("mail", "email"),
            ("SMS", "sms"),
        }


async def test_a_day_on_which_not_everything_arrives_is_no_success(state: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"

    with pytest.raises(ChildDied):
        await launcher(state, log, "--once", SMS_COUNTRIES="GB").run()

    assert "not everything reached its provider" in log.read_text()
