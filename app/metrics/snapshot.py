"""What the servers know of jobs, workers, schedules and charges at one moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis
from sqlalchemy import text

from app.db.charges import OPEN_STATES
from app.db.engine import Database
from app.history.position import Position
from app.history.projector import NAME
from app.history.store import position
from app.jobs.breaker_state import BreakerState
from app.jobs.breaker_store import breakers
from app.jobs.events import EventStream
from app.jobs.queue_states import QueueState, queue_states
from app.jobs.queues import FAILED_JOBS
from app.jobs.registry import WorkerEntry, workers
from app.jobs.wire import Wire
from app.schedules.control import ScheduleControl, ScheduleView
from app.steering.audit import UNRECORDED

# Whoever has more waiting needs no exact number, and counting them must not be what the database is busy with.
MOST_COUNTED = 100_000

_OUTBOX = text("""
    SELECT count(*), coalesce(extract(epoch FROM now() - min(due)), 0)::float FROM (
        SELECT coalesce(not_before, created_at) AS due FROM tasks.outbox
        WHERE relayed_at IS NULL AND ended_at IS NULL AND coalesce(not_before, created_at) <= now()
        ORDER BY coalesce(not_before, created_at), id LIMIT :most
    ) AS waiting
""")
# With the states as constants, by which PostgreSQL sees that the index of open charges is all it needs. What is
# pending or unknown and has no next look is not asked about by itself any more.
_CHARGES = text(f"""
    SELECT state, count(*), count(*) FILTER (WHERE state IN ('pending', 'unknown') AND next_look_at IS NULL) FROM (
        SELECT state, next_look_at FROM tasks.charges WHERE state IN {OPEN_STATES} LIMIT :most
    ) AS open GROUP BY state
""")  # noqa: S608 -- our own constants


@dataclass(frozen=True, slots=True)
class FromRedis:
    """The queues, the workers that are alive, how many failed jobs are kept to be run again, the breakers, and how many
    records of what operators did wait for PostgreSQL."""

    queues: Sequence[QueueState]
    workers: Sequence[WorkerEntry]
    failed_kept: int
    breakers: Mapping[str, BreakerState]
    audit_unrecorded: int


@dataclass(frozen=True, slots=True)
class FromPostgres:
    """Counts end at MOST_COUNTED; `outbox_age` is that of the oldest row that is due and not handed over (seconds).

    Of the `charges` those that were `asked_in_vain` wait for a person. `recorded` is how far history has read the
    stream, None where it never did.
    """

    outbox_waiting: int
    outbox_age: float
    charges: Mapping[str, int]
    asked_in_vain: Mapping[str, int]
    schedules: Sequence[ScheduleView]
    recorded: Position | None


@dataclass(frozen=True, slots=True)
class HistoryLag:
    """Entries of the stream that are not on record yet, and how long ago (seconds) the oldest of them was told."""

    entries: int
    seconds: float


async def from_redis(redis: Redis, wire: Wire) -> FromRedis:
    return FromRedis(
        queues=await queue_states(wire),
        workers=await workers(redis),
        failed_kept=await wire.call("ZCARD", FAILED_JOBS),
        breakers=await breakers(wire),
        audit_unrecorded=await wire.call("LLEN", UNRECORDED),
    )


async def from_postgres(database: Database, schedules: ScheduleControl) -> FromPostgres:
    async with database.session() as session:
        waiting, age = (await session.execute(_OUTBOX, {"most": MOST_COUNTED})).one()
        rows = await session.execute(_CHARGES, {"most": MOST_COUNTED})
        counted: dict[str, tuple[int, int]] = {state: (count, in_vain) for state, count, in_vain in rows}
        recorded = await position(session, NAME)
    charges: dict[str, int] = {state: counted.get(state, (0, 0))[0] for state in OPEN_STATES}
    in_vain: dict[str, int] = {state: counted.get(state, (0, 0))[1] for state in ("pending", "unknown")}
    return FromPostgres(waiting, age, charges, in_vain, await schedules.views(), recorded)


async def history_lag(stream: EventStream, recorded: Position, now_ms: float) -> HistoryLag | None:
    """None where Redis holds another stream than the one that was read: history will say what it lacks."""
    reading = await stream.read(recorded.last_event, most_events=1, most_bytes=1)
    if reading.generation != recorded.generation:
        return None
    if not reading.events:
        return HistoryLag(0, 0.0)
    told_ms = int(reading.events[0].id.partition("-")[0])
    return HistoryLag(max(0, reading.added - recorded.entries), max(0.0, now_ms - told_ms) / 1000)
