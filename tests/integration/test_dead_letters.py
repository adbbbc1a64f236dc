"""Failed jobs are kept until somebody runs them again or discards them, and are run again once."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from app import outbox
from app.db.engine import DatabaseUnavailable
from app.dev.postgres import EmbeddedPostgres
from app.errors import Refused
from app.history.housekeeping import relieve_redis
from app.history.reader import JobFilter
from app.jobs.context import Context
from app.jobs.effects import EffectState
from app.jobs.lookup import JobState, find_job
from app.jobs.queues import EVENTS, FAILED_JOBS, Queue
from app.jobs.task import TaskRegistry
from app.letters.control import DeadLetters
from app.letters.letter import BulkRerun, LeftOut, NotALetter
from app.notify.effects import Messages
from app.outbox.relay import OutboxRelay
from app.outbox.reruns import end_failed
from tests.history import History, open_history
from tests.running import open_pool, run_burst
from tests.waiting import until

TASKS = TaskRegistry()


@dataclass
class Shop:
    """Whether it is closed, and what was sold while it was open: by which job, root and to whom."""

    is_closed: bool
    sold: list[tuple[str, str, str]]

    def sell(self, ctx: Context, to: str) -> None:
        if self.is_closed:
            raise Refused("the shop is closed")
        self.sold.append((ctx.job_id, ctx.root_id, to))


@TASKS.task(queue=Queue.NOTIFICATIONS, visible={"order"}, effects=Messages(email="email", sms="phone"))
async def tell(ctx: Context, order: str, email: str | None = None, phone: str | None = None) -> None:
    """Tell of an order."""
    ctx[Shop].sell(ctx, order)


@TASKS.task(queue=Queue.DEFAULT, secret={"link"})
async def reset(ctx: Context, link: str) -> None:
    """Work with a secret."""
    ctx[Shop].sell(ctx, link)


@TASKS.task(queue=Queue.DEFAULT)
async def sweep(ctx: Context) -> None:
    """Do something without arguments that nothing is said of."""
    ctx[Shop].sell(ctx, "everything")


class Desk:
    """Dead letters with everything around them, and a shop that is closed."""

    def __init__(self, history: History, database_url: str) -> None:
        self.history, self.pool, self.database = history, history.pool, history.database
        self.letters = DeadLetters(history.database, history.pool, history.stream)
        self.relay = OutboxRelay(history.database, database_url, history.pool, lease=timedelta(seconds=5))
        self.projector = history.projector(on_failed=end_failed)
        self.shop = Shop(is_closed=True, sold=[])

    async def run(self) -> None:
        """Runs everything that waits and puts it on record."""
        await run_burst(self.pool, [self.shop], companions=[self.relay])
        await self.relay.end_some()
        await self.projector.catch_up()

    async def fail(self, name: str = "tell", job_id: str = "j", **kwargs: Any) -> None:
        """A job that failed, and whose failure is on record."""
        if name == "tell":
            kwargs = {"order": "ORD-7", "email": "asha@example.com"} | kwargs
        await self.pool.enqueue_job(name, _job_id=job_id, **kwargs)
        await self.run()
        self.shop.is_closed = False

    async def fail_from_outbox(self) -> str:
        async with self.database.session() as session:
            job_id = await outbox.add(session, tell, order="ORD-8", key="order:8")
        assert job_id is not None
        await self.run()
        self.shop.is_closed = False
        return job_id

    async def message(self, root: str, channel: str, status: str) -> None:
        await self.history.execute(f"""
            INSERT INTO tasks.messages (root_job_id, channel, job_id, attempt, recipient, status, tries, updated_at)
            VALUES ('{root}', '{channel}', '{root}', 'a', 'masked', '{status}', 1, now())
        """)

    async def outbox_rows(self) -> list[tuple[Any, ...]]:
        columns = "kwargs, key, ended_at IS NOT NULL, root, retry_of"
        return await self.history.rows(f"SELECT {columns} FROM tasks.outbox ORDER BY id")


@pytest.fixture
async def desk(redis_url: str, database_url: str) -> AsyncIterator[Desk]:
    async with open_pool(redis_url, TASKS) as pool, open_history(pool, database_url) as history:
        yield Desk(history, database_url)


async def test_a_failed_job_runs_again_as_another_that_is_linked_to_it(desk: Desk) -> None:
    await desk.fail()

    rerun = await desk.letters.rerun("j", by="asha")
    await desk.run()

    assert rerun.new_id is not None
    assert desk.shop.sold == [(rerun.new_id, "j", "ORD-7")]
    new = await desk.history.job(rerun.new_id)
    assert (new.state, new.retry_of) == (JobState.SUCCEEDED, "j")
    closed = await desk.history.rows("SELECT job_id, action, closed_by, retried_as FROM tasks.closed_letters")
    assert closed == [("j", "retried", "asha", rerun.new_id)]
    assert (await desk.history.job("j")).state is JobState.FAILED
    assert await desk.history.reader.payload("j") is None
    assert await find_job(desk.pool, "j") is None


async def test_pressed_many_times_at_once_it_runs_again_once(desk: Desk) -> None:
    await desk.fail()
    others = [DeadLetters(desk.database, desk.pool, desk.history.stream) for _ in range(3)]

    reruns = await asyncio.gather(*(letters.rerun("j", by="asha") for letters in (desk.letters, *others) * 2))
    reruns.append(await desk.letters.rerun("j", by="ravi"))
    await desk.run()

    assert len({rerun.new_id for rerun in reruns}) == 1
    assert len(desk.shop.sold) == 1


async def test_a_rerun_that_fails_is_a_letter_of_the_same_line(desk: Desk) -> None:
    await desk.fail()
    desk.shop.is_closed = True
    first = await desk.letters.rerun("j", by="asha")
    await desk.run()
    desk.shop.is_closed = False
    assert first.new_id is not None

    second = await desk.letters.rerun(first.new_id, by="asha")
    await desk.run()

    assert desk.shop.sold == [(second.new_id, "j", "ORD-7")]
    assert (await desk.outbox_rows())[-1][3:] == ("j", first.new_id)


async def test_a_letter_survives_a_flushall_and_so_does_its_rerun(desk: Desk) -> None:
    await desk.fail()
    await desk.pool.flushall()

    await desk.letters.rerun("j", by="asha")
    await desk.relay.relay()
    await desk.pool.flushall()
    await desk.relay.sweep()
    await desk.pool.zadd(Queue.NOTIFICATIONS.key, {"outbox:1": 1_000}, xx=True)
    await desk.run()

    assert [sold for _, _, sold in desk.shop.sold] == ["ORD-7"]


async def test_a_failure_while_postgres_is_away_is_a_letter_when_it_is_back(
    postgres_server: EmbeddedPostgres, desk: Desk
) -> None:
    await desk.database.ping()
    await postgres_server.stop()
    try:
        await desk.pool.enqueue_job("tell", _job_id="j", order="ORD-7")
        await run_burst(desk.pool, [desk.shop])
        with pytest.raises(DatabaseUnavailable):
            await desk.letters.rerun("j", by="asha")
    finally:
        await postgres_server.start()
    desk.shop.is_closed = False

    async def is_run_again() -> bool:
        try:
            return (await desk.letters.rerun("j", by="asha")).new_id is not None
        except DatabaseUnavailable:
            return False

    await until(is_run_again)
    await desk.run()

    assert [sold for _, _, sold in desk.shop.sold] == ["ORD-7"]


async def test_a_failure_that_the_stream_lost_is_found_in_redis(desk: Desk) -> None:
    await desk.projector.catch_up()
    async with desk.database.session() as session:
        await outbox.add(session, tell, order="ORD-8")
    await run_burst(desk.pool, [desk.shop], companions=[desk.relay])
    await desk.pool.xtrim(EVENTS, maxlen=0)
    await desk.projector.catch_up()
    assert await desk.history.reader.find("outbox:1") is None

    bulk = await desk.letters.rerun_many(JobFilter(), by="asha")

    assert (bulk.matched, bulk.retried) == (1, 1)
    assert [row[2] for row in await desk.outbox_rows()] == [True, False]


async def test_a_row_of_the_outbox_ends_with_its_failure_on_record(desk: Desk) -> None:
    async with desk.database.session() as session:
        await outbox.add(session, tell, order="ORD-8", key="order:8")
    await run_burst(desk.pool, [desk.shop], companions=[desk.relay])
    assert await desk.relay.end_some() == 0
    assert await desk.outbox_rows() == [({"order": "ORD-8"}, "order:8", False, None, None)]

    await desk.projector.catch_up()

    assert await desk.outbox_rows() == [({"order": "ORD-8"}, "order:8", True, None, None)]


async def test_a_failed_row_of_the_outbox_is_run_again_and_keeps_its_key_only(desk: Desk) -> None:
    job_id = await desk.fail_from_outbox()

    rerun = await desk.letters.rerun(job_id, by="asha")
    await desk.run()

    assert desk.shop.sold == [(rerun.new_id, job_id, "ORD-8")]
    assert await desk.outbox_rows() == [({}, "order:8", True, None, None), ({}, None, True, job_id, job_id)]


async def test_what_only_the_outbox_has_is_run_again(desk: Desk) -> None:
    job_id = await desk.fail_from_outbox()
    await desk.history.execute("DELETE FROM tasks.payloads")
    await desk.pool.flushall()

    await desk.letters.rerun(job_id, by="asha")
    await desk.run()

    assert [sold for _, _, sold in desk.shop.sold] == ["ORD-8"]


async def test_secret_arguments_are_run_again_without_entering_postgres(desk: Desk) -> None:
    await desk.fail("reset", link="https://shop.example/secret")

    first = await desk.letters.rerun("j", by="asha")
    again = await desk.letters.rerun("j", by="asha")
    await desk.run()

    assert first.new_id == again.new_id
    assert desk.shop.sold == [(first.new_id, "j", "https://shop.example/secret")]
    assert await desk.outbox_rows() == []
    assert await desk.history.rows("SELECT * FROM tasks.payloads") == []
    assert await desk.pool.zrange(FAILED_JOBS, 0, -1) == []


async def test_a_secret_that_redis_lost_is_told(desk: Desk) -> None:
    await desk.fail("reset", link="https://shop.example/secret")
    await desk.pool.flushall()

    with pytest.raises(NotALetter, match="payload is lost"):
        await desk.letters.rerun("j", by="asha")


async def test_a_job_that_waits_or_succeeded_is_not_run_again(desk: Desk) -> None:
    desk.shop.is_closed = False
    await desk.pool.enqueue_job("sweep", _job_id="done")
    await desk.run()
    await desk.pool.enqueue_job("sweep", _job_id="waits")

    for job_id in ("done", "waits"):
        with pytest.raises(NotALetter, match="has not failed"):
            await desk.letters.rerun(job_id, by="asha")
    with pytest.raises(NotALetter, match="no such job"):
        await desk.letters.discard("nobody", by="asha")


async def test_what_is_discarded_is_gone_but_for_its_record(desk: Desk) -> None:
    job_id = await desk.fail_from_outbox()

    await desk.letters.discard(job_id, by="asha")
    await desk.letters.discard(job_id, by="ravi")

    closed = await desk.history.rows("SELECT job_id, action, closed_by, retried_as FROM tasks.closed_letters")
    assert closed == [(job_id, "discarded", "asha", None)]
    assert (await desk.history.job(job_id)).error is not None
    assert await desk.history.rows("SELECT * FROM tasks.payloads") == []
    assert await desk.outbox_rows() == [({}, "order:8", True, None, None)]
    assert not await desk.pool.exists(f"arq:job:{job_id}", f"arq:result:{job_id}", FAILED_JOBS)
    with pytest.raises(NotALetter, match="discarded"):
        await desk.letters.rerun(job_id, by="asha")


async def test_what_was_left_in_redis_goes_later(desk: Desk) -> None:
    await desk.fail()
    failed = await desk.history.stream.failed(["j"])
    await desk.letters.discard("j", by="asha")
    # As after a discard while Redis was away.
    [job] = failed
    await desk.pool.mset({"arq:job:j": job.payload or b"", "arq:result:j": job.result})
    await desk.pool.zadd(FAILED_JOBS, {"j": job.at_ms})

    assert await relieve_redis(desk.database, desk.history.stream, job.at_ms) == 1

    assert not await desk.pool.exists("arq:job:j", "arq:result:j")


async def test_what_was_sent_is_told_and_not_sent_again(desk: Desk) -> None:
    await desk.fail(phone="+919876543210")
    await desk.message("j", "email", "sent")
    await desk.message("j", "sms", "refused")

    rerun = await desk.letters.rerun("j", by="asha")

    assert [(effect.what, effect.state) for effect in rerun.effects] == [
        ("email", EffectState.DONE),
        ("sms", EffectState.OPEN),
    ]
    assert rerun.can == "send sms; done before: send email"


async def test_everything_is_sent_again_where_that_is_wanted(desk: Desk) -> None:
    await desk.fail()
    await desk.message("j", "email", "sent")

    rerun = await desk.letters.rerun("j", by="asha", resend=True)
    await desk.run()

    assert rerun.can == "send email"
    assert desk.shop.sold == [(rerun.new_id, rerun.new_id, "ORD-7")]
    assert rerun.new_id is not None
    assert (await desk.history.job(rerun.new_id)).retry_of == "j"


async def test_what_has_no_messages_can_not_be_sent_again(desk: Desk) -> None:
    await desk.fail("sweep")

    with pytest.raises(NotALetter, match="can't be repeated"):
        await desk.letters.rerun("j", by="asha", resend=True)


def told(bulk: BulkRerun) -> dict[str, Any]:
    return {
        "totals": (bulk.matched, bulk.retried),
        "can": dict(bulk.can),
        "left out": dict(bulk.left_out),
        "items": [(item.job_id, item.can, item.left_out) for item in bulk.items],
    }


async def test_a_dry_run_says_what_the_real_one_does(desk: Desk) -> None:
    for number in range(3):
        desk.shop.is_closed = True
        await desk.fail(job_id=f"j{number}", order=f"ORD-{number}")
    await desk.message("j1", "email", "sent")
    await desk.message("j2", "email", "sending")
    desk.shop.is_closed = True
    await desk.fail("sweep", job_id="other")
    desk.shop.is_closed = True
    await desk.fail("reset", job_id="lost", link="https://shop.example")
    await desk.pool.flushall()
    await desk.letters.discard("j0", by="asha")

    dry = await desk.letters.rerun_many(JobFilter(error="Refused"), by="asha", dry_run=True)
    nothing_yet = await desk.outbox_rows()
    real = await desk.letters.rerun_many(JobFilter(error="Refused"), by="asha")
    await desk.run()

    assert nothing_yet == []
    assert told(dry) == told(real)
    assert told(real) == {
        "totals": (5, 3),
        "can": {"nothing; done before: send email": 1, "send email (may have happened)": 1, "run": 1},
        "left out": {LeftOut.DISCARDED: 1, LeftOut.PAYLOAD_LOST: 1},
        "items": [
            ("j0", "nothing", LeftOut.DISCARDED),
            ("j1", "nothing; done before: send email", None),
            ("j2", "send email (may have happened)", None),
            ("other", "run", None),
            ("lost", "nothing", LeftOut.PAYLOAD_LOST),
        ],
    }
    assert sorted(sold for _, _, sold in desk.shop.sold) == ["ORD-1", "ORD-2", "everything"]


@pytest.mark.parametrize(
    ("wanted", "matched"),
    [
        (JobFilter(task="tell"), ["j"]),
        (JobFilter(queue=Queue.DEFAULT), ["s"]),
        (JobFilter(error="NotDone"), []),
        (JobFilter(status=JobState.FAILED, q="ord-7"), ["j"]),
    ],
    ids=["task", "queue", "error", "word"],
)
async def test_a_filter_chooses(desk: Desk, wanted: JobFilter, matched: list[str]) -> None:
    await desk.fail()
    desk.shop.is_closed = True
    await desk.fail("sweep", job_id="s")

    bulk = await desk.letters.rerun_many(wanted, by="asha", dry_run=True)

    assert [item.job_id for item in bulk.items] == matched


async def test_a_filter_of_other_states_runs_nothing_again(desk: Desk) -> None:
    desk.shop.is_closed = False
    await desk.pool.enqueue_job("sweep")
    await desk.run()

    bulk = await desk.letters.rerun_many(JobFilter(status=JobState.SUCCEEDED), by="asha")

    assert (bulk.matched, bulk.retried, dict(bulk.left_out)) == (1, 0, {LeftOut.NOT_FAILED: 1})


async def test_hundreds_are_run_again_by_two_at_once_and_each_once(desk: Desk) -> None:
    await desk.pool.enqueue_many("tell", [{"order": f"ORD-{number}"} for number in range(450)])
    await desk.run()
    desk.shop.is_closed = False

    ours, theirs = await asyncio.gather(*(desk.letters.rerun_many(JobFilter(), by=name) for name in ("asha", "ravi")))
    await desk.run()

    assert ours.retried + theirs.retried == 450
    assert sorted(sold for _, _, sold in desk.shop.sold) == sorted(f"ORD-{number}" for number in range(450))


async def test_named_jobs_are_run_again_and_unknown_ones_told(desk: Desk) -> None:
    await desk.fail()

    bulk = await desk.letters.rerun_these(["j", "nobody", "j"], by="asha")

    assert told(bulk)["left out"] == {LeftOut.NO_SUCH_JOB: 1}
    assert (bulk.matched, bulk.retried) == (2, 1)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE tasks.payloads SET payload = 'x'", "can't be read"),
        ('UPDATE tasks.payloads SET payload = convert_to(\'{"f":"gone","a":[],"k":{},"et": 1}\', \'UTF8\')', "no task"),
        (
            'UPDATE tasks.payloads SET payload = convert_to(\'{"f":"tell","a":[],"k":{},"et": 1}\', \'UTF8\')',
            "do not fit",
        ),
    ],
    ids=["unreadable", "unknown task", "arguments"],
)
async def test_what_could_only_fail_again_is_left_out(desk: Desk, statement: str, reason: str) -> None:
    await desk.fail()
    await desk.history.execute(statement)

    with pytest.raises(NotALetter, match=reason):
        await desk.letters.rerun("j", by="asha")

    assert (await desk.letters.rerun_many(JobFilter(), by="asha", dry_run=True)).retried == 0


async def test_a_second_press_tells_what_the_new_job_can_still_do(desk: Desk) -> None:
    await desk.fail(phone="+919876543210")
    await desk.message("j", "email", "sent")

    first = await desk.letters.rerun("j", by="asha")
    in_the_outbox = await desk.letters.rerun("j", by="ravi")
    await desk.relay.relay()
    in_redis = await desk.letters.rerun("j", by="ravi")
    await desk.run()
    after_its_end = await desk.letters.rerun("j", by="ravi")

    assert first.can == "send sms; done before: send email"
    assert [press.can for press in (in_the_outbox, in_redis)] == [first.can] * 2
    assert after_its_end.can == "nothing"
    assert {press.new_id for press in (in_the_outbox, in_redis, after_its_end)} == {first.new_id}
