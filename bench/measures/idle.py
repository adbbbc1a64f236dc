"""What a worker takes of a core while there is nothing to do."""

import asyncio
from contextlib import AsyncExitStack

from bench.plan import Plan
from bench.report import Section, Target
from bench.systems import OURS
from bench.trial import Trial, Workers, open_trial

SECONDS = 20
# What starts with a worker, and after its last job, is over by then.
SETTLE = 5

WANTED_PERCENT = 1.0


async def measure(plan: Plan) -> Section:
    """All systems side by side: none of them is in the other's way."""
    section = Section(
        "Idle worker",
        f"Per cent of a core over {SECONDS} s, after {SETTLE} s of rest.",
        ("", "shape", "worker", "Valkey", "peak MiB"),
    )
    async with AsyncExitStack() as stack:
        idle: list[tuple[Trial, Workers]] = []
        for system in (OURS, *plan.peers):
            trial = await stack.enter_async_context(open_trial(system, system.quick))
            workers = await stack.enter_async_context(trial.workers())
            await trial.warm(workers)
            idle.append((trial, workers))
        await asyncio.sleep(SETTLE)
        before = [(workers.usage(), trial.valkey_usage()) for trial, workers in idle]
        await asyncio.sleep(SECONDS)
        after = [(workers.usage(), trial.valkey_usage()) for trial, workers in idle]
    for (trial, _), was, now in zip(idle, before, after, strict=True):
        worker, valkey = (late.since(early) for early, late in zip(was, now, strict=True))
        percent = 100 * worker.cpu_seconds / SECONDS
        figures = (f"{percent:.2f} %", f"{100 * valkey.cpu_seconds / SECONDS:.2f} %", f"{worker.peak_mib:,.0f}")
        section.rows.append((trial.system.name, str(trial.system.quick), *figures))
        if trial.system is OURS:
            what = f"under {WANTED_PERCENT:g} % of a core"
            section.targets.append(Target("idle worker", what, f"{percent:.2f} %", percent < WANTED_PERCENT))
    return section
