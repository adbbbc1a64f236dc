"""`indostar` as its users call it."""

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import struct
import termios
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

import app
from app.jobs.lookup import JobState
from app.jobs.pool import JobPool
from app.settings import QueueSettings
from tests.e2e.commands import BIN, command, run_to_end
from tests.running import found
from tests.settings import as_environment, make_settings
from tests.waiting import until

MAIL: dict[str, Any] = {"to_email": "asha@example.com", "subject": "Hello", "body": "Milk"}
INDOSTAR = ("python", "-m", "app")


async def test_tasks_are_listed_for_people_and_for_scripts() -> None:
    people, scripts = [
        await run_to_end(*INDOSTAR, "tasks", *how, environment={"COLUMNS": "300"}) for how in ([], ["--json"])
    ]

    assert people[0] == scripts[0] == 0
    names = [task["name"] for task in json.loads(scripts[1])["items"]]
    assert "send_email_task" in names
    assert "send_email_task" in people[1]


async def test_what_was_migrated_is_told_for_scripts(empty_database_url: str) -> None:
    environment = {"DATABASE_URL": empty_database_url}

    first, second = [await run_to_end(*INDOSTAR, "migrate", "--json", environment=environment) for _ in range(2)]

    assert json.loads(first[1])["applied"]
    assert json.loads(second[1]) == {"applied": []}


@pytest.mark.parametrize(
    ("arguments", "environment", "code"),
    [
        (["migrate"], {"DATABASE_URL": "postgresql://me:secret@127.0.0.1:9/shop"}, 1),
        (["migrate"], {"DATABASE_URL": "nonsense"}, 2),
        (["fakes", "--port", "70000"], {}, 2),
        (["nonsense"], {}, 2),
    ],
)
async def test_what_goes_wrong_is_a_line_and_an_exit_code(
    arguments: list[str], environment: Mapping[str, str], code: int
) -> None:
    exit_code, output = await run_to_end(*INDOSTAR, *arguments, environment=environment)

    assert exit_code == code
    assert "Traceback" not in output
    assert "secret" not in output


async def test_the_backend_connects_and_enqueues_as_the_readme_says(redis_url: str) -> None:
    settings = QueueSettings(_env_file=None, redis_url=redis_url)

    pool = await app.connect(settings)
    job = await pool.enqueue_job("send_email_task", to_email="asha@example.com", subject="Hello", body="Fresh milk")

    assert job is not None
    assert (await job.status()).value == "queued"
    await pool.aclose()


async def test_a_worker_in_production_writes_json_lines_only(database_url: str, redis_url: str) -> None:
    environment = as_environment(make_settings(database_url=database_url, redis_url=redis_url))
    environment["ENVIRONMENT"] = "production"

    code, output = await run_to_end("arq", "--burst", "worker.WorkerSettings", environment=environment)

    assert code == 0
    assert {"worker.started", "worker.stopped"} <= {json.loads(line)["event"] for line in output.splitlines()}


async def test_events_are_told_as_they_happen_until_ctrl_c(environment: Mapping[str, str], pool: JobPool) -> None:
    events = ("indostar", "events", "--task", "send_email_task", "--json")
    async with command(*events, environment=environment) as watching:

        async def is_told() -> list[dict[str, Any]]:
            # Whoever comes later than the first of them begins with the next.
            await pool.enqueue_job("send_email_task", **MAIL)
            await pool.enqueue_job("cleanup_expired_tokens")
            return [json.loads(line) for line in watching.output.splitlines()]

        told = await until(is_told, every=0.3)
        watching.send(signal.SIGINT)
        code = await watching.exit_code()

    kinds = {(event["event"], event["task"], event["status"]) for event in told}
    assert kinds == {("job", "send_email_task", "queued")}
    assert (code, "Traceback" in watching.output) == (0, False)


@asynccontextmanager
async def at_a_terminal(
    *arguments: str, width: int = 100, environment: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """`indostar` as somebody runs it who sits in front of it; with our end of the terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    process = await asyncio.create_subprocess_exec(
        BIN / "indostar",
        *arguments,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={"TERM": "xterm-256color", **(environment or {})},
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        os.close(ours)
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_terminal_gets_colours_and_lines_that_fit() -> None:
    async with at_a_terminal("tasks", width=60) as (process, terminal):
        printed = await asyncio.to_thread(_read_all, terminal)
        code = await process.wait()

    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in printed.decode().splitlines()]
    assert code == 0
    assert max(map(len, lines)) <= 60
    assert b"\x1b[" in printed
    # Folded it may be, but nothing of it is cut off.
    assert "\N{HORIZONTAL ELLIPSIS}" not in printed.decode()


async def test_whoever_purges_is_asked_first(environment: Mapping[str, str], pool: JobPool) -> None:
    await pool.enqueue_job("send_email_task", **MAIL, _job_id="waiting")

    async with at_a_terminal("purge", "notifications", environment=environment) as (process, terminal):
        os.write(terminal, b"n\n")
        printed = await asyncio.to_thread(_read_all, terminal)
        code = await process.wait()

    assert code == 1
    assert "Discard 1 jobs that wait on notifications? [y/N]" in printed.decode()
    assert (await found(pool, "waiting")).state is JobState.QUEUED


def _read_all(terminal: int) -> bytes:
    read = b""
    with suppress(OSError):
        while chunk := os.read(terminal, 65_536):
            read += chunk
    return read


async def test_asking_for_help_costs_no_more_than_that() -> None:
    code, imported = await run_to_end("python", "-X", "importtime", "-m", "app", "--help", environment={})

    assert code == 0
    assert "typer" in imported
    assert not re.search(r"\b(sqlalchemy|redis|arq|fastapi|pydantic_settings)\b", imported)
