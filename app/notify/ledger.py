"""What makes a message happen once: its row in `tasks.messages`, written before and after it is sent."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import TextClause, text
from sqlalchemy.exc import DBAPIError

from app.db.engine import Database, DatabaseUnavailable
from app.db.group_commit import GroupCommit
from app.db.messages import Channel, MessageStatus

log = structlog.stdlib.get_logger(__name__)

# How long to wait between attempts to record what was sent (seconds).
FIRST_WAIT = 0.1
LONGEST_WAIT = 5.0


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message about to be sent by job `job_id`; `recipient` is masked, `template` None for free text."""

    root_job_id: str
    channel: Channel
    job_id: str
    template: str | None
    recipient: str
    provider: str


@dataclass(frozen=True, slots=True)
class EarlierMessage:
    """What became of the same message before."""

    job_id: str
    status: MessageStatus
    tries: int
    age_seconds: float
    provider: str | None
    provider_message_id: str | None
    possibly_twice: bool
    error: str | None


@dataclass(frozen=True, slots=True)
class Resumption:
    """Sending a message again that `earlier` did not settle."""

    message: NewMessage
    earlier: EarlierMessage
    possibly_twice: bool


@dataclass(frozen=True, slots=True)
class MessageEnd:
    """How an attempt to send ended; `error` in the provider's own words."""

    message: NewMessage
    status: MessageStatus
    provider_message_id: str | None = None
    error: str | None = None


_NEW = """
    unnest(CAST(:roots AS text[]), CAST(:channels AS text[]), CAST(:jobs AS text[]), CAST(:templates AS text[]),
           CAST(:recipients AS text[]), CAST(:providers AS text[]))
    AS new (root_job_id, channel, job_id, template, recipient, provider)
"""
# DO NOTHING also waits for a row that another transaction is inserting: two workers never both begin.
_BEGIN = text(f"""
    INSERT INTO tasks.messages (root_job_id, channel, job_id, template, recipient, provider, status, tries, updated_at)
    SELECT new.*, 'sending', 1, now() FROM {_NEW}
    ORDER BY root_job_id, channel
    ON CONFLICT (root_job_id, channel) DO NOTHING
    RETURNING root_job_id, channel
""")  # noqa: S608 -- two constants
_EARLIER = text(f"""
    SELECT message.root_job_id, message.channel, message.job_id, message.status, message.tries, message.provider,
           message.provider_message_id, message.possibly_twice, message.error,
           CAST(extract(epoch FROM now() - message.created_at) AS float8) AS age_seconds
    FROM tasks.messages AS message JOIN {_NEW} USING (root_job_id, channel)
""")  # noqa: S608
# The number of tries is what a second worker at the same message would have changed.
_RESUME = text("""
    UPDATE tasks.messages AS message
    SET status = 'sending', tries = message.tries + 1, job_id = again.job_id, provider = again.provider,
        possibly_twice = again.possibly_twice, error = NULL, updated_at = now()
    FROM unnest(CAST(:roots AS text[]), CAST(:channels AS text[]), CAST(:jobs AS text[]), CAST(:providers AS text[]),
                CAST(:twice AS boolean[]), CAST(:tries AS integer[]))
         AS again (root_job_id, channel, job_id, provider, possibly_twice, tries)
    WHERE message.root_job_id = again.root_job_id AND message.channel = again.channel AND message.tries = again.tries
    RETURNING message.root_job_id, message.channel
""")
_END = text("""
    UPDATE tasks.messages AS message
    SET status = ended.status, provider_message_id = ended.provider_message_id, error = ended.error,
        sent_at = CASE ended.status WHEN 'sent' THEN now() END, updated_at = now()
    FROM unnest(CAST(:roots AS text[]), CAST(:channels AS text[]), CAST(:statuses AS text[]),
                CAST(:ids AS text[]), CAST(:errors AS text[]))
         AS ended (root_job_id, channel, status, provider_message_id, error)
    WHERE message.root_job_id = ended.root_job_id AND message.channel = ended.channel AND message.status <> 'sent'
""")


class MessageLedger:
    """Reads and writes `tasks.messages`, many messages to a transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._begin = GroupCommit(self._write_begins)
        self._resume = GroupCommit(self._write_resumptions)
        self._end = GroupCommit(self._write_ends)

    async def begin(self, message: NewMessage) -> EarlierMessage | None:
        """None when nobody began this message before: it is now on record as being sent.

        Otherwise what became of it, and nothing is changed. Raises DatabaseUnavailable.
        """
        return await self._begin.submit(message)

    async def resume(self, resumption: Resumption) -> bool:
        """Puts it on record as being sent again; False when someone else did so meanwhile."""
        return await self._resume.submit(resumption)

    async def end(self, end: MessageEnd) -> None:
        """Records how it ended, however long PostgreSQL takes to come back: the provider has the message."""
        wait = FIRST_WAIT
        while True:
            try:
                return await self._end.submit(end)
            except (DatabaseUnavailable, DBAPIError) as error:
                if isinstance(error, DBAPIError) and not error.connection_invalidated:
                    raise
                if wait == FIRST_WAIT:
                    log.warning("message.record_waits", status=end.status, error=type(error).__name__)
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT)

    async def _write_begins(self, messages: Sequence[NewMessage]) -> Sequence[EarlierMessage | None]:
        async with self._database.session() as session:
            begun = await session.execute(_BEGIN, _columns(messages))
            fresh = {(row.root_job_id, row.channel) for row in begun}
            known = [message for message in messages if _key(message) not in fresh]
            earlier: dict[tuple[str, str], EarlierMessage] = {}
            if known:
                for row in (await session.execute(_EARLIER, _columns(known))).mappings():
                    fields = dict(row)
                    key = (fields.pop("root_job_id"), fields.pop("channel"))
                    earlier[key] = EarlierMessage(**fields)
        return [earlier.get(_key(message)) for message in messages]

    async def _write_resumptions(self, resumptions: Sequence[Resumption]) -> Sequence[bool]:
        parameters = {
            **_columns([resumption.message for resumption in resumptions]),
            "twice": [resumption.possibly_twice for resumption in resumptions],
            "tries": [resumption.earlier.tries for resumption in resumptions],
        }
        async with self._database.session() as session:
            rows = await session.execute(_RESUME, _used_by(_RESUME, parameters))
            resumed = {(row.root_job_id, row.channel) for row in rows}
        return [_key(resumption.message) in resumed for resumption in resumptions]

    async def _write_ends(self, ends: Sequence[MessageEnd]) -> Sequence[None]:
        parameters = {
            **_columns([end.message for end in ends]),
            "statuses": [end.status for end in ends],
            "ids": [end.provider_message_id for end in ends],
            "errors": [end.error for end in ends],
        }
        async with self._database.session() as session:
            await session.execute(_END, _used_by(_END, parameters))
        return [None] * len(ends)


def _key(message: NewMessage) -> tuple[str, str]:
    return message.root_job_id, message.channel


def _columns(messages: Sequence[NewMessage]) -> dict[str, list[str | None]]:
    return {
        "roots": [message.root_job_id for message in messages],
        "channels": [message.channel for message in messages],
        "jobs": [message.job_id for message in messages],
        "templates": [message.template for message in messages],
        "recipients": [message.recipient for message in messages],
        "providers": [message.provider for message in messages],
    }


def _used_by(statement: TextClause, parameters: Mapping[str, object]) -> dict[str, object]:
    names = statement.compile().params.keys()
    return {name: values for name, values in parameters.items() if name in names}
