"""`make bench`: speed and memory, each figure beside the peers' from the same run. It only prints."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from rich.console import Console

from bench.measures import (
    api,
    backlog,
    charging,
    cleanup_keys,
    cleanup_rows,
    crash,
    drain,
    enqueueing,
    events,
    failover,
    history,
    idle,
    latency,
    mails,
    outbox,
    planning,
    smtp,
)
from bench.plan import Plan
from bench.report import WIDTH, Section, as_markdown, print_table, summary
from bench.usage import machine
from bench.versions import versions

MEASURES: Mapping[str, Callable[[Plan], Awaitable[Section]]] = {
    "noop": drain.measure,
    "mails": mails.measure,
    "smtp": smtp.measure,
    "failover": failover.measure,
    "history": history.measure,
    "outbox": outbox.measure,
    "latency": latency.measure,
    "enqueue": enqueueing.measure,
    "crash": crash.measure,
    "backlog": backlog.measure,
    "idle": idle.measure,
    "cleanup": cleanup_rows.measure,
    "cleanup-keys": cleanup_keys.measure,
    "plan": planning.measure,
    "charging": charging.measure,
    "events": events.measure,
    "api": api.measure,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--only", default="", help=f"some of {','.join(MEASURES)}")
    parser.add_argument("--peers", type=Path, help="the Python of the peers' environment; without it, only ours")
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="the part of the millions that cleanups, charging and the admin API are given",
    )
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    given = parser.parse_args()
    given.only = [name for name in given.only.split(",") if name]
    if unknown := set(given.only) - MEASURES.keys():
        parser.error(f"no such measure: {', '.join(sorted(unknown))}")
    return given


async def main(given: argparse.Namespace) -> None:
    console = Console(width=WIDTH)
    plan = Plan(given.peers, given.scale)
    head = [machine(), await versions(given.peers)]
    if given.markdown:
        print("\n\n".join(head), end="\n\n", flush=True)
    else:
        console.print(*head, sep="\n")
    sections = []
    for name in given.only or MEASURES:
        sections.append(await MEASURES[name](plan))
        show(console, sections[-1], markdown=given.markdown)
    show(console, summary(sections), markdown=given.markdown)


def show(console: Console, section: Section, *, markdown: bool) -> None:
    if markdown:
        print(as_markdown(section), flush=True)
    else:
        print_table(console, section)


if __name__ == "__main__":
    asyncio.run(main(arguments()))
