"""`arq worker.WorkerSettings` as a process: start, work, check, burst and every way to end."""

import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.dev.fakes import Fakes
from app.dev.fakes.faults import Latency
from app.dev.fakes.inbox import Provider
from app.dev.state import free_port
from app.dev.valkey import EmbeddedValkey
from app.history.reader import JobFilter
from app.jobs.lookup import JobState, find_job
from app.jobs.memory import Attempt
from app.jobs.pool import JobPool
from app.jobs.queues import Queue
from app.jobs.registry import is_alive
from app.tasks import TASKS
from app.tasks.notifications import send_email_task, send_order_confirmation_task, send_sms_task
from tests.e2e.commands import command, run_to_end
from tests.folders import open_folder
from tests.history import open_history
from tests.running import open_pool
from tests.waiting import until

ARQ = ("arq", "worker.WorkerSettings")
MAIL = ("asha@example.com", "Hello", "Milk")


async def test_it_does_the_work_at_the_servers_that_the_environment_names(
    environment: Mapping[str, str], pool: JobPool, fakes: Fakes
) -> None:
    async with command(*ARQ, environment=environment) as worker:
        job = await send_order_confirmation_task.enqueue(
            pool, "asha@example.com", "9812345678", "ORD-7", "Asha", "64.00", "Pune"
        )
        assert job is not None

        result = await job.result(timeout=20, poll_delay=0.05)

        assert [result["email"]["message_id"]] == [mail.id for mail in fakes.inbox.find(Provider.SENDGRID)]
        assert [result["sms"]["message_id"]] == [sms.id for sms in fakes.inbox.find(Provider.TWILIO)]
        worker.send(signal.SIGTERM)
        assert await worker.exit_code() == 0
    assert "asha@example.com" not in worker.output
    assert "9812345678" not in worker.output


async def test_check_tells_whether_a_worker_lives(environment: Mapping[str, str], redis_url: str) -> None:
    assert (await run_to_end(*ARQ, "--check", environment=environment))[0] == 1

    async with command(*ARQ, environment=environment):
        await until(lambda: is_alive(redis_url))

        assert (await run_to_end(*ARQ, "--check", environment=environment))[0] == 0


async def test_burst_empties_the_three_queues_and_leaves_what_is_deferred(
    environment: Mapping[str, str], pool: JobPool, fakes: Fakes, database_url: str
) -> None:
    for queue in Queue:
        await send_email_task.using(queue=queue).enqueue(pool, *MAIL)
    await pool.enqueue_job("send_email_task", *MAIL, _job_id="later", _defer_by=3600)

    code, _ = await run_to_end(*ARQ, "--burst", environment=environment)

    assert code == 0
    assert len(fakes.inbox.find()) == 3
    later = await find_job(pool, "later")
    assert later is not None
    assert later.state is JobState.SCHEDULED
    async with open_history(pool, database_url) as history:
        on_record = (await history.reader.page(JobFilter(), limit=10)).items
    assert Counter(job.state for job in on_record) == {JobState.SUCCEEDED: 3, JobState.SCHEDULED: 1}


@pytest.mark.parametrize(
    ("settings", "queue"),
    [
        ("worker.DefaultWorker", Queue.DEFAULT),
        ("worker.NotificationsWorker", Queue.NOTIFICATIONS),
        ("worker.SubscriptionsWorker", Queue.SUBSCRIPTIONS),
    ],
)
async def test_a_one_queue_worker_serves_its_queue_only(
    environment: Mapping[str, str], pool: JobPool, settings: str, queue: Queue
) -> None:
    for each in Queue:
        await send_email_task.using(queue=each, job_id=each.value).enqueue(pool, *MAIL)

    code, _ = await run_to_end("arq", settings, "--burst", environment=environment)

    assert code == 0
    states = {each: await find_job(pool, each.value) for each in Queue}
    assert {each for each, job in states.items() if job and job.state is JobState.SUCCEEDED} == {queue}


async def test_sigterm_lets_a_running_job_end(environment: Mapping[str, str], pool: JobPool, fakes: Fakes) -> None:
    fakes.faults.add(Latency(provider=Provider.SENDGRID, milliseconds=1000))
    async with command(*ARQ, environment=environment) as worker:
        await send_email_task.using(job_id="j1").enqueue(pool, *MAIL)
        await until(lambda: fakes.inbox.counts[Provider.SENDGRID].requests)

        worker.send(signal.SIGTERM)

        assert await worker.exit_code() == 0
    job = await find_job(pool, "j1")
    assert job is not None
    assert (job.state, job.tries) == (JobState.SUCCEEDED, 1)


async def test_a_second_sigterm_hands_the_job_back_at_once(
    environment: Mapping[str, str], pool: JobPool, fakes: Fakes
) -> None:
    fakes.faults.add(Latency(provider=Provider.SENDGRID, milliseconds=60_000))
    async with command(*ARQ, environment=environment) as worker:
        await send_email_task.using(job_id="j1").enqueue(pool, *MAIL)
        await until(lambda: fakes.inbox.counts[Provider.SENDGRID].requests)

        worker.send(signal.SIGTERM)
        await until(lambda: "worker.draining" in worker.output)
        worker.send(signal.SIGTERM)

        assert await worker.exit_code() == 0
    job = await find_job(pool, "j1")
    assert job is not None
    assert (job.state, job.tries) == (JobState.QUEUED, 0)


async def test_a_killed_workers_job_runs_again_when_its_lease_is_over(
    environment: Mapping[str, str], pool: JobPool, fakes: Fakes
) -> None:
    fakes.faults.add(Latency(provider=Provider.TWILIO, milliseconds=60_000, times=1))
    async with command(*ARQ, environment=environment) as worker:
        job = await send_sms_task.using(job_id="j1").enqueue(pool, "9812345678", "Milk")
        assert job is not None
        await until(lambda: fakes.inbox.counts[Provider.TWILIO].requests)
        worker.send(signal.SIGKILL)

    async with command(*ARQ, environment=environment):
        attempts = await until(lambda: _two_attempts(pool))

    # Nobody sends it again while the request of the dead one might still be under way.
    assert [attempt.outcome for attempt in attempts] == ["lost", "put_off"]
    assert attempts[1].error is not None
    assert attempts[1].error.type == "BeingSent"
    assert len(fakes.inbox.find()) == 1


async def _two_attempts(pool: JobPool) -> list[Attempt]:
    job = await find_job(pool, "j1")
    return job.attempts if job is not None and len(job.attempts) == 2 else []


async def test_a_wrong_setting_stops_it_with_a_line_and_no_traceback(environment: Mapping[str, str]) -> None:
    code, output = await run_to_end(*ARQ, environment={**environment, "REDIS_URL": "nonsense", "LOG_LEVEL": "LOUD"})

    assert code == 2
    assert sorted(output.splitlines()) == [
        "LOG_LEVEL: Input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'",
        "REDIS_URL: must begin with redis:// or rediss://",
    ]


async def test_a_loop_that_dies_ends_the_process(environment: Mapping[str, str], pool: JobPool) -> None:
    await pool.acl_setuser(
        "guest", enabled=True, nopass=True, keys=["*"], channels=["*"], commands=["+@all", "-zrange"]
    )
    url = environment["REDIS_URL"].replace("redis://", "redis://guest:any@")
    try:
        code, output = await run_to_end(*ARQ, environment={**environment, "REDIS_URL": url})
    finally:
        await pool.acl_deluser("guest")

    assert code == 1
    assert "has no permissions" in output


async def test_it_lives_through_an_outage_of_redis_and_ends_well_during_one(environment: Mapping[str, str]) -> None:
    with open_folder() as folder:
        async with EmbeddedValkey(folder) as valkey:
            url = valkey.url
            async with command(*ARQ, environment={**environment, "REDIS_URL": url}) as worker:
                await until(lambda: is_alive(url))
                await valkey.stop()
                await until(lambda: "redis.lost" in worker.output)
                await valkey.start()
                await until(lambda: "redis.back" in worker.output)
                async with open_pool(url, TASKS) as pool:
                    job = await send_email_task.enqueue(pool, *MAIL)
                    assert job is not None
                    assert (await job.result(timeout=20, poll_delay=0.05))["status"] == "sent"

                await valkey.stop()
                await until(lambda: worker.output.count("redis.lost") == 2)
                worker.send(signal.SIGTERM)

                assert await worker.exit_code() == 0
            await valkey.start()
        assert worker.output.count("redis.lost") == 2


async def test_it_waits_for_a_redis_that_is_not_there_yet(environment: Mapping[str, str], fakes: Fakes) -> None:
    with open_folder() as folder:
        await _redis_comes_late(environment, folder)


async def _redis_comes_late(environment: Mapping[str, str], folder: Path) -> None:
    port = free_port(0)
    (folder / "valkey-port").write_text(str(port))
    url = f"redis://127.0.0.1:{port}/0"
    async with command(*ARQ, environment={**environment, "REDIS_URL": url}) as worker:
        await until(lambda: "redis.lost" in worker.output)

        async with EmbeddedValkey(folder, durable=False) as late, open_pool(late.url, TASKS) as pool:
            assert late.url == url
            job = await send_email_task.enqueue(pool, *MAIL)
            assert job is not None
            assert (await job.result(timeout=20, poll_delay=0.05))["status"] == "sent"
            worker.send(signal.SIGTERM)
            assert await worker.exit_code() == 0
