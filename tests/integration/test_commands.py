"""What operators do and ask by the command line, with real servers and the shop's own worker."""

import asyncio
import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import text

from app.db.engine import Database
from app.deliveries import runs
from app.dev.fakes import running_fakes
from app.jobs.lookup import JobState
from app.jobs.pool import JobPool
from app.jobs.queues import PAUSED, Queue
from app.settings import Settings
from app.tasks import TASKS
from app.tasks.serving import open_worker, worker_options
from tests.command_line import CommandLine
from tests.integration.delivery_shop import DAY, DeliveryShop
from tests.running import found, open_pool
from tests.settings import as_environment, make_settings
from tests.waiting import until

MAIL = ("send_email_task", "to_email=asha@example.com", "subject=Hello", "body=Milk")
# To a country that gets no SMS: it fails at once.
SMS = ("send_sms_task", "phone=+16502530000", "message=Hello")


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    return make_settings(
        database_url=database_url, redis_url=redis_url, email_provider="console", sms_provider="console"
    )


@pytest.fixture
def indostar(settings: Settings) -> CommandLine:
    return CommandLine(as_environment(settings))


@pytest.fixture
async def pool(redis_url: str) -> AsyncIterator[JobPool]:
    async with open_pool(redis_url, TASKS) as pool:
        yield pool


@asynccontextmanager
async def shop_worker(settings: Settings) -> AsyncIterator[None]:
    async with open_worker(settings, worker_options(settings, list(Queue))) as worker:
        running = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            worker.stop()
            await running


async def empty_the_queues(settings: Settings) -> None:
    """Runs everything that is due, and puts it on record."""
    async with open_worker(settings, worker_options(settings, list(Queue), burst=True)) as worker:
        await worker.run()


async def audited(database_url: str) -> list[tuple[Any, ...]]:
    database = Database(database_url, application_name="indostar test")
    async with database.session() as session:
        rows = [
            tuple(row) for row in await session.execute(text("SELECT actor, source, action, result FROM tasks.audit"))
        ]
    await database.close()
    return rows


async def test_a_job_is_enqueued_with_its_arguments_checked(
    indostar: CommandLine, pool: JobPool, database_url: str
) -> None:
    plain, scripted = await indostar(*MAIL_ENQUEUED), await indostar.json(*MAIL_ENQUEUED)
    job = await found(pool, plain.out.strip())

    assert plain.code == 0
    assert (job.task, job.kwargs["to_email"]) == ("send_email_task", "asha@example.com")
    assert (scripted["status"], scripted["kwargs"]["body"]) == ("queued", "Milk")
    [first, _] = await audited(database_url)
    assert (first[0], first[2:]) == (getpass.getuser(), ("job.enqueue", "done"))
    assert first[1].startswith(f"cli {getpass.getuser()}@")


MAIL_ENQUEUED = ("enqueue", *MAIL)


async def test_a_job_may_be_for_later_on_another_queue_and_under_an_own_id(
    indostar: CommandLine, pool: JobPool
) -> None:
    later = await indostar.json(*MAIL_ENQUEUED, "--in", "1h30m", "--id", "mail:1", "--queue", "default")
    then = await indostar.json(*MAIL_ENQUEUED, "--at", "2035-03-05T08:00+05:30")
    again = await indostar(*MAIL_ENQUEUED, "--id", "mail:1")

    assert (later["id"], later["queue"], later["status"]) == ("mail:1", "default", "scheduled")
    assert then["run_at"] == "2035-03-05T02:30:00Z"
    assert (again.code, again.err) == (1, "there is a job with the id mail:1\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["enqueue", "send_sms_task", "phone=98123 45678"], "wrong arguments for send_sms_task: message: is missing"),
        (["enqueue", "send_smss_task"], "there is no task 'send_smss_task'; did you mean send_sms_task"),
        (["enqueue", "send_sms_task", "--json-args", "{"], "this is no JSON"),
        (["enqueue", *MAIL, "--in", "soon"], "'soon' is no length of time"),
        (["enqueue", *MAIL, "--in", "5m", "--at", "2035-01-01"], "goes not with --at"),
        (["enqueue", *MAIL, "--id", "outbox:7"], "outbox:"),
        (["enqueue", *MAIL, "--queue", "milk"], "'milk' is none of default, notifications"),
        (["jobs", "--status", "gone"], "'gone' is none of queued"),
        (["jobs", "--cursor", "x"], "this cursor is none that a page"),
        (["retry"], "name ids, or a filter"),
        (["retry", "j1", "--status", "failed"], "name ids, or a filter"),
        (["retry", "--status", "failed", "--resend"], "goes with ids"),
        (["purge", "default"], "give --yes"),
        (["pause", "milk"], "'milk' is none of default, notifications"),
        (["events", "--queue", "milk"], "'milk' is none of default, notifications"),
        (["events", "--task", "milk"], "there is no task 'milk'"),
        (["schedule", "run", "milk"], "there is no schedule 'milk'; the schedules are"),
        (["schedule", "run", "cleanup_expired_carts", "--date", "2026-03-05"], "is no argument of this task"),
        (["cleanup", "tokens", "--days-old", "3"], "says nothing about tokens"),
        (["cleanup", "milk"], "milk"),
    ],
)
async def test_a_wrong_call_is_refused_with_2_and_by_name(redis_url: str, arguments: list[str], told: str) -> None:
    called = await CommandLine(as_environment(make_settings(redis_url=redis_url)))(*arguments)

    assert called.code == 2
    # A long sentence is folded within its frame.
    assert told in " ".join(called.err.replace("│", " ").split())


async def test_what_can_not_be_done_is_told_with_1(indostar: CommandLine) -> None:
    for command in ("job", "abort", "retry", "discard"):
        called = await indostar(command, "nothing")

        assert called.code == 1
        assert "there is no job nothing" in called.err


async def test_whoever_waits_is_told_how_it_ended(indostar: CommandLine, settings: Settings) -> None:
    async with shop_worker(settings):
        sent, refused = await indostar(*MAIL_ENQUEUED, "--wait"), await indostar("enqueue", *SMS, "--wait")
        scripted = await indostar("enqueue", *MAIL, "--wait", "--json")

    assert sent.code == 0
    assert "succeeded" in sent.out
    assert (refused.code, refused.out) == (1, "")
    assert " failed: " in refused.err
    assert (scripted.code, scripted.json["status"]) == (0, "succeeded")


async def test_whoever_waits_in_vain_is_told_why(indostar: CommandLine) -> None:
    await indostar("pause", "notifications")

    waited = await indostar(*MAIL_ENQUEUED, "--wait", "--timeout", "10ms")

    assert waited.code == 1
    assert "no worker that is alive serves the queue notifications" in waited.err
    assert "the queue notifications is paused" in waited.err
    assert "it goes on: indostar job" in waited.err


async def test_jobs_are_listed_newest_first_as_far_as_one_wants(indostar: CommandLine, settings: Settings) -> None:
    for number in range(5):
        await indostar(*MAIL_ENQUEUED, "--id", f"j{number}")
    await indostar("enqueue", "cleanup_expired_carts", "--id", "carts")
    await empty_the_queues(settings)

    page = await indostar.json("jobs", "--task", "send_email_task", "--limit", "3")
    rest = await indostar.json("jobs", "--task", "send_email_task", "--limit", "3", "--cursor", page["next_cursor"])
    carts = await indostar.json("jobs", "--queue", "default", "--status", "succeeded", "--since", "1h")
    table = await indostar("jobs", "--limit", "2")

    assert [job["id"] for job in page["items"]] == ["j4", "j3", "j2"]
    assert ([job["id"] for job in rest["items"]], rest["next_cursor"]) == (["j1", "j0"], None)
    assert [job["id"] for job in carts["items"]] == ["carts"]
    lines = table.out.splitlines()
    assert [line.split()[0] for line in lines] == ["ID", "carts", "j4"]
    assert "There are more: --cursor" in table.err
    assert "no worker is alive" in table.err


async def fail_some(indostar: CommandLine, settings: Settings, *ids: str) -> None:
    for job_id in ids:
        await indostar("enqueue", *SMS, "--id", job_id)
    await empty_the_queues(settings)


async def test_failed_jobs_are_run_again_by_id_or_by_filter(indostar: CommandLine, settings: Settings) -> None:
    await fail_some(indostar, settings, "a", "b", "c", "d")

    one = await indostar.json("retry", "a")
    same = await indostar("retry", "a")
    dry = await indostar.json("retry", "b", "c", "--dry-run")
    two = await indostar("retry", "b", "nothing")
    resent = await indostar.json("retry", "c", "--resend")
    rest = await indostar.json("retry", "--status", "failed", "--queue", "notifications")

    assert (one["retry_of"], one["can"]) == ("a", "send sms")
    assert same.out.strip() == one["id"]
    assert (dry["matched"], dry["retried"], dry["dry_run"]) == (2, 2, True)
    assert two.code == 1
    assert "ran again 1 of 2; 1: there is no such job" in two.err
    assert resent["retry_of"] == "c"
    assert [item["id"] for item in rest["items"] if item["left_out"] is None] == ["d"]


async def test_failed_and_waiting_jobs_are_discarded(indostar: CommandLine, settings: Settings, pool: JobPool) -> None:
    await fail_some(indostar, settings, "failed")
    await indostar(*MAIL_ENQUEUED, "--id", "waiting")

    done = await indostar.json("discard", "failed", "waiting")
    some = await indostar("discard", "waiting", "nothing")

    assert (done["matched"], done["discarded"]) == (2, 2)
    assert (some.code, some.out) == (1, "discarded 1 of 2; 1: there is no such job\n")
    assert (await found(pool, "waiting")).state is JobState.CANCELLED


async def test_a_queue_is_purged_of_what_waits_and_of_nothing_else(indostar: CommandLine, pool: JobPool) -> None:
    await indostar(*MAIL_ENQUEUED, "--id", "due")
    await indostar(*MAIL_ENQUEUED, "--id", "later", "--in", "1h")
    await indostar("enqueue", "cleanup_expired_carts", "--id", "other")

    dry = await indostar("purge", "notifications", "--dry-run")
    purged = await indostar.json("purge", "notifications", "--yes")

    assert dry.out == "would discard 2 of 2\n"
    assert (purged["matched"], purged["discarded"], purged["left_out"]) == (2, 2, {})
    assert [(await found(pool, job_id)).state.value for job_id in ("due", "later", "other")] == [
        "cancelled",
        "cancelled",
        "queued",
    ]


async def test_a_waiting_job_is_aborted(indostar: CommandLine, settings: Settings, pool: JobPool) -> None:
    async with shop_worker(settings):
        await indostar(*MAIL_ENQUEUED, "--id", "later", "--in", "1h")

        asked = await indostar("abort", "later")

        async def has_ended() -> bool:
            return (await found(pool, "later")).state is JobState.CANCELLED

        await until(has_ended)
    told = await indostar.json("job", "later")
    # A worker may have ended it before the answer is there.
    assert (asked.code, asked.out) in [(0, "later is about to end\n"), (0, "later has ended\n")]
    assert told["explanation"]["because"] == f"It was aborted because {getpass.getuser()} asked for that."


async def test_a_queue_is_paused_and_resumed(indostar: CommandLine, pool: JobPool) -> None:
    paused = await indostar.json("pause", "notifications")
    in_redis = await members(pool, PAUSED)
    table = await indostar("queues")
    resumed = await indostar.json("resume", "notifications")

    assert (paused["name"], paused["paused"], in_redis) == ("notifications", True, {b"notifications"})
    assert [line.split()[-1] for line in table.out.splitlines()] == ["STATE", "open", "paused", "open"]
    assert resumed["paused"] is False
    assert await members(pool, PAUSED) == set()


async def members(pool: JobPool, key: str) -> set[bytes]:
    async with pool.pipeline() as pipe:
        pipe.smembers(key)
        [found] = await pipe.execute()
    return set(found)


async def test_workers_are_shown_while_they_live(indostar: CommandLine, settings: Settings) -> None:
    nobody = await indostar("workers")
    async with shop_worker(settings):
        [worker] = await until(lambda: alive(indostar))
        table = await indostar("workers")

    assert (nobody.code, nobody.out, nobody.err) == (0, "", "no worker is alive\n")
    assert worker["queues"] == ["default", "notifications", "subscriptions"]
    assert worker["id"] in table.out


async def alive(indostar: CommandLine) -> list[Any]:
    workers: list[Any] = (await indostar.json("workers"))["items"]
    return workers


async def test_a_schedule_is_run_paused_and_resumed(indostar: CommandLine) -> None:
    run = await indostar("schedule", "run", "cleanup_expired_carts")
    paused = await indostar.json("schedule", "pause", "cleanup_expired_carts")
    shown = (await indostar.json("schedules"))["items"]
    resumed = await indostar("schedule", "resume", "cleanup_expired_carts")
    told = await indostar("job", run.out.strip())

    assert (paused["paused"], paused["next_run_at"], paused["last_job_id"]) == (True, None, run.out.strip())
    assert paused in shown
    assert resumed.out.splitlines()[1].split()[-1] == "on"
    assert f"{getpass.getuser()} ran the schedule cleanup_expired_carts by hand" in told.out
    assert "It waits in the outbox because no worker has handed it to Redis yet." in told.out


async def test_a_worker_cleans_up_for_whoever_asks(indostar: CommandLine, settings: Settings) -> None:
    async with shop_worker(settings):
        told = await indostar("cleanup", "carts", "--days-old", "7", "--dry-run")
        scripted = await indostar.json("cleanup", "sessions", "--hours-old", "48")
        left = await indostar("cleanup", "tokens", "--no-wait")

    assert told.code == 0
    assert '"days_old":7' in told.out
    assert (scripted["status"], scripted["result"]["hours_old"]) == ("succeeded", 48)
    assert len(left.out.split()) == 1


async def test_what_is_piped_has_no_colour_and_no_id_is_cut(indostar: CommandLine) -> None:
    long = "j" * 150
    await indostar(*MAIL_ENQUEUED, "--id", long)

    told = await indostar("job", long)

    assert long in told.out
    assert "\x1b" not in told.out
    assert told.out.splitlines() == [line.rstrip() for line in told.out.splitlines()]


@pytest.mark.parametrize("command", [["queues"], ["workers"], ["enqueue", *MAIL], ["pause", "default"]])
async def test_without_redis_a_line_says_so(settings: Settings, command: list[str]) -> None:
    nowhere = CommandLine(as_environment(settings) | {"REDIS_URL": "redis://127.0.0.1:9/0"})

    called = await nowhere(*command)

    assert called.code == 1
    assert called.err.startswith("Redis can't be reached: ")
    assert len(called.err.splitlines()) == 1


async def test_what_needs_no_postgresql_does_without(settings: Settings, indostar: CommandLine) -> None:
    await indostar(*MAIL_ENQUEUED, "--id", "j1")
    without = CommandLine(as_environment(settings) | {"DATABASE_URL": "postgresql://me:secret@127.0.0.1:9/shop"})

    asked = [await without(*command) for command in (["queues"], ["pause", "default"], ["job", "j1"], ["jobs"])]

    assert [called.code for called in asked] == [0, 0, 0, 1]
    assert "PostgreSQL can't be asked now" in asked[2].out
    assert "is not available" in asked[3].err
    assert not any("secret" in called.err or "Traceback" in called.err for called in asked)


async def test_without_tables_a_line_says_what_to_do(settings: Settings, empty_database_url: str) -> None:
    called = await CommandLine(as_environment(settings) | {"DATABASE_URL": empty_database_url})("jobs")

    assert called.code == 1
    assert "`indostar migrate` brings the tables up to date" in called.err


async def test_without_settings_each_fault_is_a_line(settings: Settings) -> None:
    called = await CommandLine(as_environment(settings) | {"REDIS_URL": "milk", "DATABASE_URL": "jaggery"})("queues")

    assert called.code == 2
    assert [line.split(":")[0] for line in sorted(called.err.splitlines())] == ["DATABASE_URL", "REDIS_URL"]


async def test_a_preview_tells_what_would_be_charged_and_what_not(indostar: CommandLine, database_url: str) -> None:
    shop = DeliveryShop(Database(database_url, application_name="indostar test"))
    await shop.open(3, stock=2)

    told = await indostar("preview", "--date", "2026-03-02")
    scripted = await indostar.json("preview", "--date", "2026-03-02")
    other_day = await indostar("preview", "--date", "2026-03-01")
    later = await indostar("preview", "--date", "2099-03-01")

    assert [line.split()[:3] for line in told.out.splitlines()[1:]] == [
        ["1", "2026-03-02", "charge"],
        ["2", "2026-03-02", "charge"],
        ["3", "2026-03-02", "skip"],
    ]
    assert told.err == "2 charges by invoice: Rs 136.00\n1 skipped: no_stock\nproduct 1 is short of 1\n"
    assert [(item["action"], item["amount"], item["reason"]) for item in scripted["items"]] == [
        ("charge", "68.00", None),
        ("charge", "68.00", None),
        ("skip", "68.00", "no_stock"),
    ]
    assert scripted["totals"]["amount"] == {"invoice": "136.00"}
    assert other_day.err == "nothing is to be planned for that day\n"
    assert later.err.endswith("what the days before it will take from the stock, and what comes in, is not known\n")
    assert await shop.charges() == []
    await shop.database.close()


async def test_the_run_of_a_date_is_shown_and_resumed(indostar: CommandLine, pool: JobPool, database_url: str) -> None:
    database = Database(database_url, application_name="indostar test", pool_size=2)
    shop = DeliveryShop(database)
    await shop.open(3, stock=2)
    await shop.run()
    await runs.pause(database, DAY, "of the latest 200 charges 60 % are refused")

    shown = await indostar("run", "show", "--date", str(DAY))
    resumed = await indostar.json("run", "resume", "--date", str(DAY))
    again = await indostar("run", "resume", "--date", str(DAY))
    none = await indostar("run", "show", "--date", "2026-03-09")

    assert shown.code == 0
    assert "2 charges, Rs 136.00" in shown.out
    assert "of the latest 200 charges 60 % are refused" in shown.out
    assert "SUB-20260302-1: not charged yet" in shown.out
    assert (resumed["paused_at"], resumed["resumed_by"]) == (None, getpass.getuser())
    assert (again.code, again.err) == (1, f"the run of {DAY} is not paused\n")
    assert (none.code, none.err) == (1, "the deliveries of 2026-03-09 were not planned by any run\n")
    await database.close()


async def test_a_reconciliation_is_printed_with_what_can_be_done(settings: Settings, database_url: str) -> None:
    database = Database(database_url, application_name="indostar test", pool_size=2)
    shop = DeliveryShop(database)
    await shop.open(2)
    await shop.sql("INSERT INTO tasks.mandates VALUES (1, 'cust_1', 'token_1', 'upi'), (2, 'cust_2', 'token_2', 'upi')")
    await shop.run()
    await shop.sql("UPDATE tasks.charges SET state = 'submitting' WHERE subscription_id = 2")
    async with running_fakes() as fakes:
        indostar = CommandLine(as_environment(settings) | {"RAZORPAY_BASE_URL": fakes.url})

        agreed = await indostar.json("reconcile", "--date", "2026-03-01")
        printed = await indostar("reconcile", "--date", str(DAY))

    assert (agreed["deliveries"], agreed["items"]) == ({}, [])
    assert printed.code == 0
    assert printed.out.count("its day is over, and the charge is") == 2
    assert "asks the gateway first, books what was paid" in printed.out
    assert printed.err == f"{DAY}: 1 planned, 1 submitting; captured Rs 0.00\n"
    away = await CommandLine(as_environment(settings) | {"RAZORPAY_BASE_URL": "http://127.0.0.1:9"})("reconcile")
    assert (away.code, away.out) == (1, "")
    assert "razorpay can't be reached" in away.err
    await database.close()
