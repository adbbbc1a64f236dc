"""`indostar worker` as a process with its children: they serve, are replaced, and end with it."""

import json
import os
import signal
from collections import Counter
from collections.abc import Mapping
from typing import Any

import psutil
import pytest

from app.dev.fakes import Fakes
from app.dev.fakes.faults import Latency
from app.dev.fakes.inbox import Provider
from app.jobs.lookup import JobState, find_job
from app.jobs.memory import Attempt
from app.jobs.pool import JobPool
from app.jobs.queues import Queue
from app.jobs.registry import WorkerEntry, workers
from app.tasks.notifications import send_email_task
from tests.e2e.commands import Command, command, run_to_end
from tests.settings import as_environment, make_settings
from tests.waiting import until

WORKER = ("python", "-m", "app", "worker")
NOTIFICATIONS = (*WORKER, "--queues", "notifications", "--concurrency", "5")


async def serving(pool: JobPool) -> list[WorkerEntry]:
    """The workers that are registered and do not drain."""
    return [worker for worker in await workers(pool) if not worker.is_draining]


async def until_serving(pool: JobPool, count: int) -> list[WorkerEntry]:
    async def enough() -> list[WorkerEntry]:
        alive = await serving(pool)
        return alive if len(alive) == count else []

    return await until(enough)


async def send(pool: JobPool, count: int, prefix: str = "job") -> None:
    for number in range(count):
        await send_email_task.using(job_id=f"{prefix}-{number}").enqueue(
            pool, f"{prefix}{number}@example.com", "Hello", "Milk"
        )


async def until_sent(fakes: Fakes, count: int) -> Counter[str]:
    """How many mails each recipient got, once there are so many."""
    await until(lambda: len(fakes.inbox.find(Provider.SENDGRID)) >= count)
    return Counter(recipient for mail in fakes.inbox.find(Provider.SENDGRID) for recipient in mail.to)


async def until_idle(pool: JobPool) -> None:
    async def is_empty() -> bool:
        return not await pool.zcard(Queue.NOTIFICATIONS.key)

    await until(is_empty)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def stop(worker: Command) -> None:
    worker.send(signal.SIGTERM)
    assert await worker.exit_code() == 0


async def test_processes_serve_the_chosen_queues_and_end_with_their_supervisor(
    environment: Mapping[str, str], pool: JobPool, fakes: Fakes
) -> None:
    queues = ("--queues", "notifications,default")
    async with command(
        *("python", "-X", "importtime", "-m", "app", "worker", *queues, "--processes", "2", "--concurrency", "3"),
        environment=environment,
    ) as worker:
        entries = await until_serving(pool, 2)
        await send(pool, 10)
        sent = await until_sent(fakes, 10)

        assert [entry.queues for entry in entries] == [{"default": 3, "notifications": 3}] * 2
        assert set(sent.values()) == {1}
        # The order in which queues are named is nothing to go by.
        code, told = await run_to_end(
            *WORKER, "--queues", "default,notifications", "--check", "--json", environment=environment
        )
        assert (code, json.loads(told)) == (0, {"alive": True, "queues": ["default", "notifications"]})
        assert (await run_to_end(*WORKER, "--check", environment=environment))[0] == 1
        worker.send(signal.SIGINT)
        assert await worker.exit_code() == 0
    assert all(is_gone(entry.pid) for entry in entries)
    assert await workers(pool) == []
    # -X importtime is for the supervisor alone, and its imports end in its memory.
    assert "app.supervisor" in worker.output
    assert "sqlalchemy" not in worker.output
    assert "app.tasks" not in worker.output


async def test_a_killed_child_is_replaced_and_its_jobs_are_taken_over(
    environment: Mapping[str, str], pool: JobPool, fakes: Fakes
) -> None:
    fakes.faults.add(Latency(provider=Provider.SENDGRID, milliseconds=60_000, times=1))
    async with command(*NOTIFICATIONS, environment=environment) as worker:
        [first] = await until_serving(pool, 1)
        await send(pool, 1, prefix="interrupted")
        await until(lambda: fakes.inbox.counts[Provider.SENDGRID].requests)

        os.kill(first.pid, signal.SIGKILL)
        await send(pool, 5)
        sent = await until_sent(fakes, 6)

        assert set(sent.values()) == {1}
        interrupted = await until(lambda: with_two_attempts(pool, "interrupted-0"))
        # Nobody sends it again while the request of the dead one might still be under way.
        assert [attempt.outcome for attempt in interrupted] == ["lost", "put_off"]
        assert "exit=SIGKILL" in worker.output
        await stop(worker)


async def with_two_attempts(pool: JobPool, job_id: str) -> list[Attempt]:
    job = await find_job(pool, job_id)
    return job.attempts if job is not None and len(job.attempts) == 2 else []


async def test_worn_out_processes_are_replaced_before_they_leave_and_no_job_runs_twice(
    environment: Mapping[str, str], pool: JobPool, fakes: Fakes
) -> None:
    recycling = {**environment, "WORKER_MAX_TASKS_PER_CHILD": "8"}
    async with command(*NOTIFICATIONS, "--processes", "2", environment=recycling) as worker:
        await until_serving(pool, 2)
        fewest, seen, batch = 2, set[int](), 0

        async def has_replaced_three() -> bool:
            nonlocal fewest, batch
            entries = await serving(pool)
            fewest = min(fewest, len(entries))
            seen.update(entry.pid for entry in entries)
            if not await pool.zcard(Queue.NOTIFICATIONS.key):
                await send(pool, 50, prefix=f"batch{batch}-")
                batch += 1
            return len(seen) >= 5

        await until(has_replaced_three)
        await until_idle(pool)
        sent = await until_sent(fakes, 50 * batch)

        assert fewest == 2
        assert set(sent.values()) == {1}
        assert len(sent) == 50 * batch
        await stop(worker)
    assert worker.output.count("worker.recycling") >= 3
    assert "supervisor.child_lost" not in worker.output


async def test_sighup_brings_new_processes_and_a_running_job_ends_in_its_old_one(
    environment: Mapping[str, str], pool: JobPool, fakes: Fakes
) -> None:
    async with command(*NOTIFICATIONS, environment=environment) as worker:
        [old] = await until_serving(pool, 1)
        # For as long as a worker waits for an answer.
        fakes.faults.add(Latency(provider=Provider.SENDGRID, milliseconds=60_000, times=1))
        await send(pool, 1)
        await until(lambda: fakes.inbox.counts[Provider.SENDGRID].requests)

        worker.send(signal.SIGHUP)

        await until(lambda: "worker.draining" in worker.output)
        fakes.faults.clear()
        await until(lambda: is_gone(old.pid))
        [new] = await serving(pool)
        assert new.pid != old.pid
        job = await find_job(pool, "job-0")
        assert job is not None
        assert (job.state, job.tries) == (JobState.SUCCEEDED, 1)
        await stop(worker)


async def test_sigterm_lets_running_jobs_end_and_a_second_one_hands_them_back(
    environment: Mapping[str, str], pool: JobPool, fakes: Fakes
) -> None:
    async with command(*NOTIFICATIONS, environment=environment) as worker:
        await until_serving(pool, 1)
        # One after the other: of faults that are active together, a request suffers all.
        counts = fakes.inbox.counts[Provider.SENDGRID]
        fakes.faults.add(Latency(provider=Provider.SENDGRID, milliseconds=1000, times=1))
        await send(pool, 1, prefix="short")
        await until(lambda: counts.requests == 1)
        fakes.faults.add(Latency(provider=Provider.SENDGRID, milliseconds=60_000, times=1))
        await send(pool, 1, prefix="long")
        await until(lambda: counts.requests == 2)

        worker.send(signal.SIGTERM)
        await until(lambda: "worker.draining" in worker.output)
        await until(lambda: has_ended_one(pool))
        worker.send(signal.SIGTERM)

        assert await worker.exit_code() == 0
    short, long = await find_job(pool, "short-0"), await find_job(pool, "long-0")
    assert short
    assert long
    assert (short.state, short.tries) == (JobState.SUCCEEDED, 1)
    assert (long.state, long.tries) == (JobState.QUEUED, 0)


async def has_ended_one(pool: JobPool) -> bool:
    return int(await pool.zcard(Queue.NOTIFICATIONS.key)) == 1


async def test_children_of_a_killed_supervisor_finish_their_jobs_and_end(
    environment: Mapping[str, str], pool: JobPool, fakes: Fakes
) -> None:
    async with command(*NOTIFICATIONS, "--processes", "2", environment=environment) as worker:
        entries = await until_serving(pool, 2)
        fakes.faults.add(Latency(provider=Provider.SENDGRID, milliseconds=1000))
        await send(pool, 10)
        await until(lambda: fakes.inbox.counts[Provider.SENDGRID].requests >= 10)

        worker.send(signal.SIGKILL)

        await until(lambda: all(is_gone(entry.pid) for entry in entries))
    assert await workers(pool) == []
    jobs = [await find_job(pool, f"job-{number}") for number in range(10)]
    assert {(job.state, job.tries) for job in jobs if job} == {(JobState.SUCCEEDED, 1)}


async def test_burst_empties_the_chosen_queues_and_ends(
    environment: Mapping[str, str], pool: JobPool, fakes: Fakes
) -> None:
    await send(pool, 3)

    code, _ = await run_to_end(*NOTIFICATIONS, "--burst", environment=environment)

    assert code == 0
    assert len(fakes.inbox.find(Provider.SENDGRID)) == 3


@pytest.mark.parametrize(
    ("arguments", "changes", "code", "said"),
    [
        (["--queues", "milk,default"], {}, 2, "default, notifications, subscriptions"),
        (["--queues", ""], {}, 2, "default, notifications, subscriptions"),
        (["--processes", "0"], {}, 2, "--processes"),
        (["--concurrency", "0"], {}, 2, "--concurrency"),
        (["--burst", "--processes", "2"], {}, 2, "--burst"),
        ([], {"DATABASE_URL": "nonsense"}, 2, "DATABASE_URL"),
        (["--json"], {}, 2, "--check"),
        (["--check"], {"REDIS_URL": "redis://127.0.0.1:1/0"}, 1, "Redis"),
    ],
)
async def test_a_wrong_call_is_a_line_and_an_exit_code(
    arguments: list[str], changes: Mapping[str, str], code: int, said: str
) -> None:
    values: dict[str, Any] = as_environment(make_settings())

    exit_code, output = await run_to_end(*WORKER, *arguments, environment={**values, **changes, "COLUMNS": "200"})

    assert exit_code == code
    assert said in output
    assert "Traceback" not in output
