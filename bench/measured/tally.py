"""What jobs did: told by the processes that run them at next to no cost, and read while they run.

Only the standard library: it runs in the peers' environment too. Times are those of the monotonic clock (ns), which
all processes of a Linux machine share.
"""

import mmap
import os
import struct
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# How many jobs ran, when the first of them started, when the last one ended.
_RAN = struct.Struct("<qqq")
# A number, and when it was noted.
_NOTE = struct.Struct("<qq")


class Teller:
    """The side of the jobs. May be made before a fork, and used by threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._pid = 0
        self._page: mmap.mmap
        self._jobs = 0
        self._first_ns = 0
        self._notes: dict[str, int] = {}

    def ran(self, started_ns: int) -> None:
        """Counts a job that ends now."""
        with self._lock:
            if self._pid != os.getpid():
                self._open(started_ns)
            self._jobs += 1
            _RAN.pack_into(self._page, 0, self._jobs, self._first_ns, time.monotonic_ns())

    def note(self, name: str, number: int) -> None:
        """Writes a number down under a name; it outlives this process however that ends."""
        if name not in self._notes:
            self._notes[name] = os.open(self._folder / name, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.write(self._notes[name], _NOTE.pack(number, time.monotonic_ns()))

    def _open(self, started_ns: int) -> None:
        self._pid = os.getpid()
        self._jobs = 0
        self._first_ns = started_ns
        with (self._folder / f"ran-{self._pid}").open("w+b") as file:
            file.truncate(_RAN.size)
            self._page = mmap.mmap(file.fileno(), _RAN.size)


@dataclass(frozen=True, slots=True)
class Ran:
    """Jobs that ended, from the start of the first to the end of the last."""

    jobs: int
    first_ns: int
    last_ns: int

    @property
    def per_second(self) -> float:
        return self.jobs / (self.last_ns - self.first_ns) * 1e9


@dataclass(frozen=True, slots=True)
class Note:
    number: int
    at_ns: int


def ran(folder: Path) -> Ran:
    """What all processes together have run so far."""
    counts = [_RAN.unpack(raw) for raw in _contents(folder.glob("ran-*"), _RAN.size)]
    told = [count for count in counts if count[0]]
    if not told:
        return Ran(0, 0, 0)
    return Ran(sum(jobs for jobs, _, _ in told), min(first for _, first, _ in told), max(last for _, _, last in told))


def notes(folder: Path, name: str) -> list[Note]:
    """What was noted under that name, in the order of writing."""
    file = folder / name
    return [Note(*fields) for fields in _NOTE.iter_unpack(file.read_bytes())] if file.exists() else []


def _contents(files: Iterable[Path], size: int) -> Iterable[bytes]:
    # One that was only just made is still empty.
    return (raw for file in files if len(raw := file.read_bytes()) == size)
