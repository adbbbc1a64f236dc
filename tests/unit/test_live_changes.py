"""Many changes of one job become its last state, with what earlier events told of it."""

from collections.abc import Iterator
from itertools import count

import pytest

from app.jobs.events import Event
from app.jobs.lookup import JobState
from app.jobs.memory import Attempt, AttemptOutcome, Memory
from app.jobs.payload import Payload
from app.jobs.progress import Progress
from app.jobs.queues import Queue
from app.jobs.serializer import serialize
from app.live.changes import Change, Changes, merged
from app.tasks import TASKS

TASK = "send_email_task"
PAYLOAD = Payload(TASK, enqueued_ms=1_000, kwargs={"to_email": "asha@example.com"}).to_bytes()
NOTIFICATIONS = Queue.NOTIFICATIONS.key.encode()

numbers: Iterator[int] = count(1)


def event(kind: str, told: bytes, *, job_id: bytes = b"j1", queue: str = "", at_ms: int = 1_000) -> Event:
    return Event(f"{at_ms}-{next(numbers)}", kind, at_ms, "worker", queue, [(job_id, told)])


def enqueued(*, due_ms: int = 1_000, job_id: bytes = b"j1") -> Event:
    return event("enqueued", b"%d %s %s" % (due_ms, NOTIFICATIONS, PAYLOAD), job_id=job_id)


def started(job_id: bytes = b"j1") -> Event:
    return event("started", b"1000", queue="notifications", job_id=job_id)


def ended(*, success: bool = True, op: bytes = b"done") -> Event:
    data = {"f": TASK, "q": NOTIFICATIONS.decode(), "s": success, "r": None if success else ValueError("no")}
    return event("ended", op + b" " + serialize(data))


def again(outcome: AttemptOutcome) -> Event:
    memory = Memory([Attempt(1, 1_000, 1_100, outcome, "worker")])
    return event("ended", b"again 9000 1 " + memory.to_bytes())


def told(*events: Event, most_known: int = 100) -> list[Change]:
    changes = Changes(TASKS, most_known=most_known)
    for each in events:
        changes.add(each)
    return changes.take()


def test_many_changes_become_the_last_state() -> None:
    [change] = told(enqueued(), started(), ended())

    assert change == Change("j1", TASK, Queue.NOTIFICATIONS, JobState.SUCCEEDED, 1_000, count=3)


def test_jobs_come_in_the_order_of_their_last_changes() -> None:
    changes = told(enqueued(job_id=b"a"), enqueued(job_id=b"b"), started(b"a"))

    assert [change.job_id for change in changes] == ["b", "a"]


def test_what_was_taken_is_not_told_again_and_not_forgotten() -> None:
    changes = Changes(TASKS)
    changes.add(enqueued())
    changes.take()
    changes.add(started())

    [change] = changes.take()

    assert (change.task, change.queue, change.status, change.count) == (TASK, Queue.NOTIFICATIONS, "running", 1)
    assert changes.take() == []


@pytest.mark.parametrize(
    ("last", "status"),
    [
        (enqueued(due_ms=5_000), JobState.SCHEDULED),
        (event("released", b"1000"), JobState.QUEUED),
        (ended(success=False, op=b"fail"), JobState.FAILED),
        (again(AttemptOutcome.RETRIED), JobState.RETRYING),
        (again(AttemptOutcome.HANDED_BACK), JobState.SCHEDULED),
        (event("ended", b"wait 900 0 SendGrid"), JobState.QUEUED),
    ],
)
def test_where_a_job_stands_after_an_event(last: Event, status: JobState) -> None:
    [change] = told(enqueued(), started(), last)

    assert change.status is status


def test_one_that_has_failed_waits_as_one_that_is_retried() -> None:
    [change] = told(enqueued(), again(AttemptOutcome.RETRIED), started(), event("ended", b"wait 900 1 SendGrid"))

    assert change.status is JobState.RETRYING


def test_progress_is_told_with_the_job_and_gone_when_it_ends() -> None:
    said = Progress(3, 7, "three of seven")

    [running] = told(enqueued(), started(), event("progress", said.to_bytes()))
    [done] = told(enqueued(), started(), event("progress", said.to_bytes()), ended())

    assert (running.progress, done.progress) == (said, None)


def test_a_task_that_nobody_told_of_is_asked_for() -> None:
    changes = Changes(TASKS)
    changes.add(started())
    assert changes.unknown() == ["j1"]

    changes.learn({"j1": PAYLOAD})

    assert [change.task for change in changes.take()] == [TASK]
    changes.add(event("released", b"1000"))
    assert changes.unknown() == []


def test_only_so_many_jobs_are_remembered() -> None:
    changes = Changes(TASKS, most_known=1)
    changes.add(enqueued(job_id=b"a"))
    changes.add(enqueued(job_id=b"b"))
    changes.take()

    changes.add(started(b"a"))
    changes.add(started(b"b"))

    assert "a" in changes.unknown()


@pytest.mark.parametrize(
    "strange",
    [
        event("enqueued", b"nonsense"),
        event("ended", b"done {"),
        event("ended", b"again x y z"),
        event("started", b"1000", queue="nowhere"),
        event("something else", b""),
        event("started", b"1000", queue="default", job_id=b"\xff"),
        event("started", b"1000", queue="default", job_id=b"x" * 2_000),
    ],
)
def test_what_can_not_be_read_is_passed_over(strange: Event) -> None:
    changes = told(strange, enqueued(job_id=b"after"))

    assert [change.job_id for change in changes] == ["after"]


def test_several_ticks_merge_into_the_last_state() -> None:
    first = told(enqueued(job_id=b"a"), enqueued(job_id=b"b"))
    second = told(enqueued(job_id=b"a"), started(b"a"))

    changes = merged([first, second])

    assert [(change.job_id, change.status, change.count) for change in changes] == [
        ("b", JobState.QUEUED, 1),
        ("a", JobState.RUNNING, 3),
    ]
