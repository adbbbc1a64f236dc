"""What single events make of a job's row."""

import json
from typing import Any

import pytest

from app.history.fold import EarlierJob, Fold, JobChange
from app.history.masking import masked, storable, storable_json
from app.jobs.context import Context
from app.jobs.events import Event
from app.jobs.memory import Memory
from app.jobs.payload import Payload
from app.jobs.queues import Queue
from app.jobs.serializer import ErrorRecord
from app.jobs.task import TaskRegistry

TASKS = TaskRegistry()
START = 1_700_000_000_000
MEMORY = Memory().to_bytes()


@TASKS.task(queue=Queue.NOTIFICATIONS, visible={"order"})
async def tell(context: Context, order: str, email: str) -> None:
    """Tell."""


PAYLOAD = Payload("tell", START, kwargs={"order": "ORD-7", "email": "asha@example.com"}).to_bytes()


def event(kind: str, told: bytes, *, at: int = START, queue: str = "notifications") -> Event:
    return Event(f"{at}-0", kind, at, "host:1:abc:7", queue, [(b"j", told)])


ENQUEUED = event("enqueued", b"%d arq:queue:notifications " % START + PAYLOAD)
STARTED = event("started", b"%d" % START, at=START + 5)


def fold(*events: Event) -> Fold:
    batch = Fold(TASKS)
    for each in events:
        batch.add(each)
    return batch


def folded(*events: Event, earlier: JobChange | None = None) -> JobChange:
    known = {} if earlier is None else {"j": EarlierJob(earlier.row, earlier.payload)}
    [change] = fold(*events).changes(known)
    return change


def test_a_started_job_runs_at_its_first_try() -> None:
    change = folded(ENQUEUED, STARTED)

    row = change.row
    assert (row.status, row.tries, row.run_at, row.worker) == ("running", 1, None, "host:1:abc")
    assert (row.kwargs, row.terms) == ('{"order":"ORD-7","email":"hidden"}', ["ord-7"])
    assert (change.payload, change.is_new) == (PAYLOAD, True)


@pytest.mark.parametrize(
    ("then", "status", "tries", "due"),
    [
        (event("released", b"%d" % (START + 9)), "queued", 0, START + 9),
        (event("ended", b"wait %d.25 0 sendgrid" % (START + 9)), "queued", 0, None),
        (event("ended", b"keep %d 0 " % (START + 9) + MEMORY), "queued", 0, START + 9),
        (event("ended", b"keep %d.25 0 " % (START + 9) + MEMORY), "queued", 0, None),
        (event("ended", b"again %d 2 " % (START + 9) + MEMORY), "queued", 2, START + 9),
        (event("started", b"%d.5" % (START + 9)), "running", 1, None),
    ],
)
def test_a_started_job_that_did_not_end(then: Event, status: str, tries: int, due: int | None) -> None:
    at_once = folded(ENQUEUED, STARTED, then).row
    in_parts = folded(then, earlier=folded(ENQUEUED, STARTED)).row

    for row in (at_once, in_parts):
        assert (row.status, row.tries) == (status, tries)
        assert (row.run_at and round(row.run_at.timestamp() * 1000)) == due


def test_a_job_that_moves_on_is_on_its_tasks_queue() -> None:
    arrived = event("enqueued", b"%d arq:queue " % START + PAYLOAD)
    started = event("started", b"%d" % START, queue="default")

    row = folded(arrived, started, event("ended", b"move %d 0 " % START + MEMORY)).row

    assert (row.queue, row.tries, row.status) == ("notifications", 0, "queued")


def test_progress_is_no_history() -> None:
    assert list(fold(event("progress", b"{}")).changes({})) == []


@pytest.mark.parametrize("ms", [10**30, -(10**30)])
def test_a_time_that_no_calendar_has_is_left_out(ms: int) -> None:
    raw = Payload("tell", ms).to_bytes()

    assert folded(event("enqueued", b"%d arq:queue " % START + raw)).row.enqueued_at.year == 2023


def test_an_error_does_not_repeat_hidden_arguments_however_they_are_quoted() -> None:
    known = masked(TASKS, "tell", ["ORD-7"], {"email": "o'asha\n@example.com"})

    error = known.error(ErrorRecord("E", "to o'asha\n@example.com", f"sent {'o' + chr(39) + 'asha' + chr(10)!r}..."))
    other = known.error(ErrorRecord("E", f"for ORD-7 {json.dumps(dict(known.kwargs))}", repr(["o'asha\n@example.com"])))

    assert error is not None
    assert other is not None
    assert error.message == "to hidden"
    assert "ORD-7" in other.message
    assert "asha" not in other.traceback


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("a\x00", '"a\\ufffd"'),
        ("\\u0000", '"\\\\u0000"'),
        (["\ud800", "\ud83e\udd5b"], '["\\ufffd","\\ud83e\\udd5b"]'),
        ({"\x00": 1}, '{"\\ufffd":1}'),
    ],
)
def test_json_that_postgres_would_refuse_is_mended(value: Any, stored: str) -> None:
    assert storable_json(value) == stored


def test_text_that_postgres_would_refuse_is_mended() -> None:
    assert storable("a\x00\ud800é") == "a\ufffd\ufffdé"
