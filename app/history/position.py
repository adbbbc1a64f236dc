"""How far the stream of events was read, and whether some of it was never seen."""

from dataclasses import dataclass
from enum import StrEnum

from app.jobs.events import BEGINNING, Reading


@dataclass(frozen=True, slots=True)
class Position:
    """The last event on record, and how many entries the stream had up to it."""

    generation: str
    last_event: str
    entries: int

    def after(self, events: int, last_event: str) -> "Position":
        return Position(self.generation, last_event, self.entries + events)


class GapReason(StrEnum):
    """Why history lacks something."""

    CUT_OFF = "the stream was cut off before it was read"
    DATA_LOST = "Redis lost its data"
    WENT_BACK = "Redis came back with older data"
    UNSTORABLE = "PostgreSQL refused an event"


@dataclass(frozen=True, slots=True)
class Gap:
    """What history lacks after an event: so many entries, None where nobody can tell."""

    after_event: str
    entries: int | None
    reason: GapReason


def start_of(reading: Reading) -> Position:
    """Where a reader begins that never read: what is cut off by then it need not know."""
    return Position(reading.generation, BEGINNING, reading.added - reading.kept)


def gap_before(reading: Reading, position: Position) -> tuple[Position, Gap] | None:
    """Where to go on, and what is missing there; None where the stream goes on from the position."""
    if reading.generation != position.generation:
        # Whatever there is was written after the loss.
        now = Position(reading.generation, BEGINNING, 0)
        return now, Gap(position.last_event, None, GapReason.DATA_LOST)
    if reading.added < position.entries:
        # What is in it now was read before; new entries come behind that.
        now = Position(reading.generation, min(reading.last_id, position.last_event, key=number_of), reading.added)
        return now, Gap(position.last_event, None, GapReason.WENT_BACK)
    cut_off = reading.added - reading.kept
    if cut_off > position.entries:
        now = Position(reading.generation, position.last_event, cut_off)
        return now, Gap(position.last_event, cut_off - position.entries, GapReason.CUT_OFF)
    return None


def number_of(entry_id: str) -> tuple[int, int]:
    """An entry's id as numbers, by which entries are in order."""
    milliseconds, _, count = entry_id.partition("-")
    return int(milliseconds), int(count)
