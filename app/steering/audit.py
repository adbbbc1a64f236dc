"""Who did what, on record: in `tasks.audit`, and in the shop's `audit_logs` where the settings name an actor there."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.db.engine import Database, DatabaseUnavailable
from app.db.steering import AuditResult
from app.jobs.outage import REDIS_DOWN
from app.jobs.pool import JobPool

log = structlog.stdlib.get_logger(__name__)

# A list of records, as JSON, that PostgreSQL was not there to take.
UNRECORDED = "indostar:audit:unrecorded"
# Some megabytes: more than operators do in any outage.
MOST_UNRECORDED = 10_000
MOST_A_STATEMENT = 100
# How the shop's own log tells these apart from what its backend writes.
SHOP_OBJECT_TYPE = "background"

_RECORD = text("""
    INSERT INTO tasks.audit (id, at, actor, role, source, action, object_type, object_id, details, result)
    SELECT id, at, actor, role, source, action, object_type, object_id, details, result
    FROM jsonb_to_recordset(CAST(:records AS jsonb)) AS told (
        id uuid, at timestamptz, actor text, role text, source text, action text, object_type text, object_id text,
        details jsonb, result text)
    ON CONFLICT (id) DO NOTHING
    RETURNING id::text
""")
# Whoever is not among the users can't be named there. Ours have ids that are no numbers: those stand in the details.
_RECORD_FOR_SHOP = text("""
    INSERT INTO audit_logs (actor_id, action_type, object_type, object_id, details, ip_address, created_at)
    SELECT users.id, left(told.action, 100), :object_type, 0,
           json_build_object('actor', told.actor, 'role', told.role, 'source', told.source,
                             'object_type', told.object_type, 'object_id', told.object_id,
                             'details', told.details, 'result', told.result),
           left(told.address, 45), told.at AT TIME ZONE 'UTC'
    FROM users, jsonb_to_recordset(CAST(:records AS jsonb)) AS told (
        id text, at timestamptz, actor text, role text, source text, address text, action text, object_type text,
        object_id text, details jsonb, result text)
    WHERE users.id = :actor_id AND told.id = ANY(CAST(:ids AS text[]))
    RETURNING audit_logs.id
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """Who did what to what, from where, and what came of it.

    `details` are JSON, and name no argument that is hidden. `address` is the IP address in `source`, if there is one.
    """

    actor: str
    role: str
    source: str
    address: str | None
    action: str
    object_type: str
    object_id: str | None
    details: Mapping[str, Any]
    result: AuditResult
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: str = field(default_factory=lambda: str(uuid4()))


class AuditTrail:
    """Writes down what operators did. `shop_actor` is the shop's user in whose name its own log has it, too."""

    def __init__(self, database: Database, pool: JobPool, shop_actor: int | None = None) -> None:
        self._database = database
        self._pool = pool
        self._shop_actor = shop_actor

    async def record(self, record: AuditRecord) -> None:
        """Puts it on record. Never raises for a server's sake: what was done is done.

        Where PostgreSQL does not take it, it waits in Redis for a worker to bring it there; where that is away, too,
        it is in the log alone.
        """
        fields = {**asdict(record), "at": record.at.isoformat()}
        log.info("operator.acted", **fields)
        # Not orjson: whole numbers of any size may be arguments.
        raw = json.dumps(fields).encode()
        try:
            await self._write([raw])
        except (DatabaseUnavailable, DBAPIError) as error:
            if _is_its_own(error):
                log.error("audit.only_in_log", **fields, error=type(error).__name__)  # noqa: TRY400 -- its own
                return
            log.warning("audit.not_on_record", audit_id=record.id, error=type(error).__name__)
            await self._keep(raw, fields)

    async def _keep(self, raw: bytes, fields: Mapping[str, Any]) -> None:
        try:
            async with self._pool.pipeline(transaction=True) as pipe:
                pipe.rpush(UNRECORDED, raw)
                pipe.ltrim(UNRECORDED, -MOST_UNRECORDED, -1)
                await pipe.execute()
        except REDIS_DOWN as error:
            # With all that it says: the line that told of it may be below the log's level.
            log.error("audit.only_in_log", **fields, error=type(error).__name__)  # noqa: TRY400 -- of a server

    async def catch_up(self) -> int:
        """Writes what waits in Redis; returns how many records that were. Raises DatabaseUnavailable, or as Redis."""
        count = 0
        while waiting := await self._waiting():
            await self._write_each(waiting)
            async with self._pool.pipeline(transaction=True) as pipe:
                for raw in waiting:
                    pipe.lrem(UNRECORDED, 1, raw)  # type: ignore[arg-type]  # redis-py's stub
                await pipe.execute()
            count += len(waiting)
        return count

    async def _waiting(self) -> Sequence[bytes]:
        waiting: list[bytes] = await self._pool.lrange(UNRECORDED, 0, MOST_A_STATEMENT - 1)  # type: ignore[misc]  # redis-py's stub
        return waiting

    async def _write_each(self, raws: Sequence[bytes]) -> None:
        try:
            await self._write(raws)
        except DBAPIError as error:
            if not _is_its_own(error):
                raise
            if len(raws) == 1:
                # It would keep all others from being written. The log has had it.
                log.error("audit.refused", record=raws[0].decode(), error=type(error.orig).__name__)  # noqa: TRY400 -- its own
                return
            for raw in raws:
                await self._write_each([raw])

    async def _write(self, raws: Sequence[bytes]) -> None:
        records = f"[{b','.join(raws).decode()}]"
        async with self._database.session() as session:
            written = list(await session.scalars(_RECORD, {"records": records}))
            if not written or self._shop_actor is None:
                return
            parameters = {
                "records": records,
                "ids": written,
                "actor_id": self._shop_actor,
                "object_type": SHOP_OBJECT_TYPE,
            }
            told = list(await session.scalars(_RECORD_FOR_SHOP, parameters))
        if not told:
            log.error(
                "audit.no_such_actor",
                setting="AUDIT_ACTOR_ID",
                user_id=self._shop_actor,
                effect="the shop's audit_logs lacks what operators do; tasks.audit has it",
            )


def _is_its_own(error: Exception) -> bool:
    """Whether it is the record that PostgreSQL can't hold: data or constraints. Source: PostgreSQL, appendix A."""
    sqlstate = getattr(getattr(error, "orig", None), "sqlstate", None) or ""
    return sqlstate.startswith(("22", "23"))
