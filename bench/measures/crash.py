"""SIGKILL to a worker with jobs on its hands, and another one started at once."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.measured.assignment import HOLD_SECONDS
from bench.measured.tally import Note
from bench.plan import Plan
from bench.report import Section, Target
from bench.systems import OURS, System, celery
from bench.trial import open_trial

JOBS = 200
# In the midst of the second round of jobs.
KILL_AFTER = 3
START_WITHIN = 90
CUT_OFF = 120

WANTED_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Aftermath:
    """Seconds since the kill; None where that had not happened when we stopped waiting."""

    all_running_again: float | None
    all_done: float | None
    missing: int
    doubled: int


async def measure(plan: Plan) -> Section:
    """All systems at the same time, for their jobs only sleep."""
    systems = [OURS, *plan.peers]
    if plan.peers_python is not None:
        systems.append(celery(plan.peers_python, "Celery, acks_late, 30 s visibility", survives_kill=True))
    results = await asyncio.gather(*map(_survive, systems))
    section = Section(
        "After SIGKILL",
        f"{JOBS} jobs of {HOLD_SECONDS:g} s, twenty at once, killed {KILL_AFTER} s after the first began, a new "
        f"worker at once. Seconds from the kill, cut off after {CUT_OFF}. Missing: not done by then. "
        "Doubled: done twice.",
        ("", "shape", "killed jobs running again", "all done", "missing", "doubled"),
    )
    for system, result in zip(systems, results, strict=True):
        times = (_seconds(result.all_running_again), _seconds(result.all_done))
        section.rows.append((system.name, str(system.holding), *times, str(result.missing), str(result.doubled)))
    ours = results[0]
    again = ours.all_running_again
    section.targets += [
        Target("after SIGKILL", "nothing lost", f"{ours.missing} missing", ours.missing == 0),
        Target("after SIGKILL", "nothing done twice", f"{ours.doubled} doubled", ours.doubled == 0),
        Target(
            "after SIGKILL",
            f"every killed job running again within {WANTED_SECONDS} s",
            _seconds(again),
            again is not None and again <= WANTED_SECONDS,
        ),
    ]
    return section


def _seconds(seconds: float | None) -> str:
    return f"not within {CUT_OFF} s" if seconds is None else f"{seconds:.1f} s"


async def _survive(system: System) -> Aftermath:
    async with open_trial(system, system.holding) as trial:
        await trial.fill("hold", JOBS)
        async with trial.workers() as workers:
            await workers.expect(f"{system.name} begins", lambda: bool(trial.notes("started")), within=START_WITHIN)
            # Counted from the job's own note, not from when we saw it.
            await asyncio.sleep(KILL_AFTER - (time.monotonic_ns() - trial.notes("started")[0].at_ns) / 1e9)
            killed_ns = time.monotonic_ns()
            await workers.kill()
        async with trial.workers() as workers:
            await workers.until(lambda: len({note.number for note in trial.notes("done")}) == JOBS, within=CUT_OFF)
        return aftermath(trial.notes("started"), trial.notes("done"), killed_ns, jobs=JOBS)


def aftermath(started: Sequence[Note], done: Sequence[Note], killed_ns: int, *, jobs: int) -> Aftermath:
    """What the jobs' own notes, in the order of writing, tell of a kill at that time."""
    times_done = Counter(note.number for note in done)
    done_before = {note.number for note in done if note.at_ns <= killed_ns}
    at_hand = {note.number for note in started if note.at_ns <= killed_ns} - done_before
    # A job may have been started more than once since; the first time counts.
    again = {note.number: note.at_ns for note in reversed(started) if note.at_ns > killed_ns and note.number in at_hand}
    missing = jobs - len(times_done)
    return Aftermath(
        (max(again.values()) - killed_ns) / 1e9 if again.keys() == at_hand else None,
        None if missing else (done[-1].at_ns - killed_ns) / 1e9,
        missing,
        sum(1 for times in times_done.values() if times > 1),
    )
