"""What makes a message happen once: its row in `tasks.messages`, written before and after it is sent."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database, DatabaseUnavailable, is_passing
from app.db.group_commit import GroupCommit
from app.db.messages import Channel, MessageStatus
from app.notify.segments import SmsSize

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message about to be sent by job `job_id`; `recipient` is masked, `template` None for free text.

    `size` is an SMS's. `attempt` is a word of its own for each attempt to send it, and tells whose row it is.
    """

    root_job_id: str
    channel: Channel
    job_id: str
    attempt: str
    template: str | None
    recipient: str
    provider: str
    size: SmsSize | None = None


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


# Each statement below is a transaction of its own. Whoever holds a row for long, as by hand in psql, must not hold up
# everybody's mail; a subquery sets that, because a statement before would cost another two round trips.
_PATIENCE = "(SELECT set_config('lock_timeout', '3s', true)) AS patience"
_NEW = f"""
    unnest(CAST(:roots AS text[]), CAST(:channels AS text[]), CAST(:jobs AS text[]), CAST(:attempts AS text[]),
           CAST(:templates AS text[]), CAST(:recipients AS text[]), CAST(:providers AS text[]),
           CAST(:encodings AS text[]), CAST(:segments AS smallint[]))
    AS new (root_job_id, channel, job_id, attempt, template, recipient, provider, encoding, segments), {_PATIENCE}
"""
# DO NOTHING also waits for a row that another transaction is inserting: two workers never both begin.
_BEGIN = text(f"""
    INSERT INTO tasks.messages
        (root_job_id, channel, job_id, attempt, template, recipient, provider, encoding, segments,
         status, tries, updated_at)
    SELECT new.*, 'sending', 1, now() FROM {_NEW}
    ORDER BY root_job_id, channel
    ON CONFLICT (root_job_id, channel) DO NOTHING
    RETURNING attempt
""")  # noqa: S608 -- constants
_EARLIER = text("""
    SELECT root_job_id, channel, job_id, attempt, status, provider, provider_message_id, error,
           now() - created_at AS age, now() - updated_at AS unchanged_for
    FROM tasks.messages
    JOIN unnest(CAST(:roots AS text[]), CAST(:channels AS text[])) AS known (root_job_id, channel)
        USING (root_job_id, channel)
""")
# Whoever resumed it meanwhile put an attempt of its own there.
_RESUME = text(f"""
    UPDATE tasks.messages AS message
    SET status = 'sending', tries = message.tries + (message.attempt <> again.attempt)::int, job_id = again.job_id,
        attempt = again.attempt, provider = again.provider, encoding = again.encoding, segments = again.segments,
        error = NULL, updated_at = now()
    FROM unnest(CAST(:roots AS text[]), CAST(:channels AS text[]), CAST(:jobs AS text[]), CAST(:attempts AS text[]),
                CAST(:providers AS text[]), CAST(:encodings AS text[]), CAST(:segments AS smallint[]),
                CAST(:earlier AS text[]))
         AS again (root_job_id, channel, job_id, attempt, provider, encoding, segments, earlier), {_PATIENCE}
    WHERE message.root_job_id = again.root_job_id AND message.channel = again.channel
        AND message.attempt IN (again.earlier, again.attempt)
    RETURNING message.attempt
""")  # noqa: S608
# Only the attempt whose row it is may say how it ended; but that a message was sent is true whoever says it.
_END = text(f"""
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
         AS ended (root_job_id, channel, attempt, status, provider_message_id, error, twice), {_PATIENCE}
    WHERE message.root_job_id = ended.root_job_id AND message.channel = ended.channel
        AND (ended.status = 'sent' OR message.attempt = ended.attempt AND message.status <> 'sent')
""")  # noqa: S608


class MessageLedger:
    """Reads and writes `tasks.messages`, many messages to a statement.

    What has been started is written whatever becomes of the job; `drained()` waits for it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        # All that is written here can be written twice: an answer that was lost may have been one.
        self._find = GroupCommit(self._read_earlier, tries=2, is_passing=_is_passing)
        self._begin = GroupCommit(self._write_begins, tries=2, is_passing=_is_passing)
        self._resume = GroupCommit(self._write_resumptions, tries=2, is_passing=_is_passing)
        self._end = GroupCommit(self._write_ends, tries=None, is_passing=_is_passing)
        self._undoing: set[asyncio.Task[None]] = set()

    async def find(self, message: NewMessage) -> EarlierMessage | None:
        """What became of this message before; None when nobody began it. Raises DatabaseUnavailable."""
        return await self._find.submit(message)

    async def begin(self, message: NewMessage) -> EarlierMessage | None:
        """None when nobody began this message before: it is now on record as being sent by this attempt.

        Otherwise what became of it, and nothing is changed. Raises DatabaseUnavailable. Cancelled, it leaves nothing
        behind that looks as if the message had been sent.
        """
        return await self._undone_if_cancelled(message, self._begin.submit(message))

    async def resume(self, message: NewMessage, earlier: EarlierMessage) -> bool:
        """Puts it on record as being sent again; False when someone else did so meanwhile. Cancelled as `begin`."""
        return await self._undone_if_cancelled(message, self._resume.submit((message, earlier.attempt)))

    async def end(self, end: MessageEnd) -> None:
        """Records how it ended, however long PostgreSQL takes to come back: the provider has the message."""
        await asyncio.shield(self._end.submit(end))

    def end_soon(self, end: MessageEnd) -> None:
        """The same without waiting for it, for whoever is being cancelled."""
        # Nobody hears of its failure; asyncio would complain about that.
        self._end.submit(end).add_done_callback(lambda done: done.cancelled() or done.exception())

    async def drained(self) -> None:
        """Returns when everything that was started is written."""
        while self._undoing:
            await asyncio.wait(self._undoing)
        await self._end.drained()

    async def _undone_if_cancelled(self, message: NewMessage, writing: "asyncio.Future[T]") -> T:
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            undoing = asyncio.create_task(self._undo(writing, message), name="message undone")
            self._undoing.add(undoing)
            undoing.add_done_callback(self._undoing.discard)
            raise

    async def _undo(self, writing: "asyncio.Future[Any]", message: NewMessage) -> None:
        await asyncio.wait([writing])
        self.end_soon(MessageEnd(message, "failed", error="cancelled before it was sent"))

    async def _read_earlier(self, messages: Sequence[NewMessage]) -> Sequence[EarlierMessage | None]:
        async with self._database.autocommit() as connection:
            earlier = await _earlier(connection, messages)
        return [earlier.get((message.root_job_id, message.channel)) for message in messages]

    async def _write_begins(self, messages: Sequence[NewMessage]) -> Sequence[EarlierMessage | None]:
        async with self._database.autocommit() as connection:
            begun = {row.attempt for row in await connection.execute(_BEGIN, _columns(messages))}
            known = [message for message in messages if message.attempt not in begun]
            earlier = await _earlier(connection, known) if known else {}
        # A row of this very attempt: the answer to its first writing was lost.
        found = [earlier.get((message.root_job_id, message.channel)) for message in messages]
        return [
            None if message.attempt in begun or (row and row.attempt == message.attempt) else row
            for message, row in zip(messages, found, strict=True)
        ]

    async def _write_resumptions(self, resumptions: Sequence[tuple[NewMessage, str]]) -> Sequence[bool]:
        messages = [message for message, _ in resumptions]
        parameters = {**_attempts(messages), "earlier": [earlier for _, earlier in resumptions]}
        async with self._database.autocommit() as connection:
            resumed = {row.attempt for row in await connection.execute(_RESUME, parameters)}
        return [message.attempt in resumed for message in messages]

    async def _write_ends(self, ends: Sequence[MessageEnd]) -> Sequence[None]:
        parameters = {
            **_keys([end.message for end in ends]),
            "attempts": [end.message.attempt for end in ends],
            "statuses": [end.status for end in ends],
            "ids": [end.provider_message_id for end in ends],
            "errors": [end.error for end in ends],
            "twice": [end.twice for end in ends],
        }
        async with self._database.autocommit() as connection:
            await connection.execute(_END, parameters)
        return [None] * len(ends)


def _is_passing(error: Exception) -> bool:
    return isinstance(error, DatabaseUnavailable) or (isinstance(error, DBAPIError) and is_passing(error))


async def _earlier(
    connection: AsyncConnection, messages: Sequence[NewMessage]
) -> dict[tuple[str, str], EarlierMessage]:
    """What became of the messages before, by root job and channel."""
    earlier: dict[tuple[str, str], EarlierMessage] = {}
    for row in (await connection.execute(_EARLIER, _keys(messages))).mappings():
        fields = dict(row)
        key = (fields.pop("root_job_id"), fields.pop("channel"))
        earlier[key] = EarlierMessage(**fields)
    return earlier


def _keys(messages: Sequence[NewMessage]) -> dict[str, list[Any]]:
    return {
        "roots": [message.root_job_id for message in messages],
        "channels": [message.channel for message in messages],
    }


def _attempts(messages: Sequence[NewMessage]) -> dict[str, list[Any]]:
    return {
        **_keys(messages),
        "jobs": [message.job_id for message in messages],
        "attempts": [message.attempt for message in messages],
        "providers": [message.provider for message in messages],
        "encodings": [message.size and message.size.encoding for message in messages],
        "segments": [message.size and message.size.segments for message in messages],
    }


def _columns(messages: Sequence[NewMessage]) -> dict[str, list[Any]]:
    return {
        **_attempts(messages),
        "templates": [message.template for message in messages],
        "recipients": [message.recipient for message in messages],
    }
