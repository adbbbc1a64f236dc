"""That a provider was left alone and trusted again: in the log, and on record."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.db.engine import Database, DatabaseUnavailable
from app.db.retention import PagedDelete
from app.jobs.breaker_state import BreakerState

log = structlog.stdlib.get_logger(__name__)

# Each process that learns of it may write it. An outage that Redis forgot, as after FLUSHALL, is over.
_RECORD = text("""
    WITH heard AS (
        SELECT CAST(:provider AS text) AS provider, CAST(:opened_at AS timestamptz) AS opened_at,
               CAST(:reason AS text) AS reason, CAST(:closed_at AS timestamptz) AS closed_at,
               CAST(:at AS timestamptz) AS at
    ),
    forgotten AS (
        UPDATE tasks.provider_outages AS outage SET closed_at = heard.at FROM heard
        WHERE outage.provider = heard.provider AND outage.closed_at IS NULL
            AND outage.opened_at < coalesce(heard.opened_at, heard.at)
    )
    INSERT INTO tasks.provider_outages AS outage (provider, opened_at, reason, closed_at)
    SELECT provider, opened_at, reason, closed_at FROM heard WHERE opened_at IS NOT NULL
    ON CONFLICT (provider, opened_at) DO UPDATE SET closed_at = excluded.closed_at
    WHERE outage.closed_at IS NULL AND excluded.closed_at IS NOT NULL
""")

_CLOSE_OTHERS = text("""
    UPDATE tasks.provider_outages SET closed_at = now()
    WHERE closed_at IS NULL AND NOT provider = ANY(CAST(:in_use AS text[]))
""")

OLD_OUTAGES = PagedDelete(
    text("""
        WITH page AS (
            SELECT provider, opened_at, closed_at < :before AS is_over
            FROM tasks.provider_outages
            WHERE (provider, opened_at) > (CAST(:after_provider AS text), CAST(:after_time AS timestamptz))
            ORDER BY provider, opened_at
            LIMIT :most
        ),
        gone AS (
            DELETE FROM tasks.provider_outages AS outage USING page
            WHERE outage.provider = page.provider AND outage.opened_at = page.opened_at AND page.is_over
            RETURNING outage.provider
        )
        SELECT (SELECT count(*) FROM gone) AS deleted, provider AS after_provider, opened_at AS after_time
        FROM page ORDER BY provider DESC, opened_at DESC LIMIT 1
    """),
    {"after_provider": "", "after_time": datetime(1, 1, 2, tzinfo=UTC)},
)


@dataclass(frozen=True, slots=True)
class _Outage:
    """The last one of a provider; times are None where there was none, and where it lasts."""

    opened_at: datetime | None
    closed_at: datetime | None

    @classmethod
    def of(cls, state: BreakerState) -> "_Outage":
        if not state.opened_ms:
            return cls(None, None)
        return cls(_time(state.opened_ms), None if state.is_open else _time(state.closed_ms))


async def close_outages_of_others(database: Database, in_use: Collection[str]) -> None:
    """Ends those of providers that nobody calls any more: nobody would hear that they are over.

    Raises DatabaseUnavailable.
    """
    async with database.autocommit() as connection:
        await connection.execute(_CLOSE_OTHERS, {"in_use": list(in_use)})


class OutageLog:
    """Hears from the breakers of one process. What PostgreSQL did not take is written when it hears from them again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, _Outage] = {}
        self._on_record: dict[str, _Outage] = {}
        self._writing: dict[str, asyncio.Task[None]] = {}

    def heed(self, provider: str, state: BreakerState, now_ms: int) -> None:
        """Tells what is new in the state that a provider's breaker has now."""
        outage, before = _Outage.of(state), self._known.get(provider)
        if outage != before:
            self._known[provider] = outage
            if state.is_open:
                # Nobody but a person can put wrong keys right.
                tell = log.error if state.is_unusable else log.warning
                tell("provider.left_alone", provider=provider, reason=state.reason)
            elif before is not None and before.opened_at is not None and before.closed_at is None:
                log.warning("provider.trusted_again", provider=provider)
        if outage != self._on_record.get(provider) and provider not in self._writing:
            writing = asyncio.create_task(
                self._write(provider, outage, state.reason, _time(now_ms)), name=f"outage of {provider}"
            )
            self._writing[provider] = writing
            writing.add_done_callback(partial(self._written, provider))

    async def drained(self) -> None:
        """Returns when nothing is being written any more."""
        while self._writing:
            await asyncio.wait(self._writing.values())

    def _written(self, provider: str, _task: "asyncio.Task[None]") -> None:
        del self._writing[provider]

    async def _write(self, provider: str, outage: _Outage, reason: str, at: datetime) -> None:
        values = {
            "provider": provider,
            "opened_at": outage.opened_at,
            "closed_at": outage.closed_at,
            "reason": reason,
            "at": at,
        }
        try:
            async with self._database.autocommit() as connection:
                await connection.execute(_RECORD, values)
        except (DatabaseUnavailable, DBAPIError, OSError) as error:
            log.warning("provider.outage_not_recorded", provider=provider, error=type(error).__name__)
        else:
            self._on_record[provider] = outage


def _time(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)
