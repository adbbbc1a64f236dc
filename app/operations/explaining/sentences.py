"""The explanation itself: from facts to sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.jobs.effects import EffectState
from app.jobs.lookup import JobState
from app.jobs.memory import Attempt, AttemptOutcome
from app.jobs.queues import RECORDED_ELSEWHERE
from app.jobs.result import NOT_KEPT
from app.letters.letter import LeftOut, Rerun
from app.operations.explaining import waiting
from app.operations.explaining.causes import why_failed, words
from app.operations.explaining.facts import JobFacts
from app.operations.explaining.wording import at, count, span, when


@dataclass(frozen=True, slots=True)
class Explanation:
    """Sentences about one job: `origin` is why there is one, `because` why it stands where it stands, `next` what comes
    next and when, `rerun` what running it again would do. `attempts` are told one by one."""

    origin: str
    attempts: Sequence[str]
    because: str
    next: str
    rerun: str


def explain(facts: JobFacts) -> Explanation:
    """What there is to tell of the job at `facts.now`."""
    return Explanation(
        origin=_origin(facts),
        attempts=[_attempt(attempt, facts) for attempt in facts.job.attempts],
        because=" ".join(
            [_because(facts), *(f"{server} can't be asked now: this may be out of date." for server in facts.away)]
        ),
        next=_next(facts),
        rerun=_rerun(facts),
    )


def _origin(facts: JobFacts) -> str:
    job, enqueued = facts.job, at(facts.job.enqueued_at)
    if job.retry_of is not None:
        by = f" {facts.replaced.by} ran that again at {at(facts.replaced.at)}." if facts.replaced else ""
        return f"It runs again what job {job.retry_of} failed to do.{by}"
    if facts.slot is not None:
        if facts.slot.is_by_hand:
            return f"{facts.enqueued_by or 'Somebody'} ran the schedule {facts.slot.schedule} by hand at {enqueued}."
        return f"The schedule {facts.slot.schedule} started it for its slot of {at(facts.slot.slot)}."
    if facts.row is not None or job.id.startswith(RECORDED_ELSEWHERE):
        key = f" under the key {facts.row.key}" if facts.row is not None and facts.row.key is not None else ""
        return f"A transaction in PostgreSQL wrote it into the outbox{key} at {enqueued}."
    if facts.enqueued_by is not None:
        return f"{facts.enqueued_by} enqueued it by hand at {enqueued}."
    return f"It was put straight on its queue at {enqueued}, by a program."


def _attempt(attempt: Attempt, facts: JobFacts) -> str:
    of = "" if facts.job.max_tries is None else f" of {facts.job.max_tries}"
    return f"Try {attempt.job_try}{of}{_time_of(attempt)}: {_how_it_ended(attempt)}."


def _time_of(attempt: Attempt) -> str:
    if attempt.started_ms is None:
        return ""
    started = datetime.fromtimestamp(attempt.started_ms / 1000, UTC)
    on = f" on {attempt.worker}" if attempt.worker else ""
    return f", {at(started)}{on}"


def _how_it_ended(attempt: Attempt) -> str:
    took = ""
    if attempt.started_ms is not None and attempt.finished_ms is not None:
        took = f" after {span(timedelta(milliseconds=attempt.finished_ms - attempt.started_ms))}"
    said = f" with {words(attempt.error)}" if attempt.error is not None else ""
    match attempt.outcome:
        case AttemptOutcome.SUCCEEDED:
            return f"succeeded{took}"
        case AttemptOutcome.RETRIED:
            return f"ended{took}{said}, to be tried again"
        case AttemptOutcome.PUT_OFF:
            return f"was put off{took}{said}, at the cost of no try"
        case AttemptOutcome.HANDED_BACK:
            return f"was handed back{took} by a worker that was told to stop, at the cost of no try"
        case AttemptOutcome.LOST:
            return "the worker died or fell silent, at the cost of no try"
        case AttemptOutcome.FAILED:
            return f"failed{took}{said}"
        case AttemptOutcome.CANCELLED:
            return f"was aborted{took}"


def _because(facts: JobFacts) -> str:
    job = facts.job
    if facts.is_lost:
        return f"It was {job.state} when Redis lost it, as when that is emptied."
    match job.state:
        case JobState.FAILED:
            return why_failed(facts)
        case JobState.SUCCEEDED:
            return _succeeded(facts)
        case JobState.CANCELLED:
            by = f" by {facts.ended_by}" if facts.ended_by is not None else ""
            if any(attempt.outcome is AttemptOutcome.CANCELLED for attempt in job.attempts):
                return f"It was aborted because {facts.ended_by or 'somebody'} asked for that."
            return f"It was discarded{by} while it waited: it will not run."
        case JobState.RUNNING:
            return _running(facts)
        case JobState.QUEUED | JobState.SCHEDULED | JobState.RETRYING:
            return waiting.why(facts)


def _succeeded(facts: JobFacts) -> str:
    job = facts.job
    last = job.attempts[-1].job_try if job.attempts else job.tries
    told = "It succeeded at its first try." if last <= 1 else f"It succeeded at try {last}."
    if isinstance(job.result, str) and job.result.startswith(NOT_KEPT):
        reason = job.result.removeprefix(NOT_KEPT).removesuffix(">")
        told += f" What it returned could not be kept: {reason}."
    return told


def _running(facts: JobFacts) -> str:
    since = f" since {when(facts.started_at, facts.now)}" if facts.started_at is not None else ""
    if facts.runner is not None:
        told = f"It is running on {facts.runner.id}{since}."
    else:
        told = (
            f"It is running{since}, but no living worker says so: if its worker is dead, another starts it again when "
            "its lease has run out."
        )
    if facts.job.progress is not None:
        progress = facts.job.progress
        of = "" if progress.total is None else f" of {progress.total}"
        told += f" It says that it is at {progress.done}{of}{f' ({progress.message})' if progress.message else ''}."
    return told


def _next(facts: JobFacts) -> str:
    if facts.is_lost:
        if facts.row is not None:
            return "A worker enqueues it again from the outbox, within a minute or two."
        return "Nothing: it was put straight on its queue, and what it was to do is gone. Enqueue it anew."
    match facts.job.state:
        case JobState.FAILED:
            return _after_failure(facts)
        case JobState.SUCCEEDED | JobState.CANCELLED:
            return "Nothing: it has ended."
        case JobState.RUNNING:
            return _while_running(facts)
        case JobState.QUEUED | JobState.SCHEDULED | JobState.RETRYING:
            return waiting.what_next(facts)


def _after_failure(facts: JobFacts) -> str:
    job, closed, successor = facts.job, facts.closed, facts.successor
    if closed is None:
        return (
            f"Nothing by itself: it is kept until somebody runs it again (indostar retry {job.id}) "
            f"or discards it (indostar discard {job.id})."
        )
    if closed.action == "discarded":
        return f"Nothing: {closed.by} discarded it at {at(closed.at)}, and its payload is gone."
    told = f"{closed.by} ran it again at {at(closed.at)} as job {closed.retried_as}"
    return f"{told}, which is {successor.state}." if successor and successor.state else f"{told}."


def _while_running(facts: JobFacts) -> str:
    if facts.abort_asked_at is not None:
        return f"Somebody asked at {at(facts.abort_asked_at)} for it to be aborted: its worker ends it in a moment."
    if facts.task is None or facts.started_at is None:
        return "It ends by itself, or at its time limit."
    soft, hard = facts.started_at + facts.task.soft_time_limit, facts.started_at + facts.task.time_limit
    left = "" if facts.job.max_tries is None else f" If it fails, {_tries_left(facts.job.max_tries - facts.job.tries)}."
    return f"It is asked to end at {when(soft, facts.now)}, and ended at {at(hard)}.{left}"


def _tries_left(number: int) -> str:
    return "that was its last try" if number <= 0 else f"it may be tried {count(number, 'more time')}"


def _rerun(facts: JobFacts) -> str:
    job, rerun = facts.job, facts.rerun
    if job.state is not JobState.FAILED:
        has_ended = job.state in (JobState.SUCCEEDED, JobState.CANCELLED)
        return f"Only what failed is run again{': to have it done anew, enqueue it anew' if has_ended else ''}."
    if facts.closed is not None and facts.closed.action == "retried":
        return f"It runs again once only: asking for it again leads to job {facts.closed.retried_as}."
    if rerun is None:
        return "What running it again would do can't be told now."
    if rerun.left_out is not None:
        return _why_not(rerun.left_out)
    return _what_it_would_do(rerun)


def _why_not(reason: LeftOut) -> str:
    return f"It can't be run again: {reason}."


def _what_it_would_do(rerun: Rerun) -> str:
    if not rerun.effects:
        return "Running it again would do all of it once more: nothing of what it has done is on record."
    states = {
        state: [f"{each.verb} {each.what}" for each in rerun.effects if each.state is state] for state in EffectState
    }
    told = []
    if states[EffectState.OPEN]:
        told.append(f"Running it again would {' and '.join(states[EffectState.OPEN])}.")
    if states[EffectState.UNKNOWN]:
        told.append(
            f"Nobody knows whether it did {' and '.join(states[EffectState.UNKNOWN])}: "
            "that is asked where one can, and may else happen twice."
        )
    if states[EffectState.DONE]:
        done = " and ".join(states[EffectState.DONE])
        before = "" if told else "Running it again would do nothing. "
        told.append(f"{before}Done before, and not done again unless --resend asks for it: {done}.")
    return " ".join(told)
