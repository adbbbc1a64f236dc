"""docs/from-celery.md is true: what each of its lines says is done here."""

import asyncio
import pickle
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any

import httpx
import pytest
import redis.asyncio
from arq.cron import cron
from arq.jobs import JobStatus

from admin_api.application import create_app
from app import outbox
from app.db.engine import Database
from app.dev.postgres import EmbeddedPostgres
from app.dev.valkey import EmbeddedValkey
from app.errors import NotDone, OutcomeUnknown, Refused
from app.jobs.context import Context, Resources
from app.jobs.failures import WrongArguments
from app.jobs.lookup import JobRecord, JobState
from app.jobs.pool import JobPool, NewJob
from app.jobs.queues import Queue
from app.jobs.registry import health_key, workers
from app.jobs.retry import RetryPolicy
from app.jobs.serializer import JobFailed
from app.jobs.task import TaskRegistry
from app.jobs.time_limits import SoftTimeLimitExceeded
from app.settings import PROJECT_ROOT, Settings
from app.tasks.serving import worker_options
from tests.command_line import CommandLine
from tests.conftest import fresh_database
from tests.e2e.commands import command
from tests.history import open_history
from tests.running import found, open_pool, run_burst, running_worker
from tests.settings import OPERATOR_TOKEN, as_environment, make_settings
from tests.waiting import PATIENCE, until

PAGE = PROJECT_ROOT / "docs" / "from-celery.md"
SMS = ("send_sms_task", "phone=9812345678", "message=Hello")

tasks = TaskRegistry()
at_once = RetryPolicy(first=timedelta(0))


class Notes:
    """What tasks noted, by job."""

    def __init__(self) -> None:
        self.of: dict[str, list[Any]] = {}
        self.may_end = asyncio.Event()

    def add(self, ctx: Context, *what: Any) -> None:
        self.of.setdefault(ctx.job_id, []).extend(what)


@tasks.task(queue=Queue.NOTIFICATIONS, retry=at_once)
async def note(ctx: Context, a: int = 0, fails: str | None = None) -> int:
    """Notes what it is given, and fails as it is told to."""
    ctx[Notes].add(ctx, a, ctx.job_try)
    ctx.progress(1, 2, "half")
    match fails:
        case "later":
            raise NotDone("not now", retry_after=timedelta(minutes=1))
        case "for good":
            raise Refused("no")
        case "by a fault":
            raise KeyError("milk")
        case _:
            return a


@tasks.task(queue=Queue.NOTIFICATIONS, soft_time_limit=timedelta(milliseconds=50))
async def take_long(ctx: Context) -> str:
    """Runs for too long, and cleans up when it is asked to end."""
    try:
        await asyncio.Event().wait()
    except SoftTimeLimitExceeded:
        return "cleaned up"
    return "never"


@tasks.task(
    queue=Queue.NOTIFICATIONS, soft_time_limit=timedelta(milliseconds=50), time_limit=timedelta(milliseconds=100)
)
async def take_too_long(ctx: Context) -> None:
    """Does not end when it is asked to."""
    while True:
        with suppress(SoftTimeLimitExceeded):
            await asyncio.Event().wait()


@tasks.task(queue=Queue.NOTIFICATIONS, max_per_second=10, max_in_flight=2)
async def go_slowly(ctx: Context) -> None:
    """Waits until it may end."""
    await ctx[Notes].may_end.wait()


@tasks.task(queue=Queue.DEFAULT, schedule=partial(cron, hour=2, minute=0), retry=RetryPolicy(retries=5))
async def tidy(ctx: Context) -> None:
    """Runs each night."""


class Shop:
    """Servers with nothing in them, and whoever worked with Celery before."""

    def __init__(self, pool: JobPool, database_url: str, redis_url: str) -> None:
        self.pool = pool
        self.settings = make_settings(
            database_url=database_url, redis_url=redis_url, email_provider="console", sms_provider="console"
        )
        self.environment = as_environment(self.settings)
        self.indostar = CommandLine(self.environment)
        self.notes = Notes()

    async def run(self) -> None:
        await run_burst(self.pool, [self.notes])

    async def ended(self, **arguments: Any) -> JobRecord:
        """A job of `note`, once nothing is left to be done about it now."""
        job = await self.pool.enqueue_job("note", **arguments)
        assert job is not None
        await self.run()
        return await found(self.pool, job.job_id)

    async def enqueued(self, *options: str) -> str:
        return (await self.indostar("enqueue", *SMS, *options)).out.strip()


@pytest.fixture(scope="module")
async def shop(
    postgres_server: EmbeddedPostgres, database_template: str, valkey_server: EmbeddedValkey
) -> AsyncIterator[Shop]:
    """One for all lines: each leaves it as it does not mind to find it."""
    async with redis.asyncio.Redis.from_url(valkey_server.url) as client:
        await client.flushall()
    async with (
        fresh_database(postgres_server, template=database_template) as database_url,
        open_pool(valkey_server.url, tasks) as pool,
    ):
        yield Shop(pool, database_url, valkey_server.url)


Check = Callable[[Shop], Awaitable[None]]
CHECKS: dict[str, Check] = {}
# Of each check the first of its lines.
FIRST_LINES: list[str] = []


def line(*before: str) -> Callable[[Check], Check]:
    """The check of the lines that begin so."""

    def keep(check: Check) -> Check:
        CHECKS.update(dict.fromkeys(before, check))
        FIRST_LINES.append(before[0])
        return check

    return keep


def lines_of_the_page() -> list[str]:
    return [
        re.split(r"(?<!\\)\|", row)[1].strip()
        for row in PAGE.read_text().splitlines()
        if row.startswith("|") and not row.startswith(("| before", "| ---"))
    ]


def test_every_line_of_the_page_is_checked() -> None:
    assert set(CHECKS) == set(lines_of_the_page())


# Commands.


@line("`celery -A tasks worker`")
async def _(shop: Shop) -> None:
    from app.cli.supervise import chosen_queues

    assert chosen_queues(None) == list(Queue)
    assert set(worker_options(shop.settings, list(Queue)).slots) == set(Queue)


@line("`celery -A tasks worker -Q notifications -c 8`", "`celery -A tasks worker --pool prefork`", "HUP (restart)")
async def _(shop: Shop) -> None:
    async def serving() -> dict[int, Any]:
        shown = (await shop.indostar.json("workers"))["items"]
        return {worker["pid"]: worker["slots"] for worker in shown if not worker["draining"]}

    async def are_two() -> dict[int, Any]:
        slots = await serving()
        return slots if len(slots) == 2 else {}

    options = ("--queues", "notifications", "--concurrency", "8", "--processes", "2")
    async with command("indostar", "worker", *options, environment=shop.environment) as supervisor:
        first = await until(are_two)
        supervisor.send(signal.SIGHUP)

        async def is_one_replaced() -> bool:
            return bool((await serving()).keys() - first.keys())

        await until(is_one_replaced)
        supervisor.send(signal.SIGTERM)
        code = await supervisor.exit_code()

    assert list(first.values()) == [{"notifications": 8}] * 2
    assert code == 0


@line("`celery -A tasks beat`")
async def _(shop: Shop) -> None:
    shown = (await shop.indostar.json("schedules"))["items"]

    assert {schedule["name"] for schedule in shown} >= {"cleanup_expired_carts", "cleanup_expired_tokens"}


@line("`celery -A tasks flower`")
async def _(shop: Shop) -> None:
    api = create_app(shop.settings)
    async with (
        api.router.lifespan_context(api),
        httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://api") as client,
    ):
        metrics = await client.get("/metrics")
        listed = await client.get("/admin/tasks", headers={"Authorization": f"Bearer {OPERATOR_TOKEN}"})

    assert "indostar_queue_jobs" in metrics.text
    assert listed.status_code == 200
    assert api.url_path_for("watch") == "/admin/events"


@line("`celery -A tasks events`")
async def _(shop: Shop) -> None:
    async with command("indostar", "events", "--json", environment=shop.environment) as watching:

        async def is_told() -> bool:
            await shop.enqueued()
            return '"status":"queued"' in watching.output

        await until(is_told, every=0.3)
        watching.send(signal.SIGINT)
        assert await watching.exit_code() == 0


@line("`celery -A tasks status`")
async def _(shop: Shop) -> None:
    probe = ("worker", "--check", "--queues", "subscriptions")
    before = await shop.indostar(*probe)
    async with running_worker(shop.pool, slots={Queue.SUBSCRIPTIONS: 1}, health_key=health_key(Queue.SUBSCRIPTIONS)):
        await until(lambda: workers(shop.pool))
        shown = await shop.indostar("workers")
        during = await shop.indostar(*probe)

    assert "subscriptions (1)" in shown.out
    assert (before.code, during.code) == (1, 0)


@line("`celery -A tasks inspect active`")
async def _(shop: Shop) -> None:
    shop.notes.may_end.clear()
    async with running_worker(shop.pool, [shop.notes]):
        job = await shop.pool.enqueue_job("go_slowly")
        assert job is not None

        async def is_listed() -> bool:
            await on_record(shop)
            return job.job_id in (await shop.indostar("jobs", "--status", "running")).out

        await until(is_listed)
        shop.notes.may_end.set()


@line("`celery -A tasks inspect reserved`", "`worker_prefetch_multiplier`")
async def _(shop: Shop) -> None:
    # One slot is taken, and what the worker can't start at once nobody reserves.
    shop.notes.may_end.clear()
    async with running_worker(shop.pool, [shop.notes], slots={Queue.NOTIFICATIONS: 1}):
        first, second = [await shop.pool.enqueue_job("go_slowly") for _ in range(2)]
        assert first is not None
        assert second is not None
        await until(lambda: is_in(shop, first.job_id, JobState.RUNNING))
        assert await is_in(shop, second.job_id, JobState.QUEUED)
        shop.notes.may_end.set()
    assert (await shop.indostar("jobs", "--status", "queued")).code == 0


@line("`celery -A tasks inspect scheduled`")
async def _(shop: Shop) -> None:
    job_id = await shop.enqueued("--in", "1h")
    await on_record(shop)

    assert job_id in (await shop.indostar("jobs", "--status", "scheduled")).out


@line("`celery -A tasks inspect registered`")
async def _(shop: Shop) -> None:
    assert "send_email_task" in (await shop.indostar("tasks")).out


@line("`celery -A tasks inspect stats`")
async def _(shop: Shop) -> None:
    async with running_worker(shop.pool, [shop.notes]):
        await until(lambda: workers(shop.pool))
        [worker] = (await shop.indostar.json("workers"))["items"]
        queues = await shop.indostar("queues")

    assert {"done", "failed", "memory_bytes", "started_at"} <= worker.keys()
    assert "notifications" in queues.out


@line("`celery -A tasks call send_sms_task --kwargs '{...}'`")
async def _(shop: Shop) -> None:
    by_words = await shop.enqueued()
    by_json = await shop.indostar(
        "enqueue", "send_sms_task", "--json-args", '{"phone": "98123 45678", "message": "Hi"}'
    )

    assert (await found(shop.pool, by_words)).kwargs == {"phone": "+919812345678", "message": "Hello"}
    assert (await found(shop.pool, by_json.out.strip())).kwargs["message"] == "Hi"


@line("`celery -A tasks result ID`")
async def _(shop: Shop) -> None:
    job = await shop.ended(a=7)
    await on_record(shop)
    fresh = await shop.indostar("job", job.id)
    await shop.pool.delete(f"arq:result:{job.id}")

    expired = await shop.indostar("job", job.id)

    for told in (fresh, expired):
        assert "result" in told.out
        assert "It succeeded at its first try." in told.out


@line("`celery -A tasks control revoke ID`")
async def _(shop: Shop) -> None:
    waiting = await shop.enqueued("--in", "1h")
    shop.notes.may_end.clear()
    async with running_worker(shop.pool, [shop.notes]):
        running = await shop.pool.enqueue_job("go_slowly")
        assert running is not None
        await until(lambda: is_in(shop, running.job_id, JobState.RUNNING))
        for job_id in (waiting, running.job_id):
            await shop.indostar("abort", job_id)
            await until(partial(is_in, shop, job_id, JobState.CANCELLED))


@line("`celery -A tasks control cancel_consumer notifications`")
async def _(shop: Shop) -> None:
    await shop.indostar("pause", "notifications")
    job = await shop.ended()
    await shop.indostar("resume", "notifications")
    await shop.run()

    assert job.state is JobState.QUEUED
    assert await is_in(shop, job.id, JobState.SUCCEEDED)


@line("`celery -A tasks purge -Q notifications`")
async def _(shop: Shop) -> None:
    job_id = await shop.enqueued()

    purged = await shop.indostar("purge", "notifications", "--yes")

    assert purged.code == 0
    assert await is_in(shop, job_id, JobState.CANCELLED)


@line("TERM (warm shutdown)")
async def _(shop: Shop) -> None:
    shop.notes.may_end.clear()
    # What TERM calls, with no grace at all.
    async with running_worker(shop.pool, [shop.notes], grace=timedelta(0)):
        job = await shop.pool.enqueue_job("go_slowly")
        assert job is not None
        await until(lambda: is_in(shop, job.job_id, JobState.RUNNING))

    handed_back = await found(shop.pool, job.job_id)
    assert (handed_back.state, handed_back.tries) == (JobState.QUEUED, 0)
    shop.notes.may_end.set()
    await shop.run()
    assert await is_in(shop, job.job_id, JobState.SUCCEEDED)


# Calls.


@line("`task.delay(a=1)`")
async def _(shop: Shop) -> None:
    jobs = [await note.enqueue(shop.pool, a=1), await shop.pool.enqueue_job("note", a=1)]
    await shop.run()

    assert [await job.result(timeout=PATIENCE) for job in jobs if job is not None] == [1, 1]
    with pytest.raises(WrongArguments):
        await shop.pool.enqueue_job("note", b=1)


@line("`task.apply_async(kwargs={...}, countdown=300)`")
async def _(shop: Shop) -> None:
    jobs = [
        await note.using(defer_by=timedelta(minutes=5)).enqueue(shop.pool, a=1),
        await shop.pool.enqueue_job("note", a=1, _defer_by=300),
    ]

    for job in jobs:
        assert job is not None
        run_at = (await found(shop.pool, job.job_id)).run_at
        assert run_at is not None
        assert timedelta(minutes=4) < run_at - datetime.now(UTC) <= timedelta(minutes=5)


@line("`task.apply_async(eta=at)`")
async def _(shop: Shop) -> None:
    at = datetime(2035, 3, 5, 8, tzinfo=UTC)
    jobs = [
        await note.using(defer_until=at).enqueue(shop.pool),
        await shop.pool.enqueue_job("note", _defer_until=at),
    ]

    assert [(await found(shop.pool, job.job_id)).run_at for job in jobs if job is not None] == [at, at]


@line("`task.apply_async(expires=60)`")
async def _(shop: Shop) -> None:
    await shop.indostar("pause", "notifications")
    job = await note.using(expires=timedelta(milliseconds=1)).enqueue(shop.pool)
    kept = await shop.pool.enqueue_job("note", _expires=60)
    assert job is not None
    assert kept is not None
    await shop.indostar("resume", "notifications")
    await shop.run()

    expired = await found(shop.pool, job.job_id)
    assert expired.error is not None
    assert (expired.state, expired.error.type) == (JobState.FAILED, "JobExpired")
    assert await is_in(shop, kept.job_id, JobState.SUCCEEDED)


@line('`task.apply_async(queue="default")`')
async def _(shop: Shop) -> None:
    jobs = [
        await note.using(queue=Queue.DEFAULT).enqueue(shop.pool),
        await shop.pool.enqueue_job("note", _queue_name="default"),
    ]

    assert [(await found(shop.pool, job.job_id)).queue for job in jobs if job is not None] == [Queue.DEFAULT] * 2


@line('`task.apply_async(task_id="x")`')
async def _(shop: Shop) -> None:
    job = await note.using(job_id="x").enqueue(shop.pool)

    assert job is not None
    assert job.job_id == "x"
    assert await shop.pool.enqueue_job("note", _job_id="x") is None


@line("`transaction.on_commit(task.delay)`")
async def _(shop: Shop) -> None:
    database = Database(shop.settings.database_url.get_secret_value(), application_name="indostar test")
    with suppress(ZeroDivisionError):
        async with database.session() as session:
            undone = await outbox.add(session, note, a=1)
            _ = 1 / 0
    async with database.session() as session:
        done = await outbox.add(session, note, a=1)
    await database.close()

    assert (await shop.indostar("job", str(undone))).code == 1
    assert "wrote it into the outbox" in (await shop.indostar("job", str(done))).out


@line("`group(task.s(a=1), task.s(a=2))()`")
async def _(shop: Shop) -> None:
    jobs = await shop.pool.enqueue_many("note", [{"a": 1}, {"a": 2}])
    await shop.run()

    assert [await job.result(timeout=PATIENCE) for job in jobs] == [1, 2]


@line("`result.id`", "`result.status`")
async def _(shop: Shop) -> None:
    shop.notes.may_end.clear()
    later = await shop.pool.enqueue_job("note", _defer_by=300)
    job = await shop.pool.enqueue_job("go_slowly")
    assert job is not None
    assert later is not None
    before = await job.status()
    async with running_worker(shop.pool, [shop.notes]):

        async def is_in_progress() -> bool:
            return await job.status() is JobStatus.in_progress

        await until(is_in_progress)
        shop.notes.may_end.set()
        await job.result(timeout=PATIENCE)

    assert (before, await later.status(), await job.status()) == (
        JobStatus.queued,
        JobStatus.deferred,
        JobStatus.complete,
    )


@line("`result.get(timeout=10)`")
async def _(shop: Shop) -> None:
    good, bad, late = [
        await shop.pool.enqueue_job("note", a=3),
        await shop.pool.enqueue_job("note", fails="for good"),
        await shop.pool.enqueue_job("note", _defer_by=300),
    ]
    assert good is not None
    assert bad is not None
    assert late is not None
    await shop.run()

    assert await good.result(timeout=10) == 3
    with pytest.raises(JobFailed, match="Refused: no"):
        await bad.result(timeout=10)
    with pytest.raises(TimeoutError):
        await late.result(timeout=0.01)


@line("`result.revoke()`")
async def _(shop: Shop) -> None:
    job = await shop.pool.enqueue_job("note", _defer_by=300)
    assert job is not None
    async with running_worker(shop.pool, [shop.notes]):
        assert await job.abort(timeout=PATIENCE)


@line("`self.request.id`, `self.request.retries`")
async def _(shop: Shop) -> None:
    job = await shop.ended(a=5, fails="by a fault")

    assert shop.notes.of[job.id] == [5, 1, 5, 2, 5, 3, 5, 4]


@line("`self.update_state(meta=...)`")
async def _(shop: Shop) -> None:
    shop.notes.may_end.clear()
    said: list[Any] = []

    def keep(done: int, total: int | None, message: str | None) -> None:
        said.append((done, total, message))

    await note(make_context(shop, note_progress=keep), a=1)

    assert said == [(1, 2, "half")]


@line("`raise self.retry(countdown=60)`")
async def _(shop: Shop) -> None:
    job = await shop.ended(fails="later")

    assert job.state is JobState.RETRYING
    assert job.run_at is not None
    assert timedelta(seconds=50) < job.run_at - datetime.now(UTC) <= timedelta(minutes=1)


@line("`raise Ignore()`, `raise Reject()`")
async def _(shop: Shop) -> None:
    job = await shop.ended(fails="for good")

    assert (job.state, job.tries) == (JobState.FAILED, 1)


# Settings and options.


def has_default(name: str, value: Any) -> bool:
    """Whether that environment variable is a setting with that default."""
    fields = Settings.model_fields
    return name.lower() in fields and fields[name.lower()].default == value


@line("`broker_url`, `result_backend`")
async def _(shop: Shop) -> None:
    assert "redis_url" in Settings.model_fields


@line("`result_expires`")
async def _(shop: Shop) -> None:
    job = await shop.ended()

    assert has_default("RESULT_TTL_SECONDS", 3600)
    assert has_default("HISTORY_DAYS", 90)
    assert 3500 < await shop.pool.ttl(f"arq:result:{job.id}") <= 3600


@line('`task_serializer="json"`, `accept_content`')
async def _(shop: Shop) -> None:
    raw = pickle.dumps({"f": "note"})
    await shop.pool.send([NewJob("pickled", Queue.NOTIFICATIONS, raw, "")])
    await shop.run()

    job = await found(shop.pool, "pickled")
    assert job.error is not None
    assert (job.state, job.error.type) == (JobState.FAILED, "UnreadablePayload")
    assert await shop.pool.get("arq:job:pickled") == raw


@line("`task_routes`")
async def _(shop: Shop) -> None:
    job = await shop.pool.enqueue_job("note")

    assert job is not None
    assert (await found(shop.pool, job.job_id)).queue is Queue.NOTIFICATIONS is note.queue


@line("`task_soft_time_limit=1500`")
async def _(shop: Shop) -> None:
    job = await shop.pool.enqueue_job("take_long")
    assert job is not None
    await shop.run()

    assert note.soft_time_limit == timedelta(minutes=25)
    assert await job.result(timeout=PATIENCE) == "cleaned up"


@line("`task_time_limit=1800`")
async def _(shop: Shop) -> None:
    job = await shop.pool.enqueue_job("take_too_long")
    assert job is not None
    await shop.run()

    assert note.time_limit == timedelta(minutes=30)
    with pytest.raises(JobFailed, match="TimeLimitExceeded"):
        await job.result(timeout=PATIENCE)


@line("`autoretry_for=(Exception,)`, `max_retries=3`")
async def _(shop: Shop) -> None:
    job = await shop.ended(fails="by a fault")

    assert (job.state, job.tries, job.max_tries) == (JobState.FAILED, 4, 4)
    assert tidy.retry.retries == 5
    assert not issubclass(Refused, NotDone)
    assert not issubclass(OutcomeUnknown, NotDone)


@line("`retry_backoff`, `retry_backoff_max=600`")
async def _(shop: Shop) -> None:
    waits = [RetryPolicy(retries=9).wait(tries, Longest()) for tries in range(1, 6)]

    assert [wait and wait.total_seconds() for wait in waits] == [10, 50, 250, 600, 600]


@line("`retry_jitter=True`")
async def _(shop: Shop) -> None:
    waits = [RetryPolicy().wait(1, Random(seed)) for seed in range(100)]

    assert all(wait is not None and timedelta(seconds=5) <= wait <= timedelta(seconds=10) for wait in waits)
    assert len(set(waits)) > 50


@line('`rate_limit="10/s"`')
async def _(shop: Shop) -> None:
    shop.notes.may_end.clear()
    async with running_worker(shop.pool, [shop.notes]), running_worker(shop.pool, [shop.notes]):
        jobs = await shop.pool.enqueue_many("go_slowly", [{}] * 3)

        async def states() -> list[str]:
            return sorted([(await found(shop.pool, job.job_id)).state.value for job in jobs])

        async def are_two_running() -> bool:
            return await states() == ["queued", "running", "running"]

        await until(are_two_running)
        shop.notes.may_end.set()
        for job in jobs:
            await job.result(timeout=PATIENCE)

    assert (go_slowly.limit.per_second, go_slowly.limit.in_flight) == (10, 2)


@line("`worker_concurrency`")
async def _(shop: Shop) -> None:
    chosen = shop.settings.model_copy(update={"notifications_concurrency": 3, "default_concurrency": 2})

    assert worker_options(chosen, list(Queue)).slots == {
        Queue.DEFAULT: 2,
        Queue.NOTIFICATIONS: 3,
        Queue.SUBSCRIPTIONS: chosen.subscriptions_concurrency,
    }


@line("`task_acks_late`, `task_reject_on_worker_lost`")
async def _(shop: Shop) -> None:
    lost = await shop.pool.enqueue_job("note")
    assert lost is not None
    async with shop.pool.pipeline() as pipe:
        pipe.hset("indostar:lost", lost.job_id, "3")
        await pipe.execute()
    shop.notes.may_end.clear()
    async with running_worker(shop.pool, [shop.notes]):
        running = await shop.pool.enqueue_job("go_slowly")
        assert running is not None
        await until(lambda: is_in(shop, running.job_id, JobState.RUNNING))
        is_on_its_queue = await shop.pool.zscore(Queue.NOTIFICATIONS.key, running.job_id)
        shop.notes.may_end.set()

    assert has_default("JOB_LEASE_SECONDS", 15)
    assert is_on_its_queue is not None
    ended = await found(shop.pool, lost.job_id)
    assert ended.error is not None
    assert ended.error.type == "WorkerLost"


@line("`worker_max_tasks_per_child=1000`")
async def _(shop: Shop) -> None:
    options = worker_options(shop.settings, [Queue.DEFAULT])

    assert has_default("WORKER_MAX_TASKS_PER_CHILD", 1000)
    assert options.most_jobs == 1000 * options.slots[Queue.DEFAULT]


@line("`worker_max_memory_per_child`")
async def _(shop: Shop) -> None:
    chosen = shop.settings.model_copy(update={"worker_max_memory_mb": 512})

    assert worker_options(chosen, [Queue.DEFAULT]).most_memory == 512 * 2**20


@line("`task_track_started`, `worker_send_task_events`")
async def _(shop: Shop) -> None:
    job = await shop.ended()

    told = await shop.pool.xrange("indostar:events")
    kinds = {words[b"kind"] for _, words in told if f"job:{job.id}".encode() in words}
    assert kinds >= {b"enqueued", b"started", b"ended"}


@line("`timezone`, `enable_utc`")
async def _(shop: Shop) -> None:
    kolkata = CommandLine(shop.environment | {"SCHEDULE_TIMEZONE": "Asia/Kolkata"})

    assert has_default("SCHEDULE_TIMEZONE", "UTC")
    shown = (await kolkata.json("schedules"))["items"]
    [first] = [schedule for schedule in shown if schedule["name"] == "cleanup_expired_carts"]
    assert (first["timezone"], first["next_run_at"][11:]) == ("Asia/Kolkata", "20:30:00Z")


@line("`beat_schedule` with `crontab(hour=2, minute=0)`")
async def _(shop: Shop) -> None:
    assert tidy.schedule is not None
    assert tidy.schedule.crontab.expression == "0 2 * * *"


@pytest.mark.parametrize("before", FIRST_LINES)
async def test_it_is_as_the_page_says(shop: Shop, before: str) -> None:
    await CHECKS[before](shop)


class Longest(Random):
    """Chance that always has one wait for as long as it may."""

    def uniform(self, a: float, b: float) -> float:
        return b


def make_context(shop: Shop, **options: Any) -> Context:
    return Context(
        job_id="j",
        root_id="j",
        task="note",
        job_try=1,
        max_tries=4,
        enqueued_at=datetime.now(UTC),
        resources=Resources([shop.notes]),
        **options,
    )


async def is_in(shop: Shop, job_id: str, state: JobState) -> bool:
    return (await found(shop.pool, job_id)).state is state


async def on_record(shop: Shop) -> None:
    """Puts on record what has happened."""
    async with open_history(shop.pool, shop.settings.database_url.get_secret_value()) as history:
        await history.projector().catch_up()
