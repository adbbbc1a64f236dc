"""Reading the stream of events for somebody who watches."""

import json
import sys
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

import orjson
import typer
from rich.text import Text

from app.cli import output
from app.cli.asking import operations
from app.jobs.lookup import JobState
from app.jobs.queues import Queue
from app.live.hub import LiveEvents
from app.live.reader import Reader
from app.live.rendering import Wanted


async def watch(
    tasks: Collection[str], queues: Collection[Queue], statuses: Collection[JobState], *, as_json: bool
) -> None:
    """Prints until cancelled. Raises UnknownTask."""
    async with operations() as opened:
        for name in tasks:
            # A name that nothing has would be waited for in vain.
            opened.pool.tasks[name]
        wanted = Wanted(frozenset(tasks) or None, frozenset(queues) or None, frozenset(statuses) or None)
        live = LiveEvents(opened.stream, opened.pool.tasks)
        try:
            # One reading may end, as by an answer that nobody can read: the next one begins.
            while True:
                async with live.watching(Reader(wanted)) as reader:
                    async for chunk in reader.chunks():
                        for kind, data in told_in(chunk):
                            _print(kind, data, as_json=as_json)
                        sys.stdout.flush()
        finally:
            await live.aclose()


def told_in(chunk: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a chunk, which holds whole ones, but for those that only keep a connection alive."""
    for block in chunk.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if (kind := fields.get("event")) is not None and kind != "heartbeat":
            yield kind, json.loads(fields["data"])


def _print(kind: str, data: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps({"event": kind, **data}).decode())
        return
    match kind:
        case "job":
            output.show(_line(data))
        case "outage":
            typer.echo("Redis can't be reached; waiting for it", err=True)
        case "resumed":
            typer.echo("Redis is back", err=True)
        case "missed":
            some = "some" if data["changes"] is None else data["changes"]
            typer.echo(f"{some} changes were missed: {data['reason']}", err=True)


def _line(data: dict[str, Any]) -> Text:
    status = data["status"]
    parts: Sequence[str | tuple[str, str]] = (
        f"{output.time(datetime.fromisoformat(data['at']))}  ",
        (f"{status:<9}", output.STYLES.get(status, "")),
        f"  {data['task'] or '?'}  {data['id']}",
    )
    line = Text.assemble(*parts)
    if (progress := data["progress"]) is not None:
        of = "" if progress["total"] is None else f" of {progress['total']}"
        line.append(f"  {progress['done']}{of} {progress['message'] or ''}".rstrip())
    return line
