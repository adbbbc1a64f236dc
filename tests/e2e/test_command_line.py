"""`indostar` as its users call it."""

import json
from collections.abc import Mapping

import pytest

import app
from app.settings import QueueSettings
from tests.e2e.commands import run_to_end
from tests.settings import as_environment, make_settings

INDOSTAR = ("python", "-m", "app")


async def test_tasks_are_listed_for_people_and_for_scripts() -> None:
    people, scripts = [
        await run_to_end(*INDOSTAR, "tasks", *how, environment={"COLUMNS": "300"}) for how in ([], ["--json"])
    ]

    assert people[0] == scripts[0] == 0
    names = [task["name"] for task in json.loads(scripts[1])]
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
