"""Writing a job in the caller's own transaction, so that it exists exactly when that commits."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, ParamSpec, overload

from sqlalchemy import Text, cast, literal, text
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.outbox import OutboxJob
from app.jobs.failures import SecretArguments, WrongArguments
from app.jobs.payload import why_unfit
from app.jobs.queues import RECORDED_ELSEWHERE
from app.jobs.serializer import serialize
from app.jobs.task import Task

P = ParamSpec("P")

_ADD_ALL = text("""
    INSERT INTO tasks.outbox (task, kwargs)
    SELECT CAST(:task AS text), CAST(kwargs AS jsonb) FROM unnest(CAST(:kwargs AS text[])) AS kwargs
""")


@overload
async def add(session: AsyncSession, task: Task[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> str | None: ...
@overload
async def add(
    session: AsyncSession,
    task: Task[..., Any],
    /,
    *args: Any,
    key: str | None,
    not_before: datetime | None = None,
    **kwargs: Any,
) -> str | None: ...
@overload
async def add(
    session: AsyncSession, task: Task[..., Any], /, *args: Any, not_before: datetime | None, **kwargs: Any
) -> str | None: ...
async def add(  # type: ignore[misc]  # P could have a `key` of its own: no task may, see app/jobs/task.py
    session: AsyncSession,
    task: Task[..., Any],
    /,
    *args: Any,
    key: str | None = None,
    not_before: datetime | None = None,
    **kwargs: Any,
) -> str | None:
    """The id of the job that there is once the session's transaction commits; None where `key` is taken.

    A key is taken for as long as its row is kept, which is long after its job has ended; where another transaction
    has written it and not ended yet, this one waits for it. `not_before` needs a time zone. Raises WrongArguments,
    or SecretArguments for a task that has such, before anything is written.
    """
    if not_before is not None and not_before.tzinfo is None:
        raise ValueError("not_before needs a time zone")
    arguments = _checked(task, args, kwargs)
    written = (
        insert(OutboxJob)
        .values(
            task=task.name,
            kwargs=cast(literal(arguments, Text), JSONB),
            key=key,
            not_before=not_before,
        )
        .on_conflict_do_nothing(index_elements=[OutboxJob.key])
        .returning(OutboxJob.id)
    )
    row = await session.scalar(written)
    return None if row is None else f"{RECORDED_ELSEWHERE}{row}"


async def add_all(session: AsyncSession, task: Task[..., Any], arguments: Iterable[Mapping[str, Any]]) -> None:
    """A job for each of these arguments, in one statement and without keys; else as `add`."""
    if rows := [_checked(task, (), kwargs) for kwargs in arguments]:
        await session.execute(_ADD_ALL, {"task": task.name, "kwargs": rows})


def _checked(task: Task[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    if task.secret:
        raise SecretArguments(task.name)
    arguments = serialize(task.arguments.payload(args, kwargs))
    if reason := why_unfit(arguments):
        raise WrongArguments(task.name, [("", reason)])
    return arguments.decode()
