"""The queues, and the Redis keys of jobs: arq's own names where it has one, so that a stock pool and its jobs work."""

from enum import StrEnum

from arq.constants import (
    abort_jobs_ss,
    default_queue_name,
    in_progress_key_prefix,
    job_key_prefix,
    result_key_prefix,
    retry_key_prefix,
)

from app.jobs.failures import UnknownQueue


class Queue(StrEnum):
    """A queue by the name that operators use; `key` is the sorted set that holds its jobs."""

    DEFAULT = "default"
    NOTIFICATIONS = "notifications"
    SUBSCRIPTIONS = "subscriptions"

    @property
    def key(self) -> str:
        return default_queue_name if self is Queue.DEFAULT else f"{default_queue_name}:{self.value}"


# One key a job.
PAYLOAD = job_key_prefix
IN_PROGRESS = in_progress_key_prefix
TRIES = retry_key_prefix
RESULT = result_key_prefix
# What a job that did not end at its first try remembers.
MEMORY = "indostar:memory:"

# Ids of jobs that are to be aborted, scored by when that was asked (ms).
ABORTS = abort_jobs_ss
# Hashes by job id: the token of the claim that holds it, how often it lost its worker, how far it says it is.
CLAIMS = "indostar:claims"
LOST = "indostar:lost"
PROGRESS = "indostar:progress"
# Ids of jobs that ended in failure and whose payload is kept, scored by when (ms).
FAILED_JOBS = "indostar:failed"
# Jobs with ids like this come from a record elsewhere. When they end, their ids lie in ENDED until that record says so:
# a result expires, and whoever keeps the record may be away for longer. Of those that fail the result stays.
RECORDED_ELSEWHERE = "outbox:"
ENDED = "indostar:ended"
# Ids on a queue that are no text.
UNREADABLE_IDS = "indostar:unreadable-ids"
# Names of the paused queues.
PAUSED = "indostar:paused"
# A random word that only FLUSHALL, or a Redis that lost its data, removes.
EPOCH = "indostar:epoch"
# The stream of everything that happens to jobs.
EVENTS = "indostar:events"
# A random word that whoever reads the stream puts beside it: where it is gone, so is what the stream held.
EVENTS_GENERATION = "indostar:events:generation"
# Is there while somebody has just looked whether the stream is too large.
EVENTS_BOUND = "indostar:events:bound"


_QUEUES = {name: queue for queue in Queue for name in (queue.key, queue.value)}


def queue_by_key(name: str) -> Queue:
    """The queue with that Redis key or plain name."""
    try:
        return _QUEUES[name]
    except KeyError:
        raise UnknownQueue(name, [queue.key for queue in Queue]) from None
