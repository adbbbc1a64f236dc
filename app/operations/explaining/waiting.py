"""Why a job waits, and what it waits for."""

from app.jobs.lookup import JobState
from app.jobs.memory import Attempt, AttemptOutcome
from app.jobs.retry import PUT_OFF
from app.operations.explaining.causes import words
from app.operations.explaining.facts import JobFacts
from app.operations.explaining.wording import at, count, when


def why(facts: JobFacts) -> str:
    """The sentence about what it waits for, and what else would hold it up."""
    if not _is_due(facts):
        return " ".join(filter(None, [_for_its_time(facts), _but(facts)]))
    return " ".join(filter(None, [_after_its_last_attempt(facts), _though_due(facts)]))


def what_next(facts: JobFacts) -> str:
    job = facts.job
    if facts.abort_asked_at is not None:
        return f"Somebody asked at {at(facts.abort_asked_at)} for it to be aborted: a worker ends it in a moment."
    number = _next_try(facts)
    then = " at once" if _is_due(facts) else f" at {when(job.run_at, facts.now)}" if job.run_at else ""
    if hindrance := _hindrance(facts):
        told = f"{number} starts when {hindrance}"
        told += f", and not before {at(job.run_at)}." if job.run_at is not None and not _is_due(facts) else "."
    else:
        told = f"{number} starts{then}."
    if facts.put_off_since is not None:
        told += f" Being put off costs no try, and goes on until {at(facts.put_off_since + PUT_OFF.patience)} at most."
    if facts.expires_at is not None:
        told += f" It is not started after {at(facts.expires_at)}."
    return told


def _next_try(facts: JobFacts) -> str:
    of = "" if facts.job.max_tries is None else f" of {facts.job.max_tries}"
    return f"Try {facts.job.tries + 1}{of}"


def _is_due(facts: JobFacts) -> bool:
    return facts.job.run_at is None or facts.job.run_at <= facts.now


def _last(facts: JobFacts) -> Attempt | None:
    return facts.job.attempts[-1] if facts.job.attempts else None


def _for_its_time(facts: JobFacts) -> str:
    last = _last(facts)
    if facts.job.state is JobState.SCHEDULED or last is None:
        place = ", in the outbox until then" if _is_in_outbox(facts) else ""
        return f"It waits for its time{place}: it was enqueued for later."
    return _after_its_last_attempt(facts)


def _after_its_last_attempt(facts: JobFacts) -> str:
    last = _last(facts)
    if last is None:
        return ""
    said = f" ({words(last.error)})" if last.error is not None else ""
    match last.outcome:
        case AttemptOutcome.PUT_OFF:
            return f"It is put off because what it needs can't be had now{said}."
        case AttemptOutcome.RETRIED:
            return f"It waits to be tried again because try {last.job_try} failed{said}."
        case AttemptOutcome.HANDED_BACK:
            return "It was handed back because its worker was told to stop."
        case AttemptOutcome.LOST:
            return "It is to run again because its worker died or fell silent."
        case _:
            return ""


def _though_due(facts: JobFacts) -> str:
    """What keeps a job that is due from being started."""
    if facts.task is None:
        return f"No task is called {facts.job.task} here: it will fail as soon as a worker takes it up."
    if held := _but(facts):
        return held
    state = facts.queue
    if state is None:
        return "Whether anything holds it up can't be told."
    slots = sum(worker.queues.get(facts.job.queue, 0) for worker in facts.workers)
    if slots and state.running >= slots:
        return (
            f"It waits because all {count(slots, 'slot')} of the queue {state.queue} are taken; "
            f"{count(state.waiting, 'job')} of that queue wait for one."
        )
    return "Nothing holds it up: a worker takes it up in a moment."


def _but(facts: JobFacts) -> str:
    """What holds it up apart from its time."""
    name = facts.job.queue
    told = []
    if _is_in_outbox(facts) and _is_due(facts):
        told.append("It waits in the outbox because no worker has handed it to Redis yet.")
    if facts.queue is not None and facts.queue.is_paused:
        told.append(f"It waits because the queue {name} is paused: no worker takes jobs from it.")
    if facts.limit is not None:
        told.append(f"It waits in line because the limit {facts.limit}, which all workers share, is reached.")
    if facts.queue is not None and not facts.workers:
        told.append(f"It waits because no worker that is alive serves the queue {name}.")
    elif facts.workers and all(worker.is_draining for worker in facts.workers):
        told.append(f"It waits because every worker of the queue {name} is ending.")
    return " ".join(told)


def _hindrance(facts: JobFacts) -> str:
    name = facts.job.queue
    told = []
    if facts.queue is not None and facts.queue.is_paused:
        told.append(f"the queue is resumed (indostar resume {name})")
    if facts.queue is not None and (not facts.workers or all(worker.is_draining for worker in facts.workers)):
        told.append(f"a worker serves the queue (indostar worker --queues {name})")
    if facts.limit is not None:
        told.append("its turn has come")
    return " and ".join(told)


def _is_in_outbox(facts: JobFacts) -> bool:
    return facts.row is not None and not facts.row.is_relayed
