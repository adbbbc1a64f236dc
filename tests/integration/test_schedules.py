"""Schedules against the real ledger: what becomes of a slot, and what operators do."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from arq.cron import cron
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from app.db.engine import Database, DatabaseUnavailable
from app.jobs.failures import WrongArguments
from app.jobs.queues import Queue
from app.jobs.task import TaskRegistry
from app.schedules import ledger
from app.schedules.control import ScheduleControl, UnknownSchedule
from app.schedules.firing import LOOK_AGAIN, ScheduleFiring
from app.schedules.settling import KEPT, MOST_SLOTS
from tests.clocks import MINUTE
from tests.integration.scheduled_tasks import (
    BERLIN,
    DAY,
    HOUR,
    HOURLY,
    MIDNIGHT,
    START,
    UTC_ZONE,
    SettableClock,
    declared,
    deliver,
    jobs,
    outcomes,
    sweep,
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, application_name="indostar test", pool_size=5)
    yield database
    await database.close()


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


async def test_a_slot_starts_one_job_with_its_date(database: Database, clock: SettableClock) -> None:
    firing = ScheduleFiring(database, [MIDNIGHT, HOURLY], BERLIN, clock)
    assert await firing.look() == timedelta(minutes=14, seconds=59, milliseconds=750)
    clock.now = datetime(2026, 3, 26, 23, 0, 1, tzinfo=UTC)

    await firing.look()
    await firing.look()

    assert await outcomes(database, MIDNIGHT) == {datetime(2026, 3, 26, 23, tzinfo=UTC): "fired"}
    [job] = [job for job in await jobs(database) if job.task == "deliver"]
    # Midnight in Berlin.
    assert (job.key, job.kwargs) == ("schedule:deliver:2026-03-26T23:00:00Z", {"delivery_date": "2026-03-27"})
    [view, _] = await ScheduleControl(database, [MIDNIGHT, HOURLY], BERLIN, clock).views()
    assert view.last_run == ledger.LastRun(
        slot=datetime(2026, 3, 26, 23, tzinfo=UTC), outcome="fired", job_id=f"outbox:{job.id}", fired_at=clock.now
    )


async def test_nothing_is_caught_up_from_before_a_schedule_was_known(database: Database, clock: SettableClock) -> None:
    await ScheduleFiring(database, [HOURLY], UTC_ZONE, clock).look()

    assert await outcomes(database, HOURLY) == {}


@pytest.mark.parametrize(("late", "last"), [(12 * HOUR, "fired"), (12 * HOUR + timedelta(seconds=1), "missed")])
async def test_the_latest_missed_slot_is_caught_up_within_its_limit(
    database: Database, clock: SettableClock, late: timedelta, last: str
) -> None:
    firing = ScheduleFiring(database, [MIDNIGHT], UTC_ZONE, clock)
    await firing.look()
    clock.now = datetime(2026, 3, 29, tzinfo=UTC) + late

    with capture_logs() as logs:
        await firing.look()

    assert list((await outcomes(database, MIDNIGHT)).values()) == ["missed", "missed", last]
    assert [job.kwargs for job in await jobs(database)] == [{"delivery_date": "2026-03-29"}] * (last == "fired")
    told = [(entry["event"], entry["log_level"], entry.get("late_seconds", entry.get("slots"))) for entry in logs]
    assert told[:1] == [("schedule.missed", "warning", 2 if last == "fired" else 3)]
    assert told[1:] == [("schedule.fired", "warning", 43200.0)] * (last == "fired")


@pytest.mark.parametrize("missed", [MOST_SLOTS - 1, MOST_SLOTS, 2 * MOST_SLOTS + 1])
async def test_a_long_outage_of_a_frequent_schedule_is_settled_to_its_end(
    database: Database, clock: SettableClock, missed: int
) -> None:
    every_minute = declared(sweep, catch_up=7 * DAY)
    firing = ScheduleFiring(database, [every_minute], UTC_ZONE, clock)
    await firing.look()
    clock.now += (missed + 1) * MINUTE

    await firing.look()

    slots = await outcomes(database, every_minute)
    assert list(slots) == [datetime(2026, 3, 26, 12, 1, tzinfo=UTC) + number * MINUTE for number in range(missed + 1)]
    assert list(slots.values()) == ["missed"] * missed + ["fired"]


async def test_what_was_missed_long_ago_is_not_written_down(database: Database, clock: SettableClock) -> None:
    firing = ScheduleFiring(database, [MIDNIGHT], UTC_ZONE, clock)
    await firing.look()
    clock.now += DAY
    await firing.look()
    assert list(await outcomes(database, MIDNIGHT)) == [datetime(2026, 3, 27, tzinfo=UTC)]

    clock.now += 500 * DAY
    await firing.look()

    _, *slots = await outcomes(database, MIDNIGHT)
    assert len(slots) == KEPT.days
    assert slots[0] > clock.now - KEPT


async def test_without_catching_up_a_slot_is_still_fired_at_its_time(database: Database, clock: SettableClock) -> None:
    prompt = declared(sweep, minute=15, catch_up=timedelta(0))
    firing = ScheduleFiring(database, [prompt], UTC_ZONE, clock)
    await firing.look()

    clock.now = datetime(2026, 3, 26, 12, 15, 1, tzinfo=UTC)
    await firing.look()
    clock.now = datetime(2026, 3, 26, 13, 17, tzinfo=UTC)
    await firing.look()

    assert list((await outcomes(database, prompt)).values()) == ["fired", "missed"]


async def test_nothing_is_fired_while_a_schedule_is_paused(database: Database, clock: SettableClock) -> None:
    control = ScheduleControl(database, [HOURLY], UTC_ZONE, clock)
    firing = ScheduleFiring(database, [HOURLY], UTC_ZONE, clock)
    await control.pause("sweep", "asha")
    await control.pause("sweep", "ravi")
    paused_at = clock.now

    clock.now += HOUR
    await firing.look()
    [view] = await control.views()
    assert (view.paused_at, view.paused_by, view.next_run_at) == (paused_at, "asha", None)
    # No worker runs when this one is due.
    clock.now += HOUR
    await control.resume("sweep")
    await firing.look()
    clock.now += HOUR
    await firing.look()

    assert list((await outcomes(database, HOURLY)).values()) == ["skipped_paused", "skipped_paused", "fired"]
    [view] = await control.views()
    assert (view.paused_at, view.paused_by) == (None, None)
    assert view.next_run_at == datetime(2026, 3, 26, 15, 15, tzinfo=UTC)


async def test_a_schedule_runs_by_hand_even_while_it_is_paused(database: Database, clock: SettableClock) -> None:
    control = ScheduleControl(database, [MIDNIGHT], BERLIN, clock)
    await control.pause("deliver", "asha")
    clock.now = datetime(2026, 3, 26, 23, 30, tzinfo=UTC)

    # At the same moment, at the top of a second, where a slot of its own could be.
    ids = [await control.run_now("deliver"), await control.run_now("deliver", date(2026, 3, 20))]

    started = await jobs(database)
    assert ids == [f"outbox:{job.id}" for job in started]
    assert [job.kwargs["delivery_date"] for job in started] == ["2026-03-27", "2026-03-20"]
    assert await outcomes(database, MIDNIGHT) == {
        clock.now + timedelta(microseconds=number): "by_hand" for number in (1, 2)
    }
    clock.now += HOUR
    last = await control.run_now("deliver")
    [view] = await control.views()
    assert view.last_run == ledger.LastRun(
        slot=clock.now + timedelta(microseconds=1), outcome="by_hand", job_id=last, fired_at=clock.now
    )


async def test_what_no_schedule_knows_is_refused(database: Database) -> None:
    control = ScheduleControl(database, [HOURLY], UTC_ZONE)

    for steer in (partial(control.pause, by="asha"), control.resume, control.run_now):
        with pytest.raises(UnknownSchedule, match="there is no schedule 'swep'; the schedules are sweep"):
            await steer("swep")
    with pytest.raises(WrongArguments, match="date: is no argument of this task"):
        await control.run_now("sweep", date(2026, 3, 26))


async def test_a_schedule_that_cannot_start_holds_up_no_other(database: Database, clock: SettableClock) -> None:
    def refuse(_arguments: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        return [("", "not on a Thursday")]

    refused = TaskRegistry().task(queue=Queue.DEFAULT, schedule=partial(cron, minute=15), check=refuse)(deliver)
    firing = ScheduleFiring(database, [refused, HOURLY], UTC_ZONE, clock)
    await firing.look()
    clock.now += HOUR

    with pytest.raises(ExceptionGroup) as caught:
        await firing.look()

    assert caught.group_contains(WrongArguments, match="not on a Thursday")
    assert await outcomes(database, refused) == {}
    assert list((await outcomes(database, HOURLY)).values()) == ["fired"]


async def test_a_schedule_that_another_worker_settles_is_left_to_it(database: Database, clock: SettableClock) -> None:
    firing = ScheduleFiring(database, [MIDNIGHT, HOURLY], UTC_ZONE, clock)
    await firing.look()
    clock.now += 12 * HOUR
    async with database.session() as session:
        await ledger.lock(session, HOURLY.name)

        assert await firing.look() == LOOK_AGAIN
        assert list((await outcomes(database, MIDNIGHT)).values()) == ["fired"]
        assert await outcomes(database, HOURLY) == {}

    assert await firing.look() > LOOK_AGAIN
    assert (await outcomes(database, HOURLY))[datetime(2026, 3, 26, 23, 15, tzinfo=UTC)] == "fired"


async def test_a_worker_that_stands_still_loses_its_transaction(database: Database) -> None:
    limits = []

    async def look_and_tell(session: AsyncSession) -> datetime:
        limits.append(await session.scalar(text("SHOW idle_in_transaction_session_timeout")))
        return START + len(limits) * HOUR

    firing = ScheduleFiring(database, [HOURLY], UTC_ZONE, look_and_tell)
    await firing.look()
    await firing.look()

    # For each: one look at the clock, and at the second one more, within the transaction that fires.
    assert limits == ["0", "0", "10s"]


async def test_without_postgres_nothing_is_settled(database: Database, clock: SettableClock) -> None:
    elsewhere = Database("postgresql://nobody@127.0.0.1:1/none", application_name="indostar test")

    with pytest.raises(DatabaseUnavailable):
        await ScheduleFiring(elsewhere, [HOURLY], UTC_ZONE, clock).run()


async def test_workers_without_schedules_have_nothing_to_fire(database: Database) -> None:
    await ScheduleFiring(database, [], UTC_ZONE).run()
