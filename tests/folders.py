"""Folders for servers that tests start."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that others can enter, unlike pytest's own: as root, PostgreSQL may have to run as `nobody`."""
    with tempfile.TemporaryDirectory(prefix="indostar-tests-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)
