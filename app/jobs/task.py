"""Declaring a task once: its queue, retries, limits and schedule beside the function that does it."""

import inspect
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from difflib import get_close_matches
from typing import Any, Concatenate, Generic, ParamSpec, Required, Self, TypedDict, TypeVar, Unpack, cast

from arq.connections import ArqRedis
from arq.cron import CronJob, cron
from arq.jobs import Job
from arq.typing import WorkerCoroutine

from app.jobs.arguments import ArgumentCheck, TaskArguments
from app.jobs.context import Context
from app.jobs.effects import EffectRecord
from app.jobs.failures import UnknownTask
from app.jobs.limits import Limit
from app.jobs.queues import Queue
from app.jobs.retry import DEFAULT_RETRY, RetryPolicy
from app.jobs.schedule import CATCH_UP, Schedule

P = ParamSpec("P")
R = TypeVar("R")
TaskFunction = Callable[Concatenate[Context, P], Awaitable[R]]

# What `outbox.add` takes for itself beside a task's arguments.
RESERVED_ARGUMENTS = frozenset({"key", "not_before"})

SOFT_TIME_LIMIT = timedelta(minutes=25)
TIME_LIMIT = timedelta(minutes=30)


class TaskOptions(TypedDict, total=False):
    """What the decorator takes.

    `schedule` makes an arq `cron(...)` of the function; `catch_up` is how late the latest slot that was missed may
    still start, 24 hours unless it is given. `visible` names the arguments that viewers, logs and search may see;
    `secret` those that may be kept nowhere but in Redis. `check` looks at several arguments together and returns what
    is wrong with them. `effects` knows what its jobs have done that stays done. `max_per_second` and `max_in_flight`
    limit how many of its jobs all workers together start and run at once.
    """

    queue: Required[Queue]
    retry: RetryPolicy
    soft_time_limit: timedelta
    time_limit: timedelta
    schedule: Callable[[Callable[..., Any]], CronJob]
    catch_up: timedelta
    visible: Collection[str]
    secret: Collection[str]
    check: ArgumentCheck
    effects: EffectRecord
    max_per_second: float
    max_in_flight: int


class EnqueueOptions(TypedDict, total=False):
    """arq's enqueue options under plain names."""

    job_id: str
    queue: Queue
    defer_until: datetime
    defer_by: timedelta
    expires: timedelta


class Task(Generic[P, R]):
    """A declared task: await it like the function it is, or enqueue it with its arguments checked by mypy."""

    def __init__(self, function: TaskFunction[P, R], **options: Unpack[TaskOptions]) -> None:
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{function!r} is not an async function")
        self.function = function
        self.name: str = function.__name__
        self.__doc__ = function.__doc__
        self.summary = (inspect.getdoc(function) or "").partition("\n")[0]
        self.queue = options["queue"]
        self.retry = options.get("retry", DEFAULT_RETRY)
        self.soft_time_limit = options.get("soft_time_limit", SOFT_TIME_LIMIT)
        self.time_limit = options.get("time_limit", TIME_LIMIT)
        self.arguments = TaskArguments(function, options.get("check"))
        self.effects = options.get("effects")
        self.visible = frozenset(options.get("visible", ()))
        self.secret = frozenset(options.get("secret", ()))
        if unknown := (self.visible | self.secret) - self.arguments.model.model_fields.keys():
            raise TypeError(f"{self.name} has no argument {', '.join(sorted(unknown))} to show or to keep secret")
        if both := self.visible & self.secret:
            raise TypeError(f"{self.name} can't both show {', '.join(sorted(both))} and keep it secret")
        if reserved := RESERVED_ARGUMENTS & self.arguments.model.model_fields.keys():
            raise TypeError(f"{self.name} has an argument {', '.join(sorted(reserved))}: the outbox needs that name")
        self.limit = Limit(f"task:{self.name}", options.get("max_per_second"), options.get("max_in_flight"))
        schedule = options.get("schedule")
        catch_up = options.get("catch_up", CATCH_UP)
        self.schedule = Schedule.declared(schedule(function), catch_up, self.arguments) if schedule else None

    async def __call__(self, context: Context, /, *args: P.args, **kwargs: P.kwargs) -> R:
        run: Callable[..., Awaitable[R]] = self.function
        return await run(context, **self.arguments.validated(args, kwargs))

    async def enqueue(self, pool: ArqRedis, /, *args: P.args, **kwargs: P.kwargs) -> Job | None:
        """The job, or None where `using(job_id=...)` named an id that is taken."""
        return await _enqueue(pool, self.name, {}, args, kwargs)

    def using(self, **options: Unpack[EnqueueOptions]) -> "TaskWithOptions[P, R]":
        """The same task with arq's enqueue options: `await task.using(defer_by=...).enqueue(pool, ...)`."""
        return TaskWithOptions(self, options)

    def daily(self, at: time) -> Self:
        """The same task, run by itself at that time of each day instead of by the schedule it was declared with."""
        twin, function = copy(self), cast("WorkerCoroutine", self.function)
        twin.schedule = Schedule.declared(cron(function, hour=at.hour, minute=at.minute), CATCH_UP, self.arguments)
        return twin

    @property
    def hides_arguments(self) -> bool:
        """Whether there are arguments that viewers may not see, nor words that may repeat them."""
        return not self.visible.issuperset(self.arguments.names)

    def shown(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments as viewers and logs see them: what is not declared visible is masked."""
        return {name: value if name in self.visible else "hidden" for name, value in kwargs.items()}

    def __repr__(self) -> str:
        return f"<task {self.name}>"


@dataclass(frozen=True, slots=True)
class TaskWithOptions(Generic[P, R]):
    """A task and how it is to be enqueued."""

    task: Task[P, R]
    options: EnqueueOptions

    async def enqueue(self, pool: ArqRedis, /, *args: P.args, **kwargs: P.kwargs) -> Job | None:
        """The job, or None where the options' job id is taken."""
        return await _enqueue(pool, self.task.name, self.options, args, kwargs)


async def _enqueue(
    pool: ArqRedis, name: str, options: EnqueueOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Job | None:
    queue = options.get("queue")
    return await pool.enqueue_job(
        name,
        *args,
        _job_id=options.get("job_id"),
        _queue_name=queue.key if queue else None,
        _defer_until=options.get("defer_until"),
        _defer_by=options.get("defer_by"),
        _expires=options.get("expires"),
        **kwargs,
    )


class TaskRegistry:
    """The tasks of an application, by name. `registry.task(...)` is the decorator that declares one."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task[Any, Any]] = {}

    def task(self, **options: Unpack[TaskOptions]) -> Callable[[TaskFunction[P, R]], Task[P, R]]:
        """Declares an async function `(context, ...)` as a task."""

        def declare(function: TaskFunction[P, R]) -> Task[P, R]:
            task = Task(function, **options)
            if task.name in self._tasks:
                raise TypeError(f"two tasks are called {task.name}")
            self._tasks[task.name] = task
            return task

        return declare

    def with_daily(self, times: Mapping[str, time | None]) -> "TaskRegistry":
        """The same tasks; those named run by themselves each day, where a time is given."""
        registry = TaskRegistry()
        for name, task in self._tasks.items():
            at = times.get(name)
            registry._tasks[name] = task if at is None else task.daily(at)
        return registry

    def __getitem__(self, name: str) -> Task[Any, Any]:
        try:
            return self._tasks[name]
        except KeyError:
            raise UnknownTask(name, get_close_matches(name, self._tasks, n=2)) from None

    def __iter__(self) -> Iterator[Task[Any, Any]]:
        return iter(self._tasks.values())

    def __len__(self) -> int:
        return len(self._tasks)
