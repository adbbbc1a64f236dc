"""What operators ask and do, and what is on record of it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import date, timedelta

import pytest

from app.db.engine import DatabaseUnavailable
from app.history.reader import JobFilter
from app.jobs.failures import UnknownQueue, UnknownTask, WrongArguments
from app.jobs.lookup import JobState
from app.jobs.queues import Queue
from app.letters.letter import NotALetter
from app.operations import Role
from app.operations.acting import LONGEST_REASON
from app.operations.failures import JobHasEnded, JobIdTaken, NoSuchJob
from app.operations.views import JobView
from app.schedules.control import UnknownSchedule
from tests.integration.operations_desk import ASHA, LAST_TRY, MAIL, Desk, open_desk


@pytest.fixture
async def desk(database_url: str, redis_url: str) -> AsyncIterator[Desk]:
    async with open_desk(database_url, redis_url) as desk:
        yield desk


@pytest.fixture
async def desk_without_postgresql(redis_url: str) -> AsyncIterator[Desk]:
    async with open_desk("postgresql://me@127.0.0.1:9/x", redis_url) as desk:
        yield desk


def ids(jobs: Iterable[JobView]) -> list[str]:
    return [job.id for job in jobs]


async def test_jobs_are_listed_newest_first_as_they_are_looked_up(desk: Desk) -> None:
    jobs = desk.operations.jobs
    await desk.fail("first", "second")

    page = await jobs.page(JobFilter(), Role.OPERATOR, limit=1)
    rest = await jobs.page(JobFilter(), Role.OPERATOR, limit=1, cursor=page.next_cursor)

    assert (ids(page.items), ids(rest.items), rest.next_cursor) == (["second"], ["first"], None)
    found = await jobs.find("first", Role.OPERATOR)
    assert (found.status, found.task, found.tries) == (JobState.FAILED, "cleanup_expired_carts", LAST_TRY)
    with pytest.raises(NoSuchJob, match="there is no job third"):
        await jobs.find("third", Role.OPERATOR)


async def test_a_job_is_enqueued_once_under_its_id(desk: Desk) -> None:
    jobs = desk.operations.jobs

    job = await jobs.enqueue(ASHA, "send_email_task", MAIL, job_id="mine", delay=timedelta(hours=1))
    with pytest.raises(JobIdTaken):
        await jobs.enqueue(ASHA, "send_email_task", MAIL, job_id="mine")

    assert (job.id, job.status, job.queue, job.kwargs) == ("mine", JobState.SCHEDULED, Queue.NOTIFICATIONS, MAIL)
    [enqueued, refused] = await desk.audit()
    hidden = dict.fromkeys(MAIL, "hidden")
    told = {"kwargs": hidden, "job_id": "mine", "delay_seconds": 3600}
    assert enqueued == ("job.enqueue", "send_email_task", "done", told)
    assert refused[2:] == ("refused", {"kwargs": hidden, "reason": "there is a job with the id mine"})


async def test_what_can_not_be_enqueued_is_on_record_without_what_was_wrong(desk: Desk) -> None:
    jobs = desk.operations.jobs

    with pytest.raises(UnknownTask):
        await jobs.enqueue(ASHA, "send_emial_task", MAIL)
    with pytest.raises(WrongArguments):
        await jobs.enqueue(ASHA, "send_email_task", MAIL | {"to_email": "my secret"})

    [_, wrong] = await desk.audit()
    assert wrong == ("job.enqueue", "send_email_task", "refused", {"reason": "wrong arguments: to_email"})


async def test_a_failed_job_is_run_again_once(desk: Desk) -> None:
    jobs = desk.operations.jobs
    await desk.fail("j1")

    again = await jobs.retry(ASHA, "j1")
    twice = await jobs.retry(ASHA, "j1")

    assert (again.retry_of, again.status, again.can, again.id) == ("j1", JobState.QUEUED, "run", twice.id)
    assert (await jobs.find(again.id, Role.VIEWER)).retry_of == "j1"
    await desk.work()
    assert (await jobs.find(again.id, Role.OPERATOR)).attempts[0].outcome == "retried"
    told = {"resend": False, "retried_as": again.id}
    assert await desk.audit() == [("job.retry", "j1", "done", told)] * 2


async def test_only_what_failed_is_run_again(desk: Desk) -> None:
    jobs = desk.operations.jobs
    await jobs.enqueue(ASHA, "cleanup_expired_tokens", {}, job_id="waits")

    with pytest.raises(NotALetter, match="job waits: it has not failed"):
        await jobs.retry(ASHA, "waits")
    with pytest.raises(NoSuchJob):
        await jobs.retry(ASHA, "nowhere")

    assert [(action, result) for action, _, result, _ in await desk.audit()][1:] == [("job.retry", "refused")] * 2


async def test_many_are_run_again_after_a_dry_run_that_said_the_same(desk: Desk) -> None:
    jobs = desk.operations.jobs
    await desk.fail("j1", "j2")
    wanted = JobFilter(task="cleanup_expired_carts")

    dry = await jobs.retry_many(ASHA, wanted, dry_run=True)
    wet = await jobs.retry_many(ASHA, wanted)
    these = await jobs.retry_these(ASHA, ["j1", "nowhere"])

    assert (dry.matched, dry.retried, dry.dry_run, dry.can) == (2, 2, True, {"run": 2})
    assert dry.model_copy(update={"dry_run": False, "items": wet.items}) == wet
    assert (these.matched, these.retried) == (2, 0)
    assert these.left_out == {"there is no such job": 1, "it was run again before": 1}
    assert [details for *_, details in await desk.audit()] == [
        {"filter": {"task": "cleanup_expired_carts"}, "matched": 2, "retried": 2},
        {"ids": ["j1", "nowhere"], "matched": 2, "retried": 0},
    ]


async def test_jobs_are_discarded_one_by_one_and_many_at_once(desk: Desk) -> None:
    jobs = desk.operations.jobs
    await desk.fail("j1", "j2", "j3")
    waiting = await jobs.enqueue(ASHA, "cleanup_expired_tokens", {})

    await jobs.discard(ASHA, "j1")
    await jobs.discard(ASHA, waiting.id)
    rest = await jobs.discard_many(ASHA, JobFilter(task="cleanup_expired_carts"))

    assert (await jobs.find(waiting.id, Role.OPERATOR)).status is JobState.CANCELLED
    assert (rest.matched, rest.discarded, rest.left_out) == (3, 2, {"it was discarded": 1})
    with pytest.raises(NotALetter, match="it was discarded"):
        await jobs.retry(ASHA, "j3")


@pytest.mark.parametrize("done", ["retry", "discard"])
@pytest.mark.parametrize("which", ["many", "these"])
async def test_an_action_that_is_cut_off_is_on_record_with_how_far_it_came(desk: Desk, done: str, which: str) -> None:
    await desk.fail("j1", "j2")
    act = getattr(desk.operations.jobs, f"{done}_{which}")

    def hang_up(_count: int, _matched: int) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await act(ASHA, JobFilter() if which == "many" else ["j1", "j2", "nowhere"], tell=hang_up)

    [(action, _, result, details)] = await desk.audit()
    assert (action, result, details["reason"]) == (f"jobs.{done}", "failed", "CancelledError")
    assert details["retried" if done == "retry" else "discarded"] == 2
    assert details["matched"] == (2 if which == "many" else 3)


async def test_what_nothing_was_done_to_is_counted_too(desk: Desk) -> None:
    await desk.fail("j1")

    await desk.operations.jobs.retry_many(ASHA, JobFilter(status=JobState.SUCCEEDED))
    await desk.operations.jobs.retry_many(ASHA, JobFilter(task="send_sms_task"))
    await desk.operations.jobs.discard_many(ASHA, JobFilter(status=JobState.SUCCEEDED))

    assert [
        (details["matched"], details.get("retried", details.get("discarded"))) for *_, details in await desk.audit()
    ] == [(0, 0)] * 3


async def test_a_waiting_job_is_aborted_wherever_it_waits(desk: Desk) -> None:
    jobs = desk.operations.jobs
    await jobs.enqueue(ASHA, "cleanup_expired_tokens", {}, job_id="in redis", delay=timedelta(hours=1))
    in_outbox = (await desk.operations.schedules.run(ASHA, "cleanup_expired_tokens")).id

    await jobs.abort(ASHA, "in redis")
    aborted = await jobs.abort(ASHA, in_outbox)
    await desk.fail("ended")
    with pytest.raises(JobHasEnded):
        await jobs.abort(ASHA, "ended")
    with pytest.raises(NoSuchJob):
        await jobs.abort(ASHA, "nowhere")

    assert aborted.status is JobState.CANCELLED


async def test_queues_are_paused_by_name(desk: Desk) -> None:
    queues = desk.operations.queues
    await desk.operations.jobs.enqueue(ASHA, "send_email_task", MAIL)

    paused = await queues.pause(ASHA, "notifications")
    assert (paused.name, paused.paused, paused.waiting, paused.running) == (Queue.NOTIFICATIONS, True, 1, 0)
    assert [queue.paused for queue in await queues.all()] == [False, True, False]
    resumed = await queues.resume(ASHA, "notifications")
    with pytest.raises(UnknownQueue):
        await queues.pause(ASHA, "letters")

    assert not resumed.paused
    assert [entry[:3] for entry in await desk.audit()][1:] == [
        ("queue.pause", "notifications", "done"),
        ("queue.resume", "notifications", "done"),
        ("queue.pause", "letters", "refused"),
    ]


async def test_schedules_are_run_paused_and_resumed(desk: Desk) -> None:
    schedules = desk.operations.schedules

    job = await schedules.run(ASHA, "cleanup_expired_tokens")
    paused = await schedules.pause(ASHA, "cleanup_expired_carts")
    views = {view.name: view for view in await schedules.all()}
    resumed = await schedules.resume(ASHA, "cleanup_expired_carts")

    assert (job.task, job.status) == ("cleanup_expired_tokens", JobState.QUEUED)
    run = views["cleanup_expired_tokens"]
    assert (run.last_job_id, run.last_status, run.cron, run.timezone) == (job.id, JobState.QUEUED, "0 3 * * *", "UTC")
    assert (paused.paused, paused.next_run_at) == (True, None)
    assert views["cleanup_expired_carts"] == paused
    assert not resumed.paused
    with pytest.raises(UnknownSchedule):
        await schedules.run(ASHA, "send_email_task")
    with pytest.raises(WrongArguments):
        await schedules.run(ASHA, "cleanup_expired_carts", date(2026, 3, 2))


async def test_an_outage_of_postgresql_keeps_nobody_from_pausing_and_aborting(desk_without_postgresql: Desk) -> None:
    operations = desk_without_postgresql.operations
    job = await operations.jobs.enqueue(ASHA, "send_email_task", MAIL)

    await operations.jobs.abort(ASHA, job.id)
    paused = await operations.queues.pause(ASHA, "notifications")

    assert paused.paused
    with pytest.raises(DatabaseUnavailable):
        await operations.jobs.retry(ASHA, job.id)
    with pytest.raises(DatabaseUnavailable):
        await operations.schedules.pause(ASHA, "cleanup_expired_carts")


async def test_viewers_see_no_words_of_jobs_that_hide_arguments(desk: Desk) -> None:
    jobs = desk.operations.jobs
    await jobs.enqueue(ASHA, "send_email_task", MAIL, job_id="mail")
    await desk.fail("carts")

    mail = await jobs.find("mail", Role.VIEWER)
    carts = await jobs.find("carts", Role.VIEWER)

    assert mail.kwargs == dict.fromkeys(MAIL, "hidden")
    assert carts.kwargs == {"days_old": 7}
    assert carts.error is not None
    assert (carts.error.type, carts.error.message, carts.error.traceback) == ("LookupError", "hidden", "hidden")


async def test_a_long_list_of_wrong_arguments_is_cut_on_record(desk: Desk) -> None:
    wrong = {f"argument_{number:04}": 1 for number in range(1000)}

    with pytest.raises(WrongArguments):
        await desk.operations.jobs.enqueue(ASHA, "send_email_task", MAIL | wrong)

    [(*_, details)] = await desk.audit()
    assert details["reason"].startswith("wrong arguments: argument_0000, argument_0001")
    assert len(details["reason"]) == LONGEST_REASON
