"""Jobs over the admin API: listing, running again, discarding, aborting."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from admin_api.application import create_app
from tests.integration.admin_client import VIEWER, client_of
from tests.integration.operations_desk import MAIL, Desk
from tests.settings import make_settings

CARTS = "cleanup_expired_carts"
STRANGE_IDS = [
    "a/b",
    "a/retry",
    "retry",
    "x/abort",
    "/",
    "käse 🧀",
    "50%",
    "what?",
    "#1",
    "a%2Fb",
    " ",
    "x" * 10_000,
]


@pytest.fixture
async def desk(database_url: str, redis_url: str) -> AsyncIterator[Desk]:
    app = create_app(make_settings(database_url=database_url, redis_url=redis_url))
    async with client_of(app) as client:
        yield Desk(app.state.indostar.operations, database_url, client)


@pytest.fixture
def api(desk: Desk) -> httpx.AsyncClient:
    assert desk.client is not None
    return desk.client


def path_of(job_id: str, action: str = "") -> str:
    return f"/admin/jobs/{quote(job_id, safe='')}{action}"


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["items"]]


async def enqueue(api: httpx.AsyncClient, job_id: str, task: str = CARTS, **others: Any) -> None:
    kwargs = MAIL if task == "send_email_task" else {}
    answer = await api.post(f"/admin/tasks/{task}/jobs", json={"job_id": job_id, "kwargs": kwargs} | others)
    assert answer.status_code == 202, answer.text


async def test_pages_lead_from_the_newest_job_to_the_oldest(desk: Desk, api: httpx.AsyncClient) -> None:
    for number in range(5):
        await enqueue(api, f"job-{number}")
    await desk.record()

    first = await api.get("/admin/jobs", params={"limit": 2})
    second = await api.get("/admin/jobs", params={"limit": 2, "cursor": first.json()["next_cursor"]})
    third = await api.get("/admin/jobs", params={"limit": 2, "cursor": second.json()["next_cursor"]})

    assert ids(first) + ids(second) + ids(third) == [f"job-{number}" for number in range(4, -1, -1)]
    assert third.json()["next_cursor"] is None


async def test_filters_combine(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.fail("failed-1", "failed-2")
    await enqueue(api, "waits")
    await enqueue(api, "mail", "send_email_task")
    await enqueue(api, "later", "send_email_task", delay_seconds=3600)
    await desk.record()
    since = (await api.get("/admin/jobs/failed-2")).json()["enqueued_at"]

    async def found(**wanted: str) -> set[str]:
        return set(ids(await api.get("/admin/jobs", params=wanted)))

    assert await found(status="failed") == {"failed-1", "failed-2"}
    assert await found(status="failed", since=since) == {"failed-2"}
    assert await found(status="failed", until=since) == {"failed-1"}
    assert await found(task=CARTS, status="queued") == {"waits"}
    assert await found(queue="notifications") == {"mail", "later"}
    assert await found(queue="notifications", status="scheduled", task="send_email_task", since=since) == {"later"}
    assert await found(queue="default", task="send_email_task") == set()
    assert await found(q="failed-1", status="failed", queue="default", task=CARTS) == {"failed-1"}
    assert await found(q="7", status="failed") == {"failed-1", "failed-2"}


async def test_a_cursor_goes_with_its_filters(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.fail("j1", "j2")
    cursor = (await api.get("/admin/jobs", params={"limit": 1, "task": CARTS})).json()["next_cursor"]

    elsewhere = await api.get("/admin/jobs", params={"limit": 1, "status": "failed", "cursor": cursor})
    tampered = await api.get("/admin/jobs", params={"limit": 1, "task": CARTS, "cursor": cursor[:-6] + "AAAAAA"})

    for answer in (elsewhere, tampered):
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["msg"] == "this cursor is none that a page with the same filters gave"


async def test_viewers_list_jobs_without_their_words(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.fail("j1")

    [job] = (await api.get("/admin/jobs", headers=VIEWER)).json()["items"]

    assert (job["error"]["type"], job["error"]["message"]) == ("LookupError", "hidden")


async def test_a_failed_job_is_run_again(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.fail("j1")

    first, second = [await api.post("/admin/jobs/j1/retry", json={"resend": False}) for _ in range(2)]

    assert (first.status_code, second.status_code) == (202, 202)
    again = first.json()
    assert (again["retry_of"], again["status"], again["can"], again["effects"]) == ("j1", "queued", "run", [])
    assert second.json()["id"] == again["id"]
    assert (await api.get(path_of(again["id"]))).json() == {
        name: value for name, value in again.items() if name not in {"can", "effects"}
    }


async def test_what_has_not_failed_is_not_run_again(desk: Desk, api: httpx.AsyncClient) -> None:
    await enqueue(api, "waits")

    waits = await api.post("/admin/jobs/waits/retry")
    nowhere = await api.post("/admin/jobs/nowhere/retry")
    await api.delete("/admin/jobs/waits")
    discarded = await api.post("/admin/jobs/waits/retry")

    assert (waits.status_code, waits.json()["detail"]) == (409, "job waits: it has not failed")
    assert (nowhere.status_code, nowhere.json()["detail"]) == (404, "there is no job nowhere")
    assert discarded.status_code == 409


async def test_many_are_run_again_by_a_filter_or_by_name(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.fail("j1", "j2")
    wanted = {"filter": {"task": CARTS, "status": "failed"}}

    dry = (await api.post("/admin/jobs/retry", json=wanted | {"dry_run": True})).json()
    named = (await api.post("/admin/jobs/retry", json={"ids": ["j1", "nowhere"]})).json()
    rest = (await api.post("/admin/jobs/retry", json=wanted)).json()

    assert (dry["matched"], dry["retried"], dry["dry_run"]) == (2, 2, True)
    assert [item["retried_as"] for item in dry["items"]] == [None, None]
    assert (named["matched"], named["retried"], named["left_out"]) == (2, 1, {"there is no such job": 1})
    assert (rest["matched"], rest["retried"], rest["left_out"]) == (2, 1, {"it was run again before": 1})
    assert [(item["id"], item["can"]) for item in rest["items"]] == [("j1", "nothing"), ("j2", "run")]


async def test_many_are_discarded_by_a_filter_or_by_name(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.fail("j1", "j2", "j3")
    await enqueue(api, "waits")
    named = {"ids": ["waits", "j1", "nowhere", "waits"]}

    dry = (await api.post("/admin/jobs/discard", json=named | {"dry_run": True})).json()
    wet = (await api.post("/admin/jobs/discard", json=named)).json()
    rest = (await api.post("/admin/jobs/discard", json={"filter": {"task": CARTS}})).json()

    assert dry == wet | {"dry_run": True}
    assert (wet["matched"], wet["discarded"], wet["left_out"]) == (3, 2, {"there is no such job": 1})
    assert (rest["discarded"], rest["left_out"]) == (2, {"it was discarded": 1})
    assert (await api.get("/admin/jobs/waits")).json()["status"] == "cancelled"


async def test_a_job_is_discarded(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.fail("failed")
    await enqueue(api, "waits")

    gone = [(await api.delete(f"/admin/jobs/{job_id}")).status_code for job_id in ("failed", "waits", "waits", "none")]

    assert gone == [204, 204, 204, 404]
    assert (await api.post("/admin/jobs/failed/retry")).status_code == 409


async def test_a_job_is_aborted_until_it_has_ended(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.fail("ended")
    await enqueue(api, "waits", delay_seconds=3600)

    answers = [await api.post(f"/admin/jobs/{job_id}/abort") for job_id in ("waits", "ended", "nowhere")]

    assert [answer.status_code for answer in answers] == [202, 409, 404]


async def test_any_id_can_stand_in_a_path(desk: Desk, api: httpx.AsyncClient) -> None:
    for job_id in STRANGE_IDS:
        await desk.operations.pool.enqueue_job(CARTS, _job_id=job_id)

        found = await api.get(path_of(job_id))
        actions = [await api.post(path_of(job_id, action)) for action in ("/abort", "/retry")]
        gone = await api.delete(path_of(job_id))

        assert found.status_code == 200, found.text[:200]
        assert found.json()["id"] == job_id
        assert [answer.status_code for answer in actions] == [202, 409]
        assert gone.status_code == 204
