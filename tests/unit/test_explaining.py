"""What is told of a job: the sentence about the cause matches what was done to it."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.jobs.context import Context
from app.jobs.effects import Effect, EffectState
from app.jobs.lookup import JobRecord, JobState
from app.jobs.memory import Attempt, AttemptOutcome
from app.jobs.progress import Progress
from app.jobs.queue_states import QueueState
from app.jobs.queues import Queue
from app.jobs.registry import WorkerEntry
from app.jobs.result import NOT_KEPT
from app.jobs.serializer import ErrorRecord
from app.jobs.task import TaskRegistry
from app.letters.letter import Closed, LeftOut, Rerun
from app.operations.explaining import JobFacts, explain
from app.operations.explaining.facts import ReplacedBy, RowOfJob, SlotStart
from app.operations.explaining.wording import span
from app.providers.failures import ProviderNotDone, ProviderOutcomeUnknown, ProviderRefused, ProviderUnreachable
from app.settings import PROJECT_ROOT

NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)
TASKS = TaskRegistry()


@TASKS.task(queue=Queue.NOTIFICATIONS)
async def tell(ctx: Context) -> None:
    """Tell somebody."""


def minutes(number: float) -> datetime:
    return NOON + timedelta(minutes=number)


def attempt(
    outcome: AttemptOutcome, number: int = 1, error: tuple[str, str] | None = None, worker: str | None = "dairy:7"
) -> Attempt:
    started = round(minutes(-10 + number).timestamp() * 1000)
    return Attempt(
        number, started, started + 1_500, outcome, worker, None if error is None else ErrorRecord(*error, "")
    )


def job(state: JobState, *attempts: Attempt, error: tuple[str, str] | None = None, **others: Any) -> JobRecord:
    values: dict[str, Any] = {
        "id": "j1",
        "task": "tell",
        "queue": Queue.NOTIFICATIONS,
        "state": state,
        "kwargs": {},
        "enqueued_at": minutes(-10),
        "run_at": None,
        "started_at": None,
        "finished_at": None,
        "tries": len(attempts),
        "max_tries": 4,
        "result": None,
        "error": None if error is None else ErrorRecord(*error, ""),
        "attempts": list(attempts),
    }
    return JobRecord(**(values | others))


def worker(*, slots: int = 2, is_draining: bool = False, running: tuple[str, ...] = ()) -> WorkerEntry:
    queues = {Queue.NOTIFICATIONS.value: slots}
    return WorkerEntry("dairy:7", "dairy", 7, queues, 0, 0, list(running), 0, 0, 0, is_draining)


def queue(*, running: int = 0, waiting: int = 1, is_paused: bool = False) -> QueueState:
    return QueueState(Queue.NOTIFICATIONS, waiting, 0, running, is_paused, None)


def facts(record: JobRecord, **others: Any) -> JobFacts:
    values: dict[str, Any] = {"now": NOON, "task": tell, "queue": queue(), "workers": [worker()]}
    return JobFacts(job=record, **(values | others))


def failed(kind: str, message: str, tries: int = 1, *before: Attempt) -> JobRecord:
    error = (kind, message)
    return job(JobState.FAILED, *before, attempt(AttemptOutcome.FAILED, tries, error), error=error, tries=tries)


CALL = (ProviderNotDone.__name__, "sendgrid did not take the request (503): busy")
AWAY = (ProviderUnreachable.__name__, "twilio can't be reached (ConnectError): refused")
RETRIED = attempt(AttemptOutcome.RETRIED, 1, CALL)
PUT_OFF = attempt(AttemptOutcome.PUT_OFF, 1, AWAY)


CAUSES: list[tuple[JobFacts, str]] = [
    # Why it failed.
    (
        facts(failed(ProviderRefused.__name__, "sendgrid refused the request (400): no such address")),
        "it was refused (ProviderRefused: sendgrid refused the request (400): no such address)",
    ),
    (facts(failed(*CALL, 4, RETRIED)), "each of its 4 tries did, the last one with ProviderNotDone: sendgrid"),
    (facts(failed("KeyError", "'milk'", 4)), "with KeyError: 'milk', a fault of the program"),
    (facts(failed(ProviderOutcomeUnknown.__name__, "twilio may have")), "nobody can tell whether it happened"),
    (facts(failed(*AWAY, 1, PUT_OFF)), "could not be had (ProviderUnreachable: twilio"),
    (facts(failed("WorkerLost", "the worker died or fell silent 3 times")), "it is probably what kills them"),
    (facts(failed("JobExpired", "over"), expires_at=minutes(-5)), "it expired at 2026-03-05 11:55:00 UTC"),
    (facts(failed("TimeLimitExceeded", "too long")), "it still ran at its time limit of 30 min"),
    (facts(failed("SoftTimeLimitExceeded", "too long")), "it ran into its soft time limit of 25 min"),
    (facts(failed("UnknownTask", "there is no task 'tel'"), task=None), "there is no task 'tel' in the release"),
    (
        facts(failed("UnreadablePayload", "the payload can't be read: it is pickled")),
        "read: it is pickled. Nothing was run",
    ),
    (facts(failed("WrongArguments", "to: is missing")), "because of what was enqueued: to: is missing"),
    (facts(job(JobState.FAILED)), "with which error is not on record"),
    # How else it ended.
    (facts(job(JobState.SUCCEEDED, attempt(AttemptOutcome.SUCCEEDED))), "It succeeded at its first try."),
    (facts(job(JobState.SUCCEEDED, RETRIED, attempt(AttemptOutcome.SUCCEEDED, 2))), "It succeeded at try 2."),
    (
        facts(job(JobState.SUCCEEDED, attempt(AttemptOutcome.SUCCEEDED), result=f"{NOT_KEPT}too deep>")),
        "What it returned could not be kept: too deep.",
    ),
    (facts(job(JobState.CANCELLED, attempt(AttemptOutcome.CANCELLED))), "It was aborted because somebody asked"),
    (facts(job(JobState.CANCELLED)), "It was discarded while it waited"),
    (facts(job(JobState.CANCELLED), ended_by="ravi"), "It was discarded by ravi while it waited"),
    # Why it waits.
    (facts(job(JobState.QUEUED)), "Nothing holds it up"),
    (facts(job(JobState.QUEUED), queue=queue(is_paused=True)), "because the queue notifications is paused"),
    (facts(job(JobState.QUEUED), workers=[]), "no worker that is alive serves the queue notifications"),
    (facts(job(JobState.QUEUED), workers=[worker(is_draining=True)]), "every worker of the queue notifications is"),
    (facts(job(JobState.QUEUED), limit="sendgrid"), "the limit sendgrid, which all workers share, is reached"),
    (facts(job(JobState.QUEUED), queue=queue(running=2, waiting=7)), "all 2 slots of the queue notifications are"),
    (facts(job(JobState.QUEUED), task=None), "No task is called tell here: it will fail"),
    (
        facts(job(JobState.QUEUED, id="outbox:7"), row=RowOfJob("k", None, is_relayed=False)),
        "in the outbox because no worker has handed it to Redis yet",
    ),
    (
        facts(job(JobState.QUEUED, attempt(AttemptOutcome.HANDED_BACK))),
        "handed back because its worker was told to",
    ),
    (facts(job(JobState.QUEUED, attempt(AttemptOutcome.LOST))), "because its worker died or fell silent"),
    (facts(job(JobState.SCHEDULED, run_at=minutes(5))), "It waits for its time: it was enqueued for later"),
    (
        facts(job(JobState.RETRYING, RETRIED, run_at=minutes(1))),
        "because try 1 failed (ProviderNotDone: sendgrid did not take",
    ),
    (
        facts(job(JobState.RETRYING, PUT_OFF, run_at=minutes(1)), put_off_since=minutes(-3)),
        "put off because what it needs can't be had now (ProviderUnreachable: twilio can't be reached",
    ),
    (
        facts(job(JobState.RETRYING, RETRIED, run_at=minutes(1)), queue=queue(is_paused=True)),
        "because the queue notifications is paused",
    ),
    # Where it runs.
    (facts(job(JobState.RUNNING), runner=worker(), started_at=minutes(-2)), "on dairy:7 since 2026-03-05 11:58:00"),
    (facts(job(JobState.RUNNING)), "no living worker says so"),
    (
        facts(job(JobState.RUNNING, progress=Progress(3, 9, "carts")), runner=worker()),
        "It says that it is at 3 of 9 (carts)",
    ),
    (facts(job(JobState.RETRYING, RETRIED), is_lost=True), "It was retrying when Redis lost it"),
    (facts(job(JobState.QUEUED), queue=None, away=["Redis"]), "Redis can't be asked now"),
]


@pytest.mark.parametrize(("told", "because"), CAUSES)
def test_the_cause_is_told(told: JobFacts, because: str) -> None:
    assert because in explain(told).because


def test_what_operators_read_of_causes_is_what_they_are_told() -> None:
    """The tables of docs/operations.md."""
    page = (PROJECT_ROOT / "docs" / "operations.md").read_text()
    quoted = [
        phrase.strip()
        for table in re.findall(r"\| (?:it says|it failed because) \|.*?\n\n", page, flags=re.DOTALL)
        for cell in re.findall(r"^ *\| (.+?) \| ", table, flags=re.MULTILINE)[2:]
        for phrase in cell.split(";")
    ]
    told = [explain(facts).because for facts, _ in CAUSES]

    patterns = [".*".join(map(re.escape, phrase.split("..."))) for phrase in quoted]
    assert len(patterns) > 15
    assert [pattern for pattern in patterns if not any(re.search(pattern, sentence) for sentence in told)] == []


@pytest.mark.parametrize(
    ("told", "origin"),
    [
        (facts(job(JobState.QUEUED), enqueued_by="asha"), "asha enqueued it by hand at 2026-03-05 11:50:00 UTC"),
        (facts(job(JobState.QUEUED)), "put straight on its queue at 2026-03-05 11:50:00 UTC"),
        (
            facts(job(JobState.QUEUED, id="outbox:7"), row=RowOfJob("order:8", None, is_relayed=True)),
            "wrote it into the outbox under the key order:8",
        ),
        (facts(job(JobState.QUEUED, id="outbox:7")), "wrote it into the outbox at"),
        (
            facts(job(JobState.QUEUED), slot=SlotStart("tell", minutes(-10), is_by_hand=False)),
            "The schedule tell started it for its slot of 2026-03-05 11:50:00 UTC",
        ),
        (
            facts(job(JobState.QUEUED), slot=SlotStart("tell", minutes(-10), is_by_hand=True), enqueued_by="asha"),
            "asha ran the schedule tell by hand",
        ),
        (
            facts(job(JobState.QUEUED, retry_of="j0"), replaced=Closed("retried", "asha", minutes(-10), "j1")),
            "runs again what job j0 failed to do. asha ran that again at",
        ),
    ],
)
def test_why_there_is_one_is_told(told: JobFacts, origin: str) -> None:
    assert origin in explain(told).origin


@pytest.mark.parametrize(
    ("told", "next_"),
    [
        (facts(job(JobState.QUEUED)), "Try 1 of 4 starts at once."),
        (facts(job(JobState.SCHEDULED, run_at=minutes(5))), "at 2026-03-05 12:05:00 UTC (in 5 min)"),
        (
            facts(job(JobState.RETRYING, RETRIED, run_at=minutes(1)), queue=queue(is_paused=True)),
            "starts when the queue is resumed (indostar resume notifications), and not before 2026-03-05 12:01:00 UTC",
        ),
        (facts(job(JobState.QUEUED), workers=[]), "a worker serves the queue (indostar worker --queues notifications)"),
        (facts(job(JobState.QUEUED), limit="sendgrid"), "starts when its turn has come"),
        (
            facts(job(JobState.RETRYING, PUT_OFF, run_at=minutes(1), tries=0), put_off_since=minutes(-60)),
            "costs no try, and goes on until 2026-03-06 11:00:00 UTC",
        ),
        (
            facts(job(JobState.SCHEDULED, run_at=minutes(5)), expires_at=minutes(9)),
            "It is not started after 2026-03-05",
        ),
        (
            facts(job(JobState.RUNNING, tries=2), runner=worker(), started_at=NOON),
            "(in 25 min), and ended at 2026-03-05 12:30:00 UTC. If it fails, it may be tried 2 more times.",
        ),
        (facts(job(JobState.RUNNING), abort_asked_at=NOON), "for it to be aborted"),
        (facts(failed("KeyError", "x")), "indostar retry j1"),
        (facts(failed("KeyError", "x"), closed=Closed("discarded", "ravi", NOON, None)), "ravi discarded it"),
        (
            facts(
                failed("KeyError", "x"),
                closed=Closed("retried", "asha", NOON, "outbox:9"),
                successor=ReplacedBy("outbox:9", JobState.SUCCEEDED),
            ),
            "asha ran it again at 2026-03-05 12:00:00 UTC as job outbox:9, which is succeeded.",
        ),
        (facts(job(JobState.SUCCEEDED)), "Nothing: it has ended."),
        (facts(job(JobState.QUEUED), is_lost=True), "Enqueue it anew."),
        (
            facts(job(JobState.QUEUED, id="outbox:7"), row=RowOfJob(None, None, is_relayed=True), is_lost=True),
            "A worker enqueues it again from the outbox",
        ),
    ],
)
def test_what_comes_next_is_told(told: JobFacts, next_: str) -> None:
    assert next_ in explain(told).next


def would(*effects: tuple[str, EffectState], left_out: LeftOut | None = None) -> JobFacts:
    told = [Effect("send", what, state) for what, state in effects]
    return facts(failed("KeyError", "x"), rerun=Rerun("j1", "tell", told, left_out=left_out))


@pytest.mark.parametrize(
    ("told", "rerun"),
    [
        (would(("email", EffectState.OPEN), ("sms", EffectState.OPEN)), "would send email and send sms."),
        (
            would(("email", EffectState.DONE), ("sms", EffectState.OPEN)),
            "would send sms. Done before, and not done again",
        ),
        (would(("email", EffectState.DONE)), "would do nothing. Done before"),
        (would(("sms", EffectState.UNKNOWN)), "Nobody knows whether it did send sms"),
        (would(), "would do all of it once more"),
        (would(left_out=LeftOut.PAYLOAD_LOST), "It can't be run again: its payload is lost."),
        (facts(failed("KeyError", "x")), "can't be told now"),
        (facts(failed("KeyError", "x"), closed=Closed("retried", "a", NOON, "j2")), "leads to job j2"),
        (facts(job(JobState.QUEUED)), "Only what failed is run again."),
        (facts(job(JobState.SUCCEEDED)), "enqueue it anew"),
    ],
)
def test_what_a_rerun_would_do_is_told(told: JobFacts, rerun: str) -> None:
    assert rerun in explain(told).rerun


def test_each_attempt_is_told_in_its_words() -> None:
    unseen = replace(attempt(AttemptOutcome.LOST, 2, worker=None), started_ms=None, finished_ms=None)

    told = explain(facts(job(JobState.RETRYING, RETRIED, unseen, attempt(AttemptOutcome.HANDED_BACK, 2)))).attempts

    first, second, third = told
    assert first.startswith("Try 1 of 4, 2026-03-05 11:51:00 UTC on dairy:7: ended after 1.5 s with ProviderNotDone: ")
    assert first.endswith("(503): busy, to be tried again.")
    assert second == "Try 2 of 4: the worker died or fell silent, at the cost of no try."
    assert "was handed back after 1.5 s by a worker that was told to stop" in third


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (0.25, "250 ms"),
        (9.96, "10 s"),
        (12, "12 s"),
        (60, "1 min"),
        (303, "5 min 3 s"),
        (12_000, "3 h 20 min"),
        (86_400, "1 d"),
    ],
)
def test_spans_are_told_in_two_units(seconds: float, told: str) -> None:
    assert span(timedelta(seconds=seconds)) == told
