"""One moment seen in three ways: the admin API, the command line and /metrics say the same."""

from collections.abc import Mapping
from typing import Any

import httpx

from app.dev.fakes import Fakes
from app.dev.fakes.faults import Latency
from app.dev.fakes.inbox import Provider
from app.jobs.pool import JobPool
from tests.command_line import CommandLine
from tests.e2e.admin_server import admin_server
from tests.e2e.commands import command
from tests.metrics import samples_in, value
from tests.settings import OPERATOR_TOKEN
from tests.waiting import until

MAIL: dict[str, Any] = {"to_email": "asha@example.com", "subject": "Hello", "body": "Milk"}
# What goes on by itself from one look to the next.
RESTLESS = {"oldest_wait_seconds", "last_seen_at", "memory_bytes"}


def at_rest(seen: Any) -> Any:
    if isinstance(seen, dict):
        return {name: at_rest(each) for name, each in seen.items() if name not in RESTLESS}
    return [at_rest(each) for each in seen] if isinstance(seen, list) else seen


async def test_api_command_line_and_metrics_agree(environment: Mapping[str, str], pool: JobPool, fakes: Fakes) -> None:
    indostar = CommandLine(environment)
    fakes.faults.add(Latency(provider=Provider.SENDGRID, milliseconds=60_000, times=1))
    async with (
        admin_server(environment) as server,
        httpx.AsyncClient(base_url=server.url, headers={"Authorization": f"Bearer {OPERATOR_TOKEN}"}) as api,
        command("arq", "worker.WorkerSettings", environment=environment),
    ):
        # One job runs, one is for later, one waits on a paused queue.
        await indostar("pause", "default")
        await pool.enqueue_job("cleanup_expired_tokens", _job_id="held")
        await pool.enqueue_job("send_email_task", **MAIL, _job_id="later", _defer_by=3600)
        await pool.enqueue_job("send_email_task", **MAIL, _job_id="running")

        async def worker_says_so() -> bool:
            # It does every three seconds.
            listed: list[Any] = (await api.get("/admin/workers")).json()["items"]
            return any("running" in worker["running"] for worker in listed)

        await until(worker_says_so)

        async def of_api(path: str) -> Any:
            return at_rest((await api.get(path)).json())

        jobs = {job_id: await of_api(f"/admin/jobs/{job_id}") for job_id in ("held", "later", "running")}
        queues, workers = await of_api("/admin/queues"), await of_api("/admin/workers")
        schedules, tasks = await of_api("/admin/schedules"), await of_api("/admin/tasks")
        shown = {job_id: at_rest(await indostar.json("job", job_id)) for job_id in jobs}
        told = {name: at_rest(await indostar.json(name)) for name in ("queues", "workers", "schedules", "tasks")}
        samples = samples_in((await api.get("/metrics")).text)

    for job in shown.values():
        del job["explanation"]
    assert shown == jobs
    assert {job_id: job["status"] for job_id, job in jobs.items()} == {
        "held": "queued",
        "later": "scheduled",
        "running": "running",
    }
    assert told == {"queues": queues, "workers": workers, "schedules": schedules, "tasks": tasks}
    for queue in queues["items"]:
        for state in ("waiting", "scheduled", "running"):
            assert value(samples, "indostar_queue_jobs", queue=queue["name"], state=state) == queue[state]
        assert value(samples, "indostar_queue_paused", queue=queue["name"]) == queue["paused"]
        serving = [worker for worker in workers["items"] if queue["name"] in worker["queues"]]
        assert value(samples, "indostar_workers", queue=queue["name"]) == len(serving)
        slots = sum(worker["slots"][queue["name"]] for worker in serving)
        assert value(samples, "indostar_worker_slots", queue=queue["name"]) == slots
    assert [(queue["waiting"], queue["scheduled"], queue["running"]) for queue in queues["items"]] == [
        (1, 0, 0),
        (0, 1, 1),
        (0, 0, 0),
    ]
