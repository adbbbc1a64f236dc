"""Why a job failed, by what its error means."""

from collections.abc import Iterator

from app.errors import NotDone, OutcomeUnknown, Refused, Unavailable
from app.jobs.memory import AttemptOutcome
from app.jobs.retry import PUT_OFF
from app.jobs.serializer import ErrorRecord
from app.operations.explaining.facts import JobFacts
from app.operations.explaining.wording import at, count, span


def why_failed(facts: JobFacts) -> str:
    """The sentence about the cause of a job that ended in failure."""
    error = facts.job.error
    if error is None:
        return "It failed; with which error is not on record."
    return _of_the_job_itself(facts, error) or _of_what_it_needs(facts, error) or _of_the_task(facts, error)


def words(error: ErrorRecord) -> str:
    """An error as it is quoted within a sentence."""
    message = " ".join(error.message.split()).rstrip(".")
    return f"{error.type}: {message}" if message else error.type


def is_a(kind: type[Exception], name: str) -> bool:
    """Whether errors of that name are of this kind, among the classes that this process knows."""
    return any(known.__name__ == name for known in _family(kind))


def _family(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for heir in kind.__subclasses__():
        yield from _family(heir)


def _of_the_job_itself(facts: JobFacts, error: ErrorRecord) -> str | None:
    """What the worker found, whatever the task."""
    match error.type:
        case "WorkerLost":
            return f"It failed because {error.message}: it is probably what kills them."
        case "JobExpired":
            until = "" if facts.expires_at is None else f" at {at(facts.expires_at)}"
            return f"It failed because it expired{until} before a worker took it up: it was not to start later."
        case "TimeLimitExceeded":
            limit = "" if facts.task is None else f" of {span(facts.task.time_limit)}"
            return f"It failed because it still ran at its time limit{limit} and was ended there."
        case "SoftTimeLimitExceeded":
            limit = "" if facts.task is None else f" of {span(facts.task.soft_time_limit)}"
            return f"It failed because it ran into its soft time limit{limit} and left its work undone then."
        case "UnknownTask":
            return f"It failed because {error.message} in the release that the worker runs. Nothing was run."
        case "UnreadablePayload":
            return f"It failed because {error.message}. Nothing was run."
        case "WrongArguments" | "SecretArguments":
            return f"It failed because of what was enqueued: {error.message}. Nothing was run."
        case _:
            return None


def _of_what_it_needs(facts: JobFacts, error: ErrorRecord) -> str | None:
    """What the other side said, or that there was none."""
    said = words(error)
    if is_a(OutcomeUnknown, error.type):
        return (
            f"It failed because nobody can tell whether it happened ({said}). "
            "It is not simply repeated: ask the other side first."
        )
    if is_a(Refused, error.type):
        return f"It failed because it was refused ({said}): the same would be refused again."
    if is_a(Unavailable, error.type):
        times = sum(attempt.outcome is AttemptOutcome.PUT_OFF for attempt in facts.job.attempts)
        return (
            f"It failed because what it needs could not be had ({said}): it was put off {count(times, 'time')} "
            f"or more, and that goes on for {span(PUT_OFF.patience)} at most."
        )
    return None


def _of_the_task(facts: JobFacts, error: ErrorRecord) -> str:
    job, said = facts.job, words(error)
    if job.max_tries is not None and job.tries < job.max_tries and not is_a(NotDone, error.type):
        return f"It failed with {said}, and was not tried again."
    tries = "its only try" if job.tries == 1 else f"each of its {job.tries} tries"
    fault = "" if is_a(NotDone, error.type) else ", a fault of the program and not of the other side"
    return f"It failed because {tries} did, the last one with {said}{fault}."
