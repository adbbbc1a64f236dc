"""The tables that the benchmark prints: for a terminal, or as Markdown for docs/performance.md."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

WIDTH = 120


@dataclass(frozen=True, slots=True)
class Target:
    """What we want of ourselves, and what came out."""

    measure: str
    at_least: str
    ours: str
    is_met: bool


@dataclass(slots=True)
class Section:
    """One measure's table. The first column holds names, the others figures."""

    title: str
    note: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)


def summary(sections: Sequence[Section]) -> Section:
    """All targets in one table."""
    return Section(
        "What we want of it, and what came out",
        "",
        ("measure", "wanted", "measured", ""),
        [
            (target.measure, target.at_least, target.ours, "" if target.is_met else "falls short")
            for section in sections
            for target in section.targets
        ],
    )


def print_table(console: Console, section: Section) -> None:
    table = Table(title=section.title, caption=section.note, title_justify="left", caption_justify="left")
    for index, column in enumerate(section.columns):
        table.add_column(column, justify="right" if index else "left")
    for row in section.rows:
        table.add_row(*row)
    console.print(table)


def as_markdown(section: Section) -> str:
    rule = ["---", *["---:"] * (len(section.columns) - 1)]
    rows = [section.columns, rule, *section.rows]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join(part for part in (f"### {section.title}", section.note, table) if part) + "\n"
