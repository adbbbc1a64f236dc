"""PgBouncer in transaction mode, for tests that have it between us and PostgreSQL."""

import shutil
import signal
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from app.dev.embedded import EmbeddedServer
from app.dev.postgres import EmbeddedPostgres
from app.dev.processes import Child
from app.dev.state import free_port
from app.dev.unprivileged import way_of_this_user


class PgBouncer(EmbeddedServer):
    """In front of every database of `server`, its files in `folder`. `options` are lines of its configuration."""

    def __init__(self, folder: Path, server: EmbeddedPostgres, **options: str | int) -> None:
        self._folder = folder
        self._server = urlsplit(server.url)
        self._options = options
        self.port = free_port()

    @property
    def url(self) -> str:
        """Its own console."""
        return self.url_of("pgbouncer")

    def url_of(self, database: str) -> str:
        address = f"{self._server.username}:{self._server.password}@127.0.0.1:{self.port}"
        return f"postgresql://{address}/{database}"

    async def start(self) -> None:
        """Start it. Skips the test where it is not installed."""
        # Debian puts it where not everybody's PATH leads.
        program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
        if program is None:
            pytest.skip("pgbouncer is not installed")
        # It refuses to run as root, too.
        way = way_of_this_user()
        users = self._write("users.txt", f'"{self._server.username}" "{self._server.password}"\n')
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": users,
            "admin_users": self._server.username,
            "pool_mode": "transaction",
            **self._options,
        }
        configuration = self._write(
            "pgbouncer.ini",
            f"[databases]\n* = host=127.0.0.1 port={self._server.port}\n[pgbouncer]\n"
            + "".join(f"{name} = {value}\n" for name, value in settings.items()),
        )
        if way.user:
            for file in (users, configuration):
                shutil.chown(file, way.user)
        self.child = Child(
            "PgBouncer",
            [program, configuration],
            folder=Path("/"),
            log=self._folder / "pgbouncer.log",
            way=way,
            # It keeps nothing, and what other signals mean to it differs from version to version.
            stop_signal=signal.SIGKILL,
        )
        await self.child.start(self._answers)

    def _write(self, name: str, content: str) -> Path:
        file = self._folder / name
        file.touch(mode=0o600)
        file.write_text(content)
        return file

    async def _answers(self) -> bool:
        try:
            console = await asyncpg.connect(self.url, ssl=False, timeout=5)
        except OSError:
            return False
        console.terminate()
        return True
