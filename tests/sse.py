"""Server-sent events as a client reads them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Told:
    """One event; `data` is parsed."""

    event: str
    data: Any
    id: str | None


def events_in(raw: bytes) -> Iterator[Told]:
    """Every whole event; what only sets the time to come back is left out."""
    *blocks, _rest = raw.decode().split("\n\n")
    for block in blocks:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        if "event" in fields:
            yield Told(fields["event"], json.loads(fields["data"]), fields.get("id"))
