"""Jobs that do nothing, drained from a full queue: what the queue itself costs."""

import asyncio
from dataclasses import dataclass

from bench.plan import Plan, median
from bench.report import Section, Target
from bench.systems import OURS, Shape, System
from bench.trial import open_trial

TRIES = 3
# After the last job ran, its end is still to be recorded (seconds).
SETTLE = 0.5

WANTED = {Shape(1, 100): 10_000, Shape(1, 10): 6_000}
WANTED_TIMES_BEST_PEER = 4
WANTED_CPU_US = 70


@dataclass(frozen=True, slots=True)
class Drained:
    """CPU is microseconds a job."""

    per_second: float
    worker_us: float
    valkey_us: float
    peak_mib: float


async def measure(plan: Plan) -> Section:
    """Our worker with 100 and with 10 slots, then the peers; medians."""
    section = Section(
        "No-op jobs drained",
        "Processes x jobs at once in each. CPU a job, of all processes of the worker together and of Valkey; "
        f"memory is the sum of their peaks. Medians of {TRIES}.",
        ("", "shape", "jobs/s", "worker CPU us", "Valkey CPU us", "peak MiB"),
    )
    ours = {shape: await _median(OURS, shape) for shape in WANTED}
    others = {peer: await _median(peer, peer.quick) for peer in plan.peers}
    results = [(OURS, shape, drained) for shape, drained in ours.items()]
    for system, shape, drained in [*results, *((peer, peer.quick, drained) for peer, drained in others.items())]:
        figures = (drained.per_second, drained.worker_us, drained.valkey_us, drained.peak_mib)
        section.rows.append((system.name, str(shape), *(f"{figure:,.0f}" for figure in figures)))
    for shape, wanted in WANTED.items():
        rate = ours[shape].per_second
        what = f"no-op jobs/s, {shape.slots} slots"
        section.targets.append(Target(what, f"{wanted:,}", f"{rate:,.0f}", rate >= wanted))
    best = ours[OURS.quick]
    us = best.worker_us
    section.targets.append(
        Target("worker CPU a no-op job", f"under {WANTED_CPU_US} us", f"{us:.0f} us", us < WANTED_CPU_US)
    )
    if others:
        times = best.per_second / max(drained.per_second for drained in others.values())
        wanted_times = f"{WANTED_TIMES_BEST_PEER} x the best peer"
        section.targets.append(Target("no-op jobs/s", wanted_times, f"{times:.1f} x", times >= WANTED_TIMES_BEST_PEER))
    return section


async def _median(system: System, shape: Shape) -> Drained:
    tries = [await _drain(system, shape) for _ in range(TRIES)]
    return Drained(
        median([each.per_second for each in tries]),
        median([each.worker_us for each in tries]),
        median([each.valkey_us for each in tries]),
        median([each.peak_mib for each in tries]),
    )


async def _drain(system: System, shape: Shape) -> Drained:
    """The queue is filled before the workers start, so that enqueueing is not what is measured."""
    async with open_trial(system, shape) as trial:
        await trial.fill("noop", system.quick_jobs)
        async with trial.workers() as workers:
            await workers.expect(f"{system.name} begins", lambda: trial.ran().jobs > 0)
            started, worker, valkey = trial.ran().jobs, workers.usage(), trial.valkey_usage()
            await workers.expect(f"{system.name} ends", lambda: trial.ran().jobs >= system.quick_jobs)
            await asyncio.sleep(SETTLE)
            ran = trial.ran()
            worker, valkey = workers.usage().since(worker), trial.valkey_usage().since(valkey)
    jobs = ran.jobs - started
    return Drained(ran.per_second, worker.cpu_seconds / jobs * 1e6, valkey.cpu_seconds / jobs * 1e6, worker.peak_mib)
