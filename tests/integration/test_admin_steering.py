"""Queues, workers and schedules over the admin API, who acted, and what works while a server is away."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from admin_api.application import create_app
from app.jobs.breaker import Breaker
from app.jobs.breaker_state import Verdict
from app.jobs.breaker_store import BreakerStore
from app.jobs.worker import Worker
from app.tasks import TASKS
from tests.integration.admin_client import client_of
from tests.integration.operations_desk import MAIL, Desk
from tests.metrics import samples_in, value
from tests.running import open_pool, running_worker
from tests.settings import make_settings
from tests.waiting import until

ASHA, RAVI, TILL = ("a" * 32, "r" * 32, "t" * 32)


@pytest.fixture
async def desk(database_url: str, redis_url: str) -> AsyncIterator[Desk]:
    settings = make_settings(
        database_url=database_url,
        redis_url=redis_url,
        admin_api_token=f"asha:{ASHA}, {RAVI}",
        admin_api_readonly_token=f"till:{TILL}",
    )
    app = create_app(settings)
    async with client_of(app) as client:
        client.headers["Authorization"] = f"Bearer {ASHA}"
        yield Desk(app.state.indostar.operations, database_url, client)


@pytest.fixture
def api(desk: Desk) -> httpx.AsyncClient:
    assert desk.client is not None
    return desk.client


async def items(api: httpx.AsyncClient, what: str) -> list[dict[str, Any]]:
    answer = await api.get(f"/admin/{what}")
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_a_queue_is_paused_and_resumed(api: httpx.AsyncClient) -> None:
    await api.post("/admin/tasks/send_email_task/jobs", json={"kwargs": MAIL})
    await api.post("/admin/tasks/send_email_task/jobs", json={"kwargs": MAIL, "delay_seconds": 3600})

    paused = await api.post("/admin/queues/notifications/pause")
    listed = await items(api, "queues")
    resumed = await api.post("/admin/queues/notifications/resume")

    assert paused.status_code == 200
    queue = paused.json()
    assert queue.pop("oldest_wait_seconds") >= 0
    assert queue == {"name": "notifications", "waiting": 1, "scheduled": 1, "running": 0, "paused": True}
    assert [(queue["name"], queue["paused"]) for queue in listed] == [
        ("default", False),
        ("notifications", True),
        ("subscriptions", False),
    ]
    assert resumed.json()["paused"] is False
    assert (await api.post("/admin/queues/letters/pause")).status_code == 404


async def test_queues_and_workers_are_as_the_metrics_say(desk: Desk, api: httpx.AsyncClient, redis_url: str) -> None:
    await api.post("/admin/queues/notifications/pause")
    await api.post("/admin/tasks/send_email_task/jobs", json={"kwargs": MAIL})
    await api.post("/admin/tasks/cleanup_expired_carts/jobs", json={"delay_seconds": 3600})
    async with open_pool(redis_url, TASKS) as pool, running_worker(pool) as worker:
        await until(lambda: items(api, "workers"))

        queues, workers = await items(api, "queues"), await items(api, "workers")
        samples = samples_in((await api.get("/metrics")).text)

    for queue in queues:
        name = queue["name"]
        for state in ("waiting", "scheduled", "running"):
            assert value(samples, "indostar_queue_jobs", queue=name, state=state) == queue[state]
        assert value(samples, "indostar_queue_paused", queue=name) == queue["paused"]
        slots = sum(each["slots"].get(name, 0) for each in workers)
        assert value(samples, "indostar_worker_slots", queue=name) == slots
        assert value(samples, "indostar_workers", queue=name) == 1
    assert_is(workers, worker)


def assert_is(workers: list[dict[str, Any]], worker: Worker) -> None:
    [seen] = workers
    assert (seen["id"], seen["queues"]) == (worker.id, ["default", "notifications", "subscriptions"])
    assert seen["started_at"] <= seen["last_seen_at"]
    assert (seen["running"], seen["done"], seen["failed"], seen["draining"]) == ([], 0, 0, False)


async def test_a_schedule_is_run_paused_and_resumed(api: httpx.AsyncClient) -> None:
    path = "/admin/schedules/cleanup_expired_carts"

    run = await api.post(f"{path}/run")
    paused = await api.post(f"{path}/pause")
    resumed = await api.post(f"{path}/resume")

    assert (run.status_code, run.json()["task"], run.json()["status"]) == (202, "cleanup_expired_carts", "queued")
    assert (paused.json()["paused"], paused.json()["next_run_at"]) == (True, None)
    [schedule] = [each for each in await items(api, "schedules") if each["name"] == "cleanup_expired_carts"]
    assert schedule == resumed.json()
    assert (schedule["last_job_id"], schedule["last_status"]) == (run.json()["id"], "queued")
    assert (schedule["cron"], schedule["timezone"], schedule["paused"]) == ("0 2 * * *", "UTC", False)


async def test_metrics_tell_of_the_gateway_that_is_left_alone(desk: Desk, api: httpx.AsyncClient) -> None:
    before = samples_in((await api.get("/metrics")).text)
    store = BreakerStore(desk.operations.pool.connection_pool)
    breaker = Breaker("razorpay", store)
    async with breaker.passage() as passage:
        passage.note(Verdict.UNUSABLE, "BAD_REQUEST_ERROR")
    await breaker.aclose()

    async def told() -> float | None:
        return value(samples_in((await api.get("/metrics")).text), "indostar_provider_left_alone", provider="razorpay")

    assert value(before, "indostar_provider_left_alone", provider="razorpay") == 0
    await until(told)
    await store.aclose()


@pytest.mark.parametrize(("date", "status"), [("2026-03-05", 422), ("tomorrow", 422), (5, 422)])
async def test_a_date_that_a_schedule_can_not_work_for_is_refused(
    api: httpx.AsyncClient, date: object, status: int
) -> None:
    answer = await api.post("/admin/schedules/cleanup_expired_carts/run", json={"date": date})

    assert answer.status_code == status
    assert [fault["loc"] for fault in answer.json()["detail"]] == [["body", "date"]]


async def test_who_acted_is_told_by_the_token(desk: Desk, api: httpx.AsyncClient) -> None:
    await api.post("/admin/queues/default/pause")
    await api.post("/admin/queues/default/resume", headers={"Authorization": f"Bearer {RAVI}"})
    await api.post("/admin/queues/default/pause", headers={"Authorization": f"Bearer {TILL}"})

    [first, second] = await desk.actors()
    assert first == ("asha", "operator", "api 127.0.0.1", "queue.pause")
    # The first digits of the token's SHA-256.
    assert second == ("operator 515a733d", "operator", "api 127.0.0.1", "queue.resume")


async def test_a_wrong_token_waits_and_a_valid_one_does_not(desk: Desk, api: httpx.AsyncClient) -> None:
    wrong = await api.get("/admin/queues", headers={"Authorization": f"Bearer {ASHA[:-1]}"})
    acting = await api.post("/admin/queues/default/pause", headers={"Authorization": f"Bearer {TILL}"})

    assert (wrong.status_code, wrong.json()) == (401, {"detail": "this token is not valid"})
    assert acting.json() == {"detail": "this token only reads; acting takes an operator's"}
    assert (await api.get("/admin/queues")).status_code == 200


async def test_who_was_turned_away_is_in_the_log(database_url: str, redis_url: str) -> None:
    settings = make_settings(
        database_url=database_url,
        redis_url=redis_url,
        admin_api_token=ASHA,
        admin_api_readonly_token=f"till:{TILL}",
    )

    with capture_logs() as logs:
        async with client_of(create_app(settings)) as api:
            await api.get("/admin/queues", headers={"Authorization": f"Bearer {RAVI}"})
            await api.post("/admin/queues/default/pause", headers={"Authorization": f"Bearer {TILL}"})

    told = [line for line in logs if line["event"] == "admin_api.turned_away"]
    assert [(line["address"], line["why"], line.get("caller"), line["calls"]) for line in told] == [
        ("127.0.0.1", "wrong token", None, 1),
        ("127.0.0.1", "only reads", "till", 1),
    ]
    assert not any(token in str(logs) for token in (RAVI, TILL))


async def test_what_needs_no_postgresql_works_without_it(redis_url: str) -> None:
    settings = make_settings(database_url="postgresql://me:secret@127.0.0.1:9/x", redis_url=redis_url)
    async with client_of(create_app(settings)) as api:
        job = (await api.post("/admin/tasks/send_email_task/jobs", json={"kwargs": MAIL})).json()
        answers = {
            call: (await api.request(*call.split(" "))).status_code
            for call in (
                "POST /admin/queues/default/pause",
                "POST /admin/queues/default/resume",
                f"POST /admin/jobs/{job['id']}/abort",
                "GET /admin/queues",
                "GET /admin/workers",
                f"DELETE /admin/jobs/{job['id']}",
                f"POST /admin/jobs/{job['id']}/retry",
                "GET /admin/jobs",
                "GET /admin/schedules",
                "POST /admin/schedules/cleanup_expired_carts/pause",
            )
        }

    assert list(answers.values()) == [200, 200, 202, 200, 200, 204, 503, 503, 503, 503]
