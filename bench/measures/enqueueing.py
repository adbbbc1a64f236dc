"""Enqueueing: one by one, by many callers together, and in bulk."""

from collections.abc import Mapping

from bench.plan import Plan
from bench.report import Section, Target
from bench.systems import OURS, System
from bench.trial import open_trial

SECONDS = 0.7

WANTED = {"one by one": 2_500, "together": 12_000, "bulk": 20_000}

Rates = Mapping[str, float]


async def measure(plan: Plan) -> Section:
    """Jobs per second that one process puts on an empty queue that nobody serves."""
    section = Section(
        "Enqueueing, jobs per second",
        "One process. Together: 50 callers (threads where the client blocks). Bulk: 1,000 jobs a call, where the "
        f"client has one. Medians of 3 times {SECONDS} s.",
        ("", *WANTED),
    )
    ours = await _rates(OURS)
    others = {peer.name: await _rates(peer) for peer in plan.peers}
    bare = {
        "bare LPUSH": await _rates(OURS, sender="bench.bare.push:sender"),
        "stock arq pool, our queue": await _rates(OURS, sender="bench.ours.stock_pool:sender"),
    }
    for name, rates in {OURS.name: ours, **others, **bare}.items():
        section.rows.append((name, *(f"{rates[how]:,.0f}" if how in rates else "" for how in WANTED)))
    for how, wanted in WANTED.items():
        rate = ours[how]
        section.targets.append(Target(f"enqueue {how}, jobs/s", f"{wanted:,}", f"{rate:,.0f}", rate >= wanted))
    if others:
        best = max(rates["one by one"] for rates in others.values())
        rate = ours["one by one"]
        wanted_rate = f"not below the best peer ({best:,.0f})"
        section.targets.append(Target("enqueue one by one, jobs/s", wanted_rate, f"{rate:,.0f}", rate >= best))
    return section


async def _rates(system: System, *, sender: str | None = None) -> Rates:
    async with open_trial(system, system.quick) as trial:
        return await trial.produce("rates", SECONDS, sender=sender)
