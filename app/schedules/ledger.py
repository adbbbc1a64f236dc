"""The ledger of schedules: what is known of each, and the one row that a slot can have."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.schedules import ScheduleRun, ScheduleState, SlotOutcome


@dataclass(frozen=True, slots=True)
class LastRun:
    """The job that a schedule started last, by itself or by hand."""

    slot: datetime
    outcome: SlotOutcome
    job_id: str | None
    fired_at: datetime


async def register(session: AsyncSession, names: Collection[str], now: datetime) -> None:
    """Makes schedules known that are not: their slots count from now on."""
    # In one order everywhere: workers that start at once must not wait for each other in a circle.
    rows = [{"name": name, "settled_until": now} for name in sorted(names)]
    await session.execute(insert(ScheduleState).on_conflict_do_nothing(), rows)


async def states(session: AsyncSession, names: Collection[str]) -> Mapping[str, ScheduleState]:
    """What is known of these schedules, by name; those that are not registered are left out."""
    found = await session.scalars(select(ScheduleState).where(ScheduleState.name.in_(names)))
    return {state.name: state for state in found}


async def lock(session: AsyncSession, name: str) -> ScheduleState:
    """The registered schedule, for this transaction alone."""
    found = await session.scalars(select(ScheduleState).filter_by(name=name).with_for_update(key_share=True))
    return found.one()


async def try_lock(session: AsyncSession, name: str) -> ScheduleState | None:
    """The same, without waiting; None where another transaction has it."""
    found = select(ScheduleState).filter_by(name=name).with_for_update(key_share=True, skip_locked=True)
    return await session.scalar(found)


async def record(
    session: AsyncSession,
    name: str,
    slots: Collection[datetime],
    outcome: SlotOutcome,
    fired_at: datetime | None = None,
) -> set[datetime]:
    """Writes what becomes of slots, and returns those that had no row before."""
    if not slots:
        return set()
    rows = [{"schedule": name, "slot": slot, "outcome": outcome, "fired_at": fired_at} for slot in slots]
    written = insert(ScheduleRun).values(rows).on_conflict_do_nothing().returning(ScheduleRun.slot)
    return set(await session.scalars(written))


async def last_slot(session: AsyncSession, name: str, since: datetime, until: datetime) -> ScheduleRun | None:
    """What became of the schedule's last slot of that time (`since <= slot < until`), runs by hand left out."""
    found = select(ScheduleRun).where(
        ScheduleRun.schedule == name,
        ScheduleRun.slot >= since,
        ScheduleRun.slot < until,
        ScheduleRun.outcome != "by_hand",
    )
    return await session.scalar(found.order_by(ScheduleRun.slot.desc()).limit(1))


async def note_job(session: AsyncSession, name: str, slot: datetime, job_id: str | None) -> None:
    """Writes which job a slot started."""
    run = update(ScheduleRun).where(ScheduleRun.schedule == name, ScheduleRun.slot == slot)
    await session.execute(run.values(job_id=job_id).execution_options(synchronize_session=False))


async def last_runs(session: AsyncSession, names: Collection[str]) -> Mapping[str, LastRun]:
    """The last run of each of these schedules that had one."""
    last = (
        select(ScheduleRun)
        .where(ScheduleRun.schedule == ScheduleState.name, ScheduleRun.fired_at.is_not(None))
        .order_by(ScheduleRun.fired_at.desc())
        .limit(1)
        .lateral()
    )
    found = await session.execute(
        select(ScheduleState.name, last.c.slot, last.c.outcome, last.c.job_id, last.c.fired_at)
        .join(last, true())
        .where(ScheduleState.name.in_(names))
    )
    return {name: LastRun(*run) for name, *run in found}
