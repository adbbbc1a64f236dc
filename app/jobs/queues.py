"""The queues, and the Redis keys of a job (arq's own names, so that a stock pool and its jobs work)."""

from enum import StrEnum

from arq.constants import (
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


PAYLOAD = job_key_prefix
IN_PROGRESS = in_progress_key_prefix
TRIES = retry_key_prefix
RESULT = result_key_prefix
# Ours: what a job that did not end at its first try remembers, and how often its worker was lost.
MEMORY = "indostar:memory:"
LOST = "indostar:lost:"
# Ids of the jobs that ended in failure and whose payload is kept, scored by when (ms).
FAILED_JOBS = "indostar:failed"


def queue_by_key(name: str) -> Queue:
    """The queue with that Redis key or plain name."""
    for queue in Queue:
        if name in (queue.key, queue.value):
            return queue
    raise UnknownQueue(name, [queue.key for queue in Queue])
