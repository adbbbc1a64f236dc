"""What an instance keeps between two starts: its lock, its ports and its secrets."""

import contextlib
import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

from app.errors import Refused


class FolderInUse(Refused):
    """Another process holds the lock of this state folder."""

    def __init__(self, folder: Path, holder: str) -> None:
        super().__init__(folder, holder)
        self.folder = folder
        self.holder = holder

    def __str__(self) -> str:
        return f"{self.folder} is in use by process {self.holder}; stop that one first, or set INDOSTAR_STATE"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep `folder` for this process, as long as it lives. Raises FolderInUse when another one has it."""
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise FolderInUse(folder, lock.read().strip()) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def kept_secret(file: Path) -> str:
    """The secret in `file`, which only its owner can read; the first call makes it up."""
    if not file.exists():
        new = file.with_name(f"{file.name}.new")
        new.touch(mode=0o600)
        new.write_text(f"{secrets.token_urlsafe(32)}\n")
        new.replace(file)
    return file.read_text().strip()


def kept_port(file: Path) -> int:
    """The port in `file` if it is still free, else a new one, kept from now on."""
    kept = file.read_text().strip() if file.exists() else ""
    port = free_port(int(kept)) if kept.isdigit() else free_port()
    file.write_text(f"{port}\n")
    return port


def free_port(*preferred: int) -> int:
    """The first of the preferred loopback ports that nobody listens on, else any free one."""
    for port in preferred:
        with contextlib.suppress(OSError):
            return _bound(port)
    return _bound(0)


def _bound(port: int) -> int:
    with socket.socket() as probe:
        # As servers do: connections of the last run that linger in TIME_WAIT do not occupy the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return int(probe.getsockname()[1])
