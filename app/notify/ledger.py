"""What makes a message happen once: its row in `tasks.messages`, written before and after it is sent."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

import structlog
from sqlalchemy import TextClause, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.engine import Database, DatabaseUnavailable, is_passing
from app.db.group_commit import GroupCommit
from app.db.messages import Channel, MessageStatus

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

# How long to wait between attempts to write what must be written (seconds).
FIRST_WAIT = 0.1
LONGEST_WAIT = 5.0


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message about to be sent by job `job_id`; `recipient` is masked, `template` None for free text.

    `attempt` is a word of its own for each attempt to send it, and tells whose row it is.
    """

    root_job_id: str
    channel: Channel
    job_id: str
    attempt: str
    template: str | None
    recipient: str
    provider: str


@dataclass(frozen=True, slots=True)
class EarlierMessage:
    """What became of the same message before: `age` since it was first begun, `unchanged_for` since its last news."""

    job_id: str
    attempt: str
    status: MessageStatus
    age: timedelta
    unchanged_for: timedelta
    provider: str | None
    provider_message_id: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class MessageEnd:
    """How an attempt to send ended; `error` in the provider's own words, `twice` where it may have arrived before."""

    message: NewMessage
    status: Literal["sent", "refused", "failed", "unknown"]
    provider_message_id: str | None = None
    error: str | None = None
    twice: bool = False


_NEW = """
    unnest(CAST(:roots AS text[]), CAST(:channels AS text[]), CAST(:jobs AS text[]), CAST(:attempts AS text[]),
           CAST(:templates AS text[]), CAST(:recipients AS text[]), CAST(:providers AS text[]))
    AS new (root_job_id, channel, job_id, attempt, template, recipient, provider)
"""
# DO NOTHING also waits for a row that another transaction is inserting: two workers never both begin.
_BEGIN = text(f"""
    INSERT INTO tasks.messages
        (root_job_id, channel, job_id, attempt, template, recipient, provider, status, tries, updated_at)
    SELECT new.*, 'sending', 1, now() FROM {_NEW}
    ORDER BY root_job_id, channel
    ON CONFLICT (root_job_id, channel) DO NOTHING
    RETURNING attempt
""")  # noqa: S608 -- two constants
_EARLIER = text(f"""
    SELECT message.root_job_id, message.channel, message.job_id, message.attempt, message.status, message.provider,
           message.provider_message_id, message.error,
           now() - message.created_at AS age, now() - message.updated_at AS unchanged_for
    FROM tasks.messages AS message JOIN {_NEW} USING (root_job_id, channel)
""")  # noqa: S608
# Whoever resumed it meanwhile put an attempt of its own there.
_RESUME = text("""
    UPDATE tasks.messages AS message
    SET status = 'sending', tries = message.tries + (message.attempt <> again.attempt)::int, job_id = again.job_id,
        attempt = again.attempt, provider = again.provider, error = NULL, updated_at = now()
    FROM unnest(CAST(:roots AS text[]), CAST(:channels AS text[]), CAST(:jobs AS text[]), CAST(:attempts AS text[]),
                CAST(:providers AS text[]), CAST(:earlier AS text[]))
         AS again (root_job_id, channel, job_id, attempt, provider, earlier)
    WHERE message.root_job_id = again.root_job_id AND message.channel = again.channel
        AND message.attempt IN (again.earlier, again.attempt)
    RETURNING message.attempt
""")
# Only the attempt whose row it is may say how it ended; but that a message was sent is true whoever says it.
_END = text("""
    UPDATE tasks.messages AS message
    SET status = CASE message.status WHEN 'sent' THEN 'sent' ELSE ended.status END,
        provider_message_id = coalesce(message.provider_message_id, ended.provider_message_id),
        error = ended.error,
        sent_at = coalesce(message.sent_at, CASE ended.status WHEN 'sent' THEN now() END),
        possibly_twice = message.possibly_twice OR ended.twice OR ended.status = 'sent' AND (
            message.attempt <> ended.attempt
            OR message.status = 'sent' AND message.provider_message_id IS DISTINCT FROM ended.provider_message_id),
        updated_at = now()
    FROM unnest(CAST(:roots AS text[]), CAST(:channels AS text[]), CAST(:attempts AS text[]),
                CAST(:statuses AS text[]), CAST(:ids AS text[]), CAST(:errors AS text[]), CAST(:twice AS boolean[]))
         AS ended (root_job_id, channel, attempt, status, provider_message_id, error, twice)
    WHERE message.root_job_id = ended.root_job_id AND message.channel = ended.channel
        AND (ended.status = 'sent' OR message.attempt = ended.attempt AND message.status <> 'sent')
""")
# A worker that was stopped in the middle of its transaction must not hold up everybody's mail.
_PATIENCE = text("""
    SELECT set_config('lock_timeout', '3s', true), set_config('idle_in_transaction_session_timeout', '10s', true)
""")


class MessageLedger:
    """Reads and writes `tasks.messages`, many messages to a transaction.

    What has been started is written whatever becomes of the job; `drained()` waits for it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._begin = GroupCommit(self._write_begins)
        self._resume = GroupCommit(self._write_resumptions)
        self._end = GroupCommit(self._write_ends)
        self._background: set[asyncio.Task[Any]] = set()

    async def begin(self, message: NewMessage) -> EarlierMessage | None:
        """None when nobody began this message before: it is now on record as being sent by this attempt.

        Otherwise what became of it, and nothing is changed. Raises DatabaseUnavailable. Cancelled, it leaves nothing
        behind that looks as if the message had been sent.
        """
        return await self._undone_if_cancelled(message, _insistently(lambda: self._begin.submit(message), tries=2))

    async def resume(self, message: NewMessage, earlier: EarlierMessage) -> bool:
        """Puts it on record as being sent again; False when someone else did so meanwhile. Cancelled as `begin`."""
        writing = _insistently(lambda: self._resume.submit((message, earlier.attempt)), tries=2)
        return await self._undone_if_cancelled(message, writing)

    async def end(self, end: MessageEnd) -> None:
        """Records how it ended, however long PostgreSQL takes to come back: the provider has the message."""
        await asyncio.shield(self.end_soon(end))

    def end_soon(self, end: MessageEnd) -> asyncio.Task[None]:
        """The same without waiting for it, for whoever is being cancelled."""
        return self._in_background(_insistently(lambda: self._end.submit(end)))

    async def drained(self) -> None:
        """Returns when everything that was started is written."""
        while self._background:
            await asyncio.wait(self._background)

    async def _undone_if_cancelled(self, message: NewMessage, writing: Coroutine[Any, Any, T]) -> T:
        task = self._in_background(writing)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._in_background(self._undo(task, message))
            raise

    async def _undo(self, writing: "asyncio.Task[Any]", message: NewMessage) -> None:
        await asyncio.wait([writing])
        await _insistently(
            lambda: self._end.submit(MessageEnd(message, "failed", error="cancelled before it was sent"))
        )

    def _in_background(self, writing: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.create_task(writing)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        # Whoever waits for it hears of its failure; whoever was cancelled does not want to.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def _write_begins(self, messages: Sequence[NewMessage]) -> Sequence[EarlierMessage | None]:
        async with self._transaction() as session:
            begun = {row.attempt for row in await session.execute(_BEGIN, _columns(messages))}
            known = [message for message in messages if message.attempt not in begun]
            earlier: dict[tuple[str, str], EarlierMessage] = {}
            if known:
                for row in (await session.execute(_EARLIER, _columns(known))).mappings():
                    fields = dict(row)
                    key = (fields.pop("root_job_id"), fields.pop("channel"))
                    earlier[key] = EarlierMessage(**fields)
        # A row of this very attempt: the answer to its first writing was lost.
        found = [earlier.get((message.root_job_id, message.channel)) for message in messages]
        return [
            None if message.attempt in begun or (row and row.attempt == message.attempt) else row
            for message, row in zip(messages, found, strict=True)
        ]

    async def _write_resumptions(self, resumptions: Sequence[tuple[NewMessage, str]]) -> Sequence[bool]:
        columns = _columns([message for message, _ in resumptions])
        parameters = columns | {"earlier": [earlier for _, earlier in resumptions]}
        async with self._transaction() as session:
            rows = await session.execute(_RESUME, _used_by(_RESUME, parameters))
            resumed = {row.attempt for row in rows}
        return [message.attempt in resumed for message, _ in resumptions]

    async def _write_ends(self, ends: Sequence[MessageEnd]) -> Sequence[None]:
        parameters: dict[str, Any] = {
            **_columns([end.message for end in ends]),
            "statuses": [end.status for end in ends],
            "ids": [end.provider_message_id for end in ends],
            "errors": [end.error for end in ends],
            "twice": [end.twice for end in ends],
        }
        async with self._transaction() as session:
            await session.execute(_END, _used_by(_END, parameters))
        return [None] * len(ends)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncSession]:
        async with self._database.session() as session:
            await session.execute(_PATIENCE)
            yield session


async def _insistently(write: Callable[[], Awaitable[T]], *, tries: int | None = None) -> T:
    """What `write()` returns, called again while PostgreSQL can't take it; at most `tries` times.

    All that is written here can be written twice: a connection lost in COMMIT may have written it.
    """
    wait = FIRST_WAIT
    done = 0
    while True:
        try:
            return await write()
        except (DatabaseUnavailable, DBAPIError) as error:
            done += 1
            if done == tries or not (isinstance(error, DatabaseUnavailable) or is_passing(error)):
                raise
            if wait == FIRST_WAIT:
                log.warning("message.record_waits", error=type(error).__name__)
        await asyncio.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT)


def _columns(messages: Sequence[NewMessage]) -> dict[str, Any]:
    return {
        "roots": [message.root_job_id for message in messages],
        "channels": [message.channel for message in messages],
        "jobs": [message.job_id for message in messages],
        "attempts": [message.attempt for message in messages],
        "templates": [message.template for message in messages],
        "recipients": [message.recipient for message in messages],
        "providers": [message.provider for message in messages],
    }


def _used_by(statement: TextClause, parameters: Mapping[str, Any]) -> dict[str, Any]:
    names = statement.compile().params.keys()
    return {name: values for name, values in parameters.items() if name in names}
