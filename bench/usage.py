"""What processes take of the machine, and which machine it is."""

import os
import platform
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil


@dataclass(frozen=True, slots=True)
class Usage:
    """What processes have taken so far: CPU seconds, and the sum of each one's highest resident memory in MiB."""

    cpu_seconds: float
    peak_mib: float

    @classmethod
    def of(cls, pids: Iterable[int]) -> Self:
        """Of these processes and all below them."""
        processes = [process for pid in pids for process in _family(pid)]
        times = [process.cpu_times() for process in processes]
        return cls(
            sum(time.user + time.system for time in times),
            sum(_peak_kib(process.pid) for process in processes) / 1024,
        )

    def since(self, earlier: "Usage") -> "Usage":
        return Usage(self.cpu_seconds - earlier.cpu_seconds, self.peak_mib)


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _peak_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise LookupError(f"/proc/{pid}/status tells no peak memory")


def machine() -> str:
    """The machine in a line, for whoever reads the figures elsewhere."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {time.strftime('%Y-%m-%d', time.gmtime())}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
