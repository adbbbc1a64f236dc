"""What the benchmark concludes from what jobs tell of themselves."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.settings import PROJECT_ROOT
from bench.measured import tally
from bench.measured.tally import Note, Teller
from bench.measures.crash import Aftermath, aftermath
from bench.plan import percentile

SECOND = 1_000_000_000
# Two jobs of another process.
OTHER = """
import sys, time
from pathlib import Path
from bench.measured.tally import Teller
teller = Teller(Path(sys.argv[1]))
teller.ran(time.monotonic_ns())
teller.ran(time.monotonic_ns())
teller.note("done", 7)
"""


def test_jobs_of_all_threads_and_processes_are_counted(tmp_path: Path) -> None:
    before = time.monotonic_ns()
    teller = Teller(tmp_path)

    with ThreadPoolExecutor(4) as threads:
        for _ in range(100):
            threads.submit(teller.ran, time.monotonic_ns())
    subprocess.run([sys.executable, "-c", OTHER, tmp_path], cwd=PROJECT_ROOT, check=True)
    ran = tally.ran(tmp_path)

    assert ran.jobs == 102
    assert before <= ran.first_ns < ran.last_ns <= time.monotonic_ns()


def test_notes_of_all_processes_are_kept_in_order(tmp_path: Path) -> None:
    teller = Teller(tmp_path)

    teller.note("done", 3)
    subprocess.run([sys.executable, "-c", OTHER, tmp_path], cwd=PROJECT_ROOT, check=True)
    teller.note("done", 5)

    assert [note.number for note in tally.notes(tmp_path, "done")] == [3, 7, 5]
    assert tally.notes(tmp_path, "started") == []


def notes(*numbers_and_seconds: tuple[int, float]) -> list[Note]:
    return [Note(number, int(seconds * SECOND)) for number, seconds in numbers_and_seconds]


@pytest.mark.parametrize(
    ("started", "done", "expected"),
    [
        pytest.param(
            [(0, 1), (1, 2), (1, 20), (2, 21)],
            [(0, 3), (1, 22), (2, 23)],
            Aftermath(all_running_again=10, all_done=13, missing=0, doubled=0),
            id="all come back",
        ),
        pytest.param(
            [(0, 1), (1, 2), (2, 12)],
            [(0, 3), (2, 14)],
            Aftermath(all_running_again=None, all_done=None, missing=1, doubled=0),
            id="one is lost",
        ),
        pytest.param(
            [(0, 1), (1, 2), (2, 3), (0, 12), (1, 13), (2, 14), (1, 30)],
            [(0, 4), (0, 14), (1, 15), (2, 16), (1, 32)],
            Aftermath(all_running_again=4, all_done=22, missing=0, doubled=2),
            id="one was done before, one is done twice after",
        ),
    ],
)
def test_what_is_told_of_a_kill_after_ten_seconds(
    started: list[tuple[int, float]], done: list[tuple[int, float]], expected: Aftermath
) -> None:
    assert aftermath(notes(*started), notes(*done), 10 * SECOND, jobs=3) == expected


@pytest.mark.parametrize(("percent", "expected"), [(50, 2), (75, 3), (99, 4), (100, 4)])
def test_a_percentile_is_one_of_the_values(percent: float, expected: float) -> None:
    assert percentile([4, 1, 3, 2], percent) == expected
