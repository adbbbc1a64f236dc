"""Printing: tables for people, plain columns for pipes, JSON for scripts."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import typer
from pydantic import BaseModel
from rich import box
from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

# Nothing that is piped is folded.
WIDTH_OF_PIPES = 100_000

STYLES = {
    "succeeded": "green",
    "failed": "red",
    "running": "cyan",
    "retrying": "yellow",
    "cancelled": "dim",
    "paused": "yellow",
}


@dataclass(frozen=True, slots=True)
class Column:
    """Of a table; `is_optional` where a narrow terminal may go without it, the last ones first."""

    title: str
    is_right: bool = False
    is_optional: bool = False


def console(*, err: bool = False) -> Console:
    """Where to print to: as wide as the terminal, or without bounds and colours where there is none."""
    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() else WIDTH_OF_PIPES
    return Console(stderr=err, width=width, markup=False, highlight=False, emoji=False)


def print_json(value: BaseModel | Sequence[BaseModel] | dict[str, Any]) -> None:
    """One line, in the admin API's shapes: a list is an object with `items`."""
    if isinstance(value, BaseModel):
        typer.echo(value.model_dump_json())
    elif isinstance(value, dict):
        typer.echo(orjson.dumps(value, option=orjson.OPT_UTC_Z).decode())
    else:
        typer.echo(orjson.dumps({"items": [item.model_dump(mode="json") for item in value]}).decode())


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """The rows, each value as text; `empty` where there are none."""
    out = console()
    if not rows:
        # Not among the data that a script reads.
        typer.echo(empty, err=True)
        return
    shown = list(range(len(columns)))
    table = _table(columns, rows, shown, is_plain=not out.is_terminal)
    while out.is_terminal and _width(out, table) > out.width and (spare := _last_optional(columns, shown)) is not None:
        shown.remove(spare)
        table = _table(columns, rows, shown, is_plain=False)
    show(table)


def show(*things: RenderableType) -> None:
    """Each on lines of its own; without what only fills them up where no terminal is there to see it."""
    out = console()
    if out.is_terminal:
        for thing in things:
            out.print(thing)
        return
    with out.capture() as captured:
        for thing in things:
            out.print(thing)
    typer.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def indented(text: Text) -> RenderableType:
    return Padding(text, (0, 0, 0, 2))


def time(at: datetime | None) -> str:
    """A time in UTC, as tables show it under a title that says so."""
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _table(
    columns: Sequence[Column], rows: Sequence[Sequence[object]], shown: Sequence[int], *, is_plain: bool
) -> Table:
    table = Table(box=None if is_plain else box.SIMPLE_HEAD, pad_edge=False)
    for number in shown:
        # Folded, never cut off: an id is to be copied.
        table.add_column(
            Text(columns[number].title), justify="right" if columns[number].is_right else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(_cell(row[number]) for number in shown))
    return table


def _cell(value: object) -> Text:
    text = "" if value is None else str(value)
    return Text(text, style=STYLES.get(text, ""))


def _width(out: Console, table: Table) -> int:
    return Measurement.get(out, out.options.update(max_width=WIDTH_OF_PIPES), table).maximum


def _last_optional(columns: Sequence[Column], shown: Sequence[int]) -> int | None:
    return next((number for number in reversed(shown) if columns[number].is_optional), None)
