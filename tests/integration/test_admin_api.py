"""The admin API over HTTP against real servers."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from sqlalchemy import text

import admin_api
from admin_api.application import create_app
from admin_api.dependencies import require_operator, require_viewer
from app.jobs.pool import JobPool, NewJob
from app.jobs.queues import Queue
from app.jobs.serializer import serialize
from app.operations import Role
from app.tasks import TASKS
from tests.history import open_history
from tests.integration.admin_client import VIEWER, client_of
from tests.running import open_pool, run_burst
from tests.settings import make_settings

TOMORROW = (datetime.now(timezone(timedelta(hours=5.5))) + timedelta(days=1)).isoformat(timespec="milliseconds")
MAIL = {"to_email": "asha@example.com", "subject": "Hello", "body": "Milk"}


@pytest.fixture
async def api(database_url: str, redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(create_app(make_settings(database_url=database_url, redis_url=redis_url))) as client:
        yield client


@pytest.fixture
async def pool(redis_url: str) -> AsyncIterator[JobPool]:
    async with open_pool(redis_url, TASKS) as pool:
        yield pool


async def test_health_needs_no_token(api: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/readyz"):
        answer = await api.get(path, headers={"Authorization": ""})

        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_the_viewers_token_reads_and_does_not_act(api: httpx.AsyncClient) -> None:
    assert (await api.get("/admin/tasks", headers=VIEWER)).status_code == 200
    answer = await api.post("/admin/tasks/send_email_task/jobs", headers=VIEWER, json={"kwargs": MAIL})

    assert answer.status_code == 403


async def test_every_task_is_listed_with_its_arguments(api: httpx.AsyncClient) -> None:
    items = (await api.get("/admin/tasks")).json()["items"]

    assert [item["name"] for item in items] == [task.name for task in TASKS]
    mail = next(item for item in items if item["name"] == "send_email_task")
    assert mail["queue"] == "notifications"
    assert (mail["max_retries"], mail["soft_time_limit"], mail["time_limit"]) == (3, 1500, 1800)
    assert mail["args_schema"]["required"] == ["to_email", "subject", "body"]
    assert mail["summary"] == "Send a mail with the given subject and text."


async def test_a_job_is_enqueued_and_read(api: httpx.AsyncClient, pool: JobPool) -> None:
    answer = await api.post("/admin/tasks/send_email_task/jobs", json={"kwargs": MAIL})

    assert answer.status_code == 202
    job = answer.json()
    assert (job["status"], job["queue"], job["kwargs"]) == ("queued", "notifications", MAIL)
    assert (await api.get(f"/admin/jobs/{job['id']}")).json() == job


async def test_a_job_that_failed_tells_why(api: httpx.AsyncClient, pool: JobPool) -> None:
    await api.post("/admin/tasks/send_email_task/jobs", json={"kwargs": MAIL, "job_id": "j1"})

    # A worker that was started without a messenger.
    await run_burst(pool)
    job = (await api.get("/admin/jobs/j1")).json()

    assert (job["status"], job["tries"], job["max_tries"]) == ("retrying", 1, 4)
    [attempt] = job["attempts"]
    assert (attempt["try"], attempt["outcome"]) == (1, "retried")
    assert attempt["error"]["type"] == "LookupError"
    assert job["run_at"] > attempt["finished_at"]
    seen = (await api.get("/admin/jobs/j1", headers=VIEWER)).json()
    assert seen["error"] == {"type": "LookupError", "message": "hidden", "traceback": "hidden"}
    assert seen["attempts"][0]["error"] == seen["error"]


async def test_viewers_do_not_see_what_is_not_declared_visible(api: httpx.AsyncClient) -> None:
    kwargs = {
        "email": "asha@example.com",
        "order_number": "ORD-7",
        "customer_name": "Asha",
        "order_total": "64",
        "failure_reason": "declined",
    }
    await api.post("/admin/tasks/send_payment_failed_task/jobs", json={"kwargs": kwargs, "job_id": "j1"})

    job = (await api.get("/admin/jobs/j1", headers=VIEWER)).json()

    assert job["kwargs"] == dict.fromkeys(kwargs, "hidden") | {"order_number": "ORD-7"}


@pytest.mark.parametrize("when", [{"delay_seconds": 3600}, {"run_at": TOMORROW}])
async def test_a_job_may_wait(api: httpx.AsyncClient, when: dict[str, Any]) -> None:
    job = (await api.post("/admin/tasks/send_email_task/jobs", json={"kwargs": MAIL, **when})).json()

    assert job["status"] == "scheduled"
    if "run_at" in when:
        assert datetime.fromisoformat(job["run_at"]) == datetime.fromisoformat(TOMORROW)


@pytest.mark.parametrize("long_ago", ["1950-01-01T00:00:00Z", "0001-01-01T00:00:00+12:00"])
async def test_what_was_due_long_ago_is_due(api: httpx.AsyncClient, pool: JobPool, long_ago: str) -> None:
    await api.post("/admin/tasks/send_email_task/jobs", json={"kwargs": MAIL, "run_at": long_ago, "job_id": "j1"})

    await run_burst(pool)

    assert (await api.get("/admin/jobs/j1")).json()["tries"] == 1


async def test_a_redis_that_is_away_is_503_and_no_internal_error(database_url: str) -> None:
    async with client_of(
        create_app(make_settings(database_url=database_url, redis_url="redis://127.0.0.1:9/0"))
    ) as api:
        answer = await api.get("/admin/jobs/j1")

    assert answer.status_code == 503
    assert "Redis" in answer.json()["detail"]


async def test_a_database_that_is_not_there_makes_it_unready(database_url: str, redis_url: str) -> None:
    settings = make_settings(database_url=f"{database_url}_gone", redis_url=redis_url)
    async with client_of(create_app(settings)) as api:
        assert (await api.get("/readyz")).status_code == 503


async def test_an_id_of_ones_own_is_taken_once(api: httpx.AsyncClient) -> None:
    enqueue = {"kwargs": MAIL, "job_id": "mine"}
    answers = await asyncio.gather(*(api.post("/admin/tasks/send_email_task/jobs", json=enqueue) for _ in range(10)))

    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 9


async def test_a_job_that_redis_forgot_is_told_from_history(
    api: httpx.AsyncClient, pool: JobPool, database_url: str
) -> None:
    wrong = MAIL | {"to_email": "nobody"}
    stock: dict[str, Any] = {"v": 1, "t": None, "f": "send_email_task", "a": [], "k": wrong, "et": 1_700_000_000_000}
    await pool.send([NewJob("forgotten", Queue.NOTIFICATIONS, serialize(stock), "")])
    await run_burst(pool)
    async with open_history(pool, database_url) as history:
        await history.projector().catch_up()
    before = (await api.get("/admin/jobs/forgotten")).json()

    await pool.flushall()

    after = (await api.get("/admin/jobs/forgotten")).json()
    assert after["status"] == "failed"
    assert set(after["kwargs"].values()) == {"hidden"}
    changed = {"kwargs", "error", "attempts"}
    assert {name: after[name] for name in after.keys() - changed} == {
        name: before[name] for name in before.keys() - changed
    }
    taken = await api.post("/admin/tasks/send_email_task/jobs", json={"kwargs": MAIL, "job_id": "forgotten"})
    assert taken.status_code == 409


async def test_a_database_that_is_away_is_503_where_only_history_could_tell(redis_url: str) -> None:
    settings = make_settings(database_url="postgresql://me:secret@127.0.0.1:9/x", redis_url=redis_url)
    async with client_of(create_app(settings)) as api:
        forgotten = await api.get("/admin/jobs/forgotten")
        waiting = await api.post("/admin/tasks/send_email_task/jobs", json={"kwargs": MAIL})

    assert (forgotten.status_code, forgotten.json()) == (503, {"detail": "PostgreSQL can't be reached"})
    assert waiting.status_code == 202


async def test_what_does_not_exist_is_404(api: httpx.AsyncClient) -> None:
    job = await api.get("/admin/jobs/nope")
    task = await api.post("/admin/tasks/send_emial_task/jobs", json={"kwargs": MAIL})

    assert (job.status_code, task.status_code) == (404, 404)
    assert "did you mean send_email_task" in task.json()["detail"]


@pytest.mark.parametrize("surplus", ["\ud800", json.loads("[" * 400 + "]" * 400)], ids=["no character", "too deep"])
async def test_a_context_that_nothing_could_hold_is_refused(api: httpx.AsyncClient, surplus: object) -> None:
    kwargs = {
        "to_email": "asha@example.com",
        "notification_type": "distributor_approved",
        "context": {"distributor_name": "Ravi", "surplus": surplus},
    }
    content = json.dumps({"kwargs": kwargs, "job_id": "j1"})

    answer = await api.post("/admin/tasks/send_templated_email_task/jobs", content=content)

    assert answer.status_code == 422
    assert (await api.get("/admin/jobs/j1")).status_code == 404


async def test_the_router_works_in_another_app_with_that_apps_own_auth(database_url: str, redis_url: str) -> None:
    settings = make_settings(database_url=database_url, redis_url=redis_url, admin_api_token=None)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with admin_api.services(app, settings):
            yield

    calls: list[str] = []

    def staff_only(request: Request) -> Role:
        calls.append("asked")
        request.state.indostar_caller = "asha of the shop"
        return Role.OPERATOR

    shop = FastAPI(lifespan=lifespan, dependencies=[Depends(lambda: None)])
    shop.include_router(admin_api.router, prefix="/background")
    shop.dependency_overrides[require_viewer] = staff_only
    shop.dependency_overrides[require_operator] = staff_only

    async with client_of(shop) as client:
        answer = await client.get("/background/admin/tasks", headers={"Authorization": ""})
        assert (answer.status_code, calls) == (200, ["asked"])
        paused = await client.post("/background/admin/queues/default/pause", headers={"Authorization": ""})
        assert paused.json()["paused"]
        async with shop.state.indostar.operations.database.session() as session:
            assert list(await session.scalars(text("SELECT actor FROM tasks.audit"))) == ["asha of the shop"]


async def test_the_root_leads_to_the_api_page(api: httpx.AsyncClient) -> None:
    answer = await api.get("/")

    assert answer.headers["location"] == "/docs"


async def test_the_page_of_the_api_needs_no_internet() -> None:
    async with client_of(create_app(make_settings())) as api:
        page = (await api.get("/docs")).text
        assets = re.findall(r'(?:href|src)="([^"]+)"', page)
        answers = [(await api.get(asset)).status_code for asset in assets]

    assert len(assets) >= 3
    assert answers == [200] * len(assets)
    assert "https://" not in page


def test_clients_are_made_from_names_that_stay() -> None:
    document = create_app(make_settings()).openapi()

    operations = [call for path in document["paths"].values() for call in path.values()]
    assert sorted(call["operationId"] for call in operations) == sorted(
        [
            *("healthz", "readyz", "metrics", "list_tasks", "enqueue_job", "list_jobs", "get_job", "retry_job"),
            *("discard_job", "abort_job", "retry_jobs", "discard_jobs", "list_queues", "pause_queue", "resume_queue"),
            *("list_workers", "list_schedules", "run_schedule", "pause_schedule", "resume_schedule", "watch"),
            *("preview_run", "reconcile_deliveries", "get_run", "resume_run"),
        ]
    )
    tags = {tag for call in operations for tag in call["tags"]}
    assert tags == {"tasks", "jobs", "queues", "schedules", "subscriptions", "health"}
    assert all(call["summary"] and call["description"] for call in operations)
