"""Every row of the admin API's table over HTTP, against a worker that is a process, too."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
import redis.asyncio

from app.dev.fakes import Fakes, running_fakes
from app.dev.fakes.faults import Latency, Refusal
from app.dev.fakes.inbox import Provider
from app.dev.postgres import EmbeddedPostgres
from app.dev.valkey import EmbeddedValkey
from app.tasks import TASKS
from tests.conftest import fresh_database
from tests.e2e.admin_server import admin_server
from tests.e2e.commands import command
from tests.metrics import samples_in, value
from tests.settings import OPERATOR_TOKEN, as_environment, make_settings
from tests.sse import events_in
from tests.waiting import PATIENCE, until

SLOW, REFUSED = "slow@example.com", "refused@example.com"


@dataclass
class Shop:
    """The admin API, with a worker behind it that sends by the fakes."""

    api: httpx.AsyncClient
    fakes: Fakes

    def refuse(self, times: int) -> None:
        """So many mails to REFUSED are."""
        self.fakes.faults.add(Refusal(provider=Provider.SENDGRID, recipient=REFUSED, code=400, times=times))

    async def send(self, to: str = "asha@example.com", **others: Any) -> str:
        """The id of a job that mails."""
        mail = {"to_email": to, "subject": "Hello", "body": "Milk"}
        answer = await self.api.post("/admin/tasks/send_email_task/jobs", json={"kwargs": mail} | others)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def job(self, job_id: str) -> dict[str, Any]:
        answer = await self.api.get(f"/admin/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        return job

    async def job_that_is(self, status: str, job_id: str) -> dict[str, Any]:
        """The job, once it is that."""

        async def there() -> list[dict[str, Any]]:
            job = await self.job(job_id)
            return [job] if job["status"] == status else []

        [job] = await until(there)
        return job

    async def items(self, what: str, **query: str) -> list[dict[str, Any]]:
        answer = await self.api.get(f"/admin/{what}", params=query)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["items"]
        return found

    async def on_record(self, **query: str) -> list[dict[str, Any]]:
        """The jobs of a filter, once there are any."""
        return await until(lambda: self.items("jobs", **query))

    async def workers_that_run(self, job_id: str) -> list[dict[str, Any]]:
        return [worker for worker in await self.items("workers") if job_id in worker["running"]]

    async def act(self, call: str, body: Any = None) -> tuple[int, Any]:
        answer = await self.api.request(*call.split(" "), json=body)
        return answer.status_code, answer.json() if answer.content else None


@pytest.fixture(scope="module")
async def shop(
    postgres_server: EmbeddedPostgres, database_template: str, valkey_server: EmbeddedValkey
) -> AsyncIterator[Shop]:
    async with redis.asyncio.Redis.from_url(valkey_server.url) as client:
        await client.flushall()
    async with (
        fresh_database(postgres_server, template=database_template) as database_url,
        running_fakes() as fakes,
    ):
        fakes.faults.add(Latency(provider=Provider.SENDGRID, recipient=SLOW, milliseconds=3_600_000))
        settings = make_settings(database_url=database_url, redis_url=valkey_server.url, fakes_url=fakes.url)
        environment = as_environment(settings) | {"SHUTDOWN_GRACE_SECONDS": "0"}
        async with (
            command("arq", "worker.WorkerSettings", environment=environment),
            admin_server(environment) as server,
            httpx.AsyncClient(
                base_url=server.url, headers={"Authorization": f"Bearer {OPERATOR_TOKEN}"}, timeout=PATIENCE
            ) as api,
        ):
            shop = Shop(api, fakes)
            await until(lambda: shop.items("workers"))
            yield shop


async def test_health_and_metrics(shop: Shop) -> None:
    nobody = {"Authorization": ""}
    alive, ready, metrics = [await shop.api.get(path, headers=nobody) for path in ("/healthz", "/readyz", "/metrics")]

    assert (alive.json(), ready.json()) == ({"status": "ok"}, {"status": "ok"})
    assert value(samples_in(metrics.text), "indostar_workers", queue="default") == 1


async def test_tasks_are_listed_and_enqueued(shop: Shop) -> None:
    tasks = await shop.items("tasks")
    job_id = await shop.send(job_id="mine")

    assert [task["name"] for task in tasks] == [task.name for task in TASKS]
    done = await shop.job_that_is("succeeded", job_id)
    assert (done["id"], done["tries"], len(done["attempts"])) == ("mine", 1, 1)
    assert done["result"]["message_id"] == shop.fakes.inbox.find()[0].id
    path = "POST /admin/tasks/send_email_task/jobs"
    mail = {"to_email": "asha@example.com", "subject": "Hello", "body": "Milk"}
    assert (await shop.act(path, {"kwargs": mail, "job_id": "mine"}))[0] == 409
    assert (await shop.act(path, {"kwargs": {"to_email": "nobody"}}))[0] == 422
    assert (await shop.act("POST /admin/tasks/no_such_task/jobs", {"kwargs": {}}))[0] == 404


async def test_jobs_are_listed_and_looked_up(shop: Shop) -> None:
    first, second = await shop.send(), await shop.send()
    await shop.job_that_is("succeeded", first)
    await shop.job_that_is("succeeded", second)

    [found] = await shop.on_record(q=first, status="succeeded", queue="notifications", task="send_email_task")
    newest = await shop.items("jobs", limit="1")

    assert found["id"] == first
    assert [job["id"] for job in newest] == [second]
    assert (await shop.act("GET /admin/jobs/nowhere"))[0] == 404


async def test_a_job_that_failed_is_run_again(shop: Shop) -> None:
    shop.refuse(times=1)
    job_id = await shop.send(REFUSED)
    failed = await shop.job_that_is("failed", job_id)

    status, again = await shop.act(f"POST /admin/jobs/{job_id}/retry", {"resend": False})

    assert (failed["error"]["type"], len(failed["attempts"])) == ("ProviderRefused", 1)
    assert (status, again["retry_of"], again["can"]) == (202, job_id, "send email")
    assert (await shop.job_that_is("succeeded", again["id"]))["retry_of"] == job_id
    waits = await shop.send(delay_seconds=3600)
    assert (await shop.act(f"POST /admin/jobs/{waits}/retry"))[0] == 409


async def test_many_are_run_again(shop: Shop) -> None:
    since = datetime.now(UTC).isoformat()
    shop.refuse(times=3)
    jobs = [await shop.send(REFUSED) for _ in range(3)]
    for job_id in jobs:
        await shop.job_that_is("failed", job_id)
    wanted = {"filter": {"status": "failed", "queue": "notifications", "task": "send_email_task", "since": since}}

    _, dry = await shop.act("POST /admin/jobs/retry", wanted | {"dry_run": True})
    _, named = await shop.act("POST /admin/jobs/retry", {"ids": jobs[:1]})
    _, wet = await shop.act("POST /admin/jobs/retry", wanted)

    assert [(each["matched"], each["retried"]) for each in (dry, named, wet)] == [(3, 3), (1, 1), (3, 2)]
    for item in wet["items"]:
        await shop.job_that_is("succeeded", item["retried_as"])


async def test_jobs_are_discarded(shop: Shop) -> None:
    waits, runs = await shop.send(delay_seconds=3600), await shop.send(SLOW)
    await shop.job_that_is("running", runs)

    assert await shop.act(f"DELETE /admin/jobs/{waits}") == (204, None)
    assert (await shop.act(f"DELETE /admin/jobs/{runs}"))[0] == 409

    assert (await shop.job(waits))["status"] == "cancelled"
    assert (await shop.act(f"POST /admin/jobs/{runs}/abort"))[0] == 202


async def test_a_running_job_is_aborted(shop: Shop) -> None:
    runs = await shop.send(SLOW)
    await shop.job_that_is("running", runs)
    [worker] = await until(lambda: shop.workers_that_run(runs))

    status, _ = await shop.act(f"POST /admin/jobs/{runs}/abort")
    ended = await shop.job_that_is("cancelled", runs)
    again, _ = await shop.act(f"POST /admin/jobs/{runs}/abort")

    assert (status, again) == (202, 409)
    assert worker["queues"] == ["default", "notifications", "subscriptions"]
    assert ended["attempts"][0]["worker"] == worker["id"]


async def test_a_queue_is_paused_and_resumed(shop: Shop) -> None:
    status, paused = await shop.act("POST /admin/queues/notifications/pause")
    waits = await shop.send()
    [queue] = [queue for queue in await shop.items("queues") if queue["name"] == "notifications"]
    metrics = samples_in((await shop.api.get("/metrics")).text)
    _, resumed = await shop.act("POST /admin/queues/notifications/resume")

    assert (status, paused["paused"], resumed["paused"]) == (200, True, False)
    assert (queue["paused"], queue["waiting"]) == (True, 1)
    assert value(metrics, "indostar_queue_jobs", queue="notifications", state="waiting") == 1
    await shop.job_that_is("succeeded", waits)
    assert (await shop.act("POST /admin/queues/letters/pause"))[0] == 404


async def test_a_schedule_is_run_paused_and_resumed(shop: Shop) -> None:
    path = "POST /admin/schedules/cleanup_expired_carts"
    _, paused = await shop.act(f"{path}/pause")
    status, job = await shop.act(f"{path}/run")
    await shop.job_that_is("succeeded", job["id"])
    _, resumed = await shop.act(f"{path}/resume")

    [listed] = [each for each in await shop.items("schedules") if each["name"] == "cleanup_expired_carts"]
    assert (status, paused["paused"], resumed["paused"]) == (202, True, False)
    assert (listed["last_job_id"], listed["last_status"]) == (job["id"], "succeeded")
    assert (await shop.act("POST /admin/schedules/send_email_task/run"))[0] == 404


async def test_changes_are_told_as_they_happen(shop: Shop) -> None:
    raw = b""
    async with shop.api.stream("GET", "/admin/events?status=succeeded") as answer, asyncio.timeout(PATIENCE):
        job_id = await shop.send(job_id=uuid4().hex)
        async for part in answer.aiter_raw():
            raw += part
            if any(told.event == "job" and told.data["id"] == job_id for told in events_in(raw)):
                break

    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_a_paused_queue_stays_paused_when_redis_is_emptied(shop: Shop, valkey_server: EmbeddedValkey) -> None:
    """The last of this module: it empties what the others share."""
    await shop.act("POST /admin/queues/notifications/pause")
    async with redis.asyncio.Redis.from_url(valkey_server.url) as client:
        await client.flushall()

    async def is_paused() -> bool:
        return any(queue["paused"] for queue in await shop.items("queues"))

    await until(is_paused)
    waits = await shop.send()
    [queue] = [queue for queue in await shop.items("queues") if queue["name"] == "notifications"]
    await shop.act("POST /admin/queues/notifications/resume")

    assert (queue["paused"], queue["waiting"]) == (True, 1)
    await shop.job_that_is("succeeded", waits)
