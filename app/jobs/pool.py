"""Enqueueing: an arq pool that knows the tasks, their arguments and their queues."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from arq.connections import ArqRedis
from arq.jobs import Job
from arq.utils import timestamp_ms, to_ms, to_unix_ms
from redis.asyncio import ConnectionPool

from app.jobs.failures import WrongArguments
from app.jobs.payload import Payload
from app.jobs.queues import PAYLOAD, RESULT, queue_by_key
from app.jobs.serializer import deserialize, serialize
from app.jobs.store import script
from app.jobs.task import TaskRegistry

# The largest mail that is accepted, twice over for its escapes in JSON; what is larger belongs somewhere else.
MAX_PAYLOAD_BYTES = 8 * 1024 * 1024


class JobPool(ArqRedis):
    """An `arq.ArqRedis` that refuses what no worker could run, and puts each task on its own queue."""

    def __init__(self, connections: ConnectionPool, tasks: TaskRegistry) -> None:
        super().__init__(connections, job_serializer=serialize, job_deserializer=deserialize)
        # The connections are made for this pool alone; redis-py assumes that they are shared.
        self.auto_close_connection_pool = True
        self.tasks = tasks
        self._enqueue = script(self, "enqueue")

    @classmethod
    def from_dsn(cls, url: str, tasks: TaskRegistry, *, max_connections: int | None = None) -> "JobPool":
        """A pool on the server at `url`; connections are made when they are first needed."""
        options: Mapping[str, Any] = {} if max_connections is None else {"max_connections": max_connections}
        return cls(ConnectionPool.from_url(url, socket_connect_timeout=5, **options), tasks)

    async def enqueue_job(
        self,
        function: str,
        *args: Any,
        _job_id: str | None = None,
        _queue_name: str | None = None,
        _defer_until: datetime | None = None,
        _defer_by: int | float | timedelta | None = None,
        _expires: int | float | timedelta | None = None,
        _job_try: int | None = None,
        **kwargs: Any,
    ) -> Job | None:
        """The job, or None where `_job_id` is taken: arq's options, with arq's meaning.

        Raises UnknownTask, WrongArguments or UnknownQueue before anything is queued.
        """
        if _defer_until and _defer_by:
            raise ValueError("_defer_until and _defer_by exclude each other")
        task = self.tasks[function]
        arguments = task.arguments.payload(args, kwargs)
        queue = task.queue if _queue_name is None else queue_by_key(_queue_name)

        now_ms = timestamp_ms()
        due_ms: int | None = None
        if _defer_until is not None:
            due_ms = to_unix_ms(_defer_until)
        elif _defer_by:
            due_ms = now_ms + (to_ms(_defer_by) or 0)
        expires_ms = to_ms(_expires)
        payload = Payload(
            task=task.name,
            enqueued_ms=now_ms,
            kwargs=arguments,
            first_try=_job_try,
            queue=None if queue is task.queue else queue.key,
            expires_ms=None if expires_ms is None else now_ms + expires_ms,
        )

        raw = payload.to_bytes()
        if len(raw) > MAX_PAYLOAD_BYTES:
            raise WrongArguments(
                task.name, [("", f"they have {len(raw)} bytes; at most {MAX_PAYLOAD_BYTES} fit a job")]
            )

        job_id = _job_id or uuid4().hex
        keys = [PAYLOAD + job_id, RESULT + job_id, queue.key]
        due = "" if due_ms is None else due_ms
        enqueued = await self._enqueue(keys=keys, args=[job_id, raw, due])
        if not enqueued:
            return None
        return Job(job_id, redis=self, _queue_name=queue.key, _deserializer=deserialize)
