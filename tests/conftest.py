"""Real servers for the tests: started when the first test wants them, one of each for the whole run."""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import hypothesis
import pytest
import redis.asyncio

from app.db.migrate import migrate
from app.dev.demo_shop import create_shop_tables
from app.dev.postgres import EmbeddedPostgres
from app.dev.valkey import EmbeddedValkey
from tests.folders import open_folder

# How long one example takes says nothing on a machine that does other things as well. The same examples every time, so
# that whoever sees a test fail has to do with it; `thorough` goes on searching.
hypothesis.settings.register_profile("indostar", deadline=None, derandomize=True)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=5000)
hypothesis.settings.load_profile("indostar")

TEMPLATE = "indostar_template"
database_numbers = itertools.count(1)


@pytest.fixture(scope="session")
async def postgres_server() -> AsyncIterator[EmbeddedPostgres]:
    with open_folder() as folder:
        async with EmbeddedPostgres(folder, durable=False) as server:
            yield server


@pytest.fixture(scope="session")
async def valkey_server() -> AsyncIterator[EmbeddedValkey]:
    with open_folder() as folder:
        async with EmbeddedValkey(folder, durable=False) as server:
            yield server


@pytest.fixture(scope="session")
async def database_template(postgres_server: EmbeddedPostgres) -> str:
    """The name of a database with the shop's tables and ours, to be copied and never written to."""
    await execute(postgres_server, f"CREATE DATABASE {TEMPLATE}")
    url = postgres_server.url_of(TEMPLATE)
    await create_shop_tables(url)
    await migrate(url)
    return TEMPLATE


@pytest.fixture
async def database_url(postgres_server: EmbeddedPostgres, database_template: str) -> AsyncIterator[str]:
    """A database of this test's own with the shop's tables and ours, all of them empty."""
    async with fresh_database(postgres_server, template=database_template) as url:
        yield url


@pytest.fixture
async def empty_database_url(postgres_server: EmbeddedPostgres) -> AsyncIterator[str]:
    """A database of this test's own without any table."""
    async with fresh_database(postgres_server, template="template0") as url:
        yield url


@pytest.fixture
async def redis_url(valkey_server: EmbeddedValkey) -> str:
    """The test server's URL; it holds nothing at the start of the test."""
    async with redis.asyncio.Redis.from_url(valkey_server.url) as client:
        await client.flushall()
    return valkey_server.url


@pytest.fixture(scope="session")
async def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for `localhost` and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    process = await asyncio.create_subprocess_exec(
        *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
        *("-addext", "keyUsage=critical,digitalSignature,keyCertSign", "-keyout", key, "-out", certificate),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0
    return certificate, key


@asynccontextmanager
async def fresh_database(server: EmbeddedPostgres, *, template: str) -> AsyncIterator[str]:
    name = f"test_{next(database_numbers)}"
    await execute(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield server.url_of(name)
    # FORCE: a test that failed may have left a connection behind.
    await execute(server, f"DROP DATABASE {name} WITH (FORCE)")


async def execute(server: EmbeddedPostgres, statement: str) -> None:
    connection = await asyncpg.connect(server.url, ssl=False)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
