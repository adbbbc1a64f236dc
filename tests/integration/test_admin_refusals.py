"""What the admin API refuses before it asks any server: by name, and without repeating what was sent."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from admin_api.application import create_app
from admin_api.calls import MOST_BODY_BYTES
from tests.integration.admin_client import VIEWER, client_of
from tests.integration.operations_desk import MAIL
from tests.settings import make_settings

NOBODY_THERE = {"database_url": "postgresql://me:secret@127.0.0.1:9/x", "redis_url": "redis://127.0.0.1:9/0"}
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="milliseconds")
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def api() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(create_app(make_settings(**NOBODY_THERE))) as client:
        yield client


async def test_readiness_names_what_can_not_be_reached(api: httpx.AsyncClient) -> None:
    ready, alive = await api.get("/readyz"), await api.get("/healthz")

    assert alive.status_code == 200
    assert ready.status_code == 503
    assert "Redis can't be reached" in ready.text
    assert "PostgreSQL can't be reached" in ready.text
    assert "secret" not in ready.text


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/admin/tasks"), ("GET", "/admin/jobs/x"), ("POST", "/admin/tasks/send_sms_task/jobs")]
)
@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic eDp5", "Bearer ₹"])
async def test_without_a_valid_token_nothing_is_told(
    api: httpx.AsyncClient, method: str, path: str, authorization: str
) -> None:
    headers = {"Authorization": authorization.encode()}
    answer = await api.request(method, path, headers=headers, json={} if method == "POST" else None)  # type: ignore[arg-type]  # bytes are fine

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_without_a_token_in_the_settings_nobody_gets_in() -> None:
    settings = make_settings(**NOBODY_THERE, admin_api_token=None, admin_api_readonly_token=None)
    async with client_of(create_app(settings)) as api:
        for authorization in ("", "Bearer ", "Bearer None"):
            answer = await api.get("/admin/tasks", headers={"Authorization": authorization})

            assert answer.status_code == 401


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"kwargs": {**MAIL, "to_email": "nobody"}}, ["kwargs", "to_email"]),
        ({"kwargs": {"to_email": "a@example.com"}}, ["kwargs", "subject"]),
        ({"kwargs": {**MAIL, "cc": "x"}}, ["kwargs", "cc"]),
        ({"kwargs": {**MAIL, "_job_id": "x"}}, ["kwargs", "_job_id"]),
        ({"kwargs": MAIL, "priority": 9}, ["priority"]),
        ({"kwargs": MAIL, "run_at": "tomorrow"}, ["run_at"]),
        ({"kwargs": MAIL, "run_at": "2026-01-05T00:00:00"}, ["run_at"]),
        ({"kwargs": MAIL, "run_at": "9999-12-31T23:59:59-12:00"}, ["run_at"]),
        ({"kwargs": MAIL, "job_id": "a/b"}, ["job_id"]),
        ({"kwargs": MAIL, "job_id": "outbox:7"}, ["job_id"]),
        ({"kwargs": MAIL, "delay_seconds": -1}, ["delay_seconds"]),
        ({"kwargs": MAIL, "delay_seconds": 1, "run_at": TOMORROW}, []),
        ({"kwargs": MAIL, "job_id": ""}, ["job_id"]),
        ({"kwargs": []}, ["kwargs"]),
        ({"kwargs": {**MAIL, "body": "\ud800"}}, ["kwargs", "body"]),
        ({"kwargs": MAIL, "job_id": "\ud800"}, ["job_id"]),
    ],
)
async def test_wrong_calls_are_refused_by_name(api: httpx.AsyncClient, body: dict[str, Any], named: list[str]) -> None:
    # Not httpx's own JSON: it could not carry what is no character.
    content = json.dumps(body)
    headers = {"Content-Type": "application/json"}
    answer = await api.post("/admin/tasks/send_email_task/jobs", content=content, headers=headers)

    assert answer.status_code == 422
    assert "nobody" not in answer.text
    assert ["body", *named] in [fault["loc"] for fault in answer.json()["detail"]]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("stauts=failed", "stauts"),
        ("status=broken", "status"),
        ("queue=letters", "queue"),
        ("since=yesterday", "since"),
        ("since=1772668800", "since"),
        ("since=2026-03-05T00:00:00", "since"),
        ("since=0001-01-01T00:00:00%2B12:00", "since"),
        ("until=9999-12-31T23:59:59-12:00", "until"),
        ("limit=0", "limit"),
        ("limit=1000", "limit"),
        ("q=%00", "q"),
        ("task=a%00b", "task"),
        ("cursor=AAAA", "cursor"),
        ("cursor=" + "A" * 10_000, "cursor"),
    ],
)
async def test_a_wrong_filter_is_refused_by_name(api: httpx.AsyncClient, query: str, named: str) -> None:
    answer = await api.get(f"/admin/jobs?{query}")

    assert answer.status_code == 422
    assert [fault["loc"] for fault in answer.json()["detail"]] == [["query", named]]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, []),
        ({"filter": {}, "ids": ["j1"]}, []),
        ({"filter": {"stauts": "failed"}}, ["filter", "stauts"]),
        ({"filter": {"q": "x"}}, ["filter", "q"]),
        ({"filter": {"task": "a\x00"}}, ["filter", "task"]),
        ({"ids": ["a\x00"]}, ["ids", 0]),
        ({"ids": [""]}, ["ids", 0]),
        ({"filter": {}, "dryrun": True}, ["dryrun"]),
    ],
)
@pytest.mark.parametrize("action", ["retry", "discard"])
async def test_a_wrong_choice_of_many_is_refused_by_name(
    api: httpx.AsyncClient, action: str, body: dict[str, Any], named: list[Any]
) -> None:
    answer = await api.post(f"/admin/jobs/{action}", json=body)

    assert answer.status_code == 422
    assert [fault["loc"] for fault in answer.json()["detail"]] == [["body", *named]]


@pytest.mark.parametrize("job_id", ["%00", "a%00b"])
async def test_an_id_that_no_job_has_is_refused(api: httpx.AsyncClient, job_id: str) -> None:
    for method, action in (("GET", ""), ("DELETE", ""), ("POST", "/retry"), ("POST", "/abort")):
        answer = await api.request(method, f"/admin/jobs/{job_id}{action}")

        assert answer.status_code == 422


ACTIONS = [
    "POST /admin/tasks/send_email_task/jobs",
    "POST /admin/jobs/retry",
    "POST /admin/jobs/discard",
    "POST /admin/jobs/j1/retry",
    "POST /admin/jobs/j1/abort",
    "DELETE /admin/jobs/j1",
    "POST /admin/queues/default/pause",
    "POST /admin/queues/default/resume",
    "POST /admin/schedules/cleanup_expired_carts/run",
    "POST /admin/schedules/cleanup_expired_carts/pause",
    "POST /admin/schedules/cleanup_expired_carts/resume",
]
READINGS = [
    "GET /admin/tasks",
    "GET /admin/jobs",
    "GET /admin/jobs/j1",
    "GET /admin/queues",
    "GET /admin/workers",
    "GET /admin/schedules",
    "GET /admin/events",
]


@pytest.mark.parametrize("call", ACTIONS)
async def test_viewers_do_not_act(api: httpx.AsyncClient, call: str) -> None:
    body = {"kwargs": MAIL} if call == ACTIONS[0] else {"ids": ["j1"]} if call in ACTIONS[1:3] else None

    answer = await api.request(*call.split(" "), headers=VIEWER, json=body)

    assert answer.status_code == 403
    assert answer.json() == {"detail": "this token only reads; acting takes an operator's"}


@pytest.mark.parametrize("call", READINGS + ACTIONS)
async def test_every_call_wants_a_token(api: httpx.AsyncClient, call: str) -> None:
    body = {"kwargs": MAIL} if call == ACTIONS[0] else {"ids": ["j1"]} if call in ACTIONS[1:3] else None

    answer = await api.request(*call.split(" "), headers={"Authorization": ""}, json=body)

    assert (answer.status_code, answer.json()) == (401, {"detail": "send Authorization: Bearer <token>"})


@pytest.mark.parametrize("call", [call for call in READINGS + ACTIONS if call != "GET /admin/jobs"])
async def test_unknown_parameters_are_refused_by_name(api: httpx.AsyncClient, call: str) -> None:
    method, path = call.split(" ")

    answer = await api.request(method, path, params={"froce": "1"})

    assert answer.status_code == 422
    assert ["query", "froce"] in [fault["loc"] for fault in answer.json()["detail"]]


@pytest.mark.parametrize("is_announced", [True, False])
async def test_a_body_that_is_too_large_is_refused(api: httpx.AsyncClient, is_announced: bool) -> None:
    body = json.dumps({"kwargs": {"x": "x" * MOST_BODY_BYTES}}).encode()

    async def in_pieces() -> AsyncIterator[bytes]:
        yield body[:1000]
        yield body[1000:]

    answer = await api.post(
        "/admin/tasks/send_email_task/jobs", content=body if is_announced else in_pieces(), headers=JSON
    )

    assert (answer.status_code, answer.json()) == (413, {"detail": "the body has more than 1048576 bytes"})


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b"\xf0\x28\x8c", b"null", b"[]", b'"x"'])
async def test_a_body_that_is_no_object_is_refused(api: httpx.AsyncClient, body: bytes) -> None:
    answer = await api.post("/admin/jobs/retry", content=body, headers=JSON)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][0] == "body"


@pytest.mark.parametrize("name", ["\ud800", "\x00", "x" * 100_000])
async def test_a_field_of_any_name_is_refused_by_it(api: httpx.AsyncClient, name: str) -> None:
    for body in ({name: 1}, {"kwargs": MAIL | {name: 1}}):
        answer = await api.post("/admin/tasks/send_email_task/jobs", content=json.dumps(body), headers=JSON)

        assert answer.status_code == 422
