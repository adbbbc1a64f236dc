"""Enqueueing: an arq pool that knows the tasks, their arguments and their queues."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from arq.connections import ArqRedis
from arq.jobs import Job
from arq.utils import timestamp_ms, to_ms, to_unix_ms
from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError

from app.jobs.failures import WrongArguments
from app.jobs.payload import Payload, why_unfit
from app.jobs.queues import ENDED, EVENTS, Queue, queue_by_key
from app.jobs.serializer import deserialize, serialize
from app.jobs.store import MOST_EVENTS, MOST_JOBS_A_SCRIPT
from app.jobs.task import TaskRegistry
from app.jobs.wire import ANSWER_WITHIN, Script, Wire

ENQUEUE = Script("enqueue")
# What enqueue.lua says of a job. The latter may tell of our own first question, whose answer was lost.
ENQUEUED, ID_TAKEN_BY_THE_SAME = 1, 2


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that is checked and ready to be sent to its queue. `due` is as enqueue.lua has it."""

    id: str
    queue: Queue
    payload: bytes
    due: str


class JobPool(ArqRedis):
    """An `arq.ArqRedis` that refuses what no worker could run, and puts each task on its own queue."""

    def __init__(self, connections: ConnectionPool, tasks: TaskRegistry) -> None:
        super().__init__(connections, job_serializer=serialize, job_deserializer=deserialize)
        # The connections are made for this pool alone; redis-py assumes that they are shared.
        self.auto_close_connection_pool = True
        self.tasks = tasks
        self._wire = Wire(connections)

    @classmethod
    def from_dsn(cls, url: str, tasks: TaskRegistry, *, max_connections: int | None = None) -> "JobPool":
        """A pool on the server at `url`; connections are made when they are first needed."""
        options: Mapping[str, Any] = {} if max_connections is None else {"max_connections": max_connections}
        connections = ConnectionPool.from_url(
            url, socket_connect_timeout=5, socket_timeout=ANSWER_WITHIN, socket_keepalive=True, **options
        )
        return cls(connections, tasks)

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
        job = self.new_job(
            function,
            args,
            kwargs,
            job_id=_job_id,
            queue_name=_queue_name,
            defer_until=_defer_until,
            defer_by=_defer_by,
            expires=_expires,
            job_try=_job_try,
        )
        [enqueued] = await self.send([job])
        return self._handle(job) if enqueued else None

    async def enqueue_many(self, function: str, arguments: Iterable[Mapping[str, Any]]) -> list[Job]:
        """A job of the task for each mapping of arguments: all of them are checked before the first is queued.

        Much faster than one by one, and not atomic: where Redis goes away in the middle, some are queued.
        """
        jobs = [self.new_job(function, (), kwargs) for kwargs in arguments]
        await self.send(jobs)
        return [self._handle(job) for job in jobs]

    def new_job(
        self,
        function: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        job_id: str | None = None,
        queue_name: str | None = None,
        defer_until: datetime | None = None,
        defer_by: int | float | timedelta | None = None,
        expires: int | float | timedelta | None = None,
        job_try: int | None = None,
    ) -> NewJob:
        """A job as `enqueue_job` would queue it. Raises what that raises."""
        if defer_until and defer_by:
            raise ValueError("_defer_until and _defer_by exclude each other")
        task = self.tasks[function]
        queue = task.queue if queue_name is None else queue_by_key(queue_name)
        now_ms = timestamp_ms()
        due = ""
        if defer_until is not None:
            # What was due long ago is due; negative scores have a meaning of their own.
            due = str(max(1, to_unix_ms(defer_until)))
        elif defer_by:
            # The server adds it to its own clock.
            due = f"+{max(0, to_ms(defer_by) or 0)}"
        expires_ms = to_ms(expires)
        payload = Payload(
            task=task.name,
            enqueued_ms=now_ms,
            kwargs=task.arguments.payload(args, kwargs),
            first_try=job_try,
            queue=None if queue is task.queue else queue.key,
            expires_ms=None if expires_ms is None else now_ms + expires_ms,
        ).to_bytes()
        if reason := why_unfit(payload):
            raise WrongArguments(task.name, [("", reason)])
        return NewJob(job_id or uuid4().hex, queue, payload, due)

    async def send(self, jobs: Sequence[NewJob]) -> list[bool]:
        """Puts them on their queues; False for each whose id is taken."""
        sent: list[bool] = []
        for start in range(0, len(jobs), MOST_JOBS_A_SCRIPT):
            words: list[Any] = []
            for job in jobs[start : start + MOST_JOBS_A_SCRIPT]:
                words += (job.id, job.payload, job.due, job.queue.key)
            sent += await self._send(words)
        return sent

    async def run_script(self, script: Script, keys: tuple[str, ...], *args: str | bytes | int) -> Any:
        """What a script of ours returns. Raises what Redis raises."""
        return await self._wire.run(script, keys, *args)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await self._wire.aclose()
        await super().aclose(close_connection_pool)

    async def _send(self, words: Sequence[Any]) -> list[bool]:
        try:
            reply = await self._wire.run(ENQUEUE, (EVENTS, ENDED), "", MOST_EVENTS, *words)
        except RedisConnectionError:
            # The connection may have been dropped while nobody used it. Asking again is safe: the script knows the
            # payload if it has it already.
            reply = await self._wire.run(ENQUEUE, (EVENTS, ENDED), "", MOST_EVENTS, *words)
            return [how in {ENQUEUED, ID_TAKEN_BY_THE_SAME} for how in reply]
        return [how == ENQUEUED for how in reply]

    def _handle(self, job: NewJob) -> Job:
        return Job(job.id, redis=self, _queue_name=job.queue.key, _deserializer=deserialize)
