"""Schedules whose workers end, whose clocks are set and whose nights are odd: each slot becomes one thing."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text

from app.db.engine import Database
from app.db.outbox import OutboxJob
from app.db.schedules import ScheduleRun
from app.schedules.control import ScheduleControl
from app.schedules.firing import ScheduleFiring
from tests.clocks import minute_by_minute
from tests.endings import ended_at
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
    jobs,
    outcomes,
    sweep,
)
from tests.waiting import until


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, application_name="indostar test", pool_size=5)
    yield database
    await database.close()


async def test_several_workers_fire_each_slot_once_by_the_databases_clock(database_url: str) -> None:
    ticking = declared(second=set(range(60)))

    @asynccontextmanager
    async def worker() -> AsyncIterator[Database]:
        database = Database(database_url, application_name="indostar test", pool_size=2)
        running = asyncio.create_task(ScheduleFiring(database, [ticking], UTC_ZONE).run())
        yield database
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()
        await database.close()

    async with worker() as database, worker(), worker():

        async def fired() -> bool:
            return len(await jobs(database)) >= 3

        await until(fired)

    async with worker() as database:
        slots = await outcomes(database, ticking)
        started = await jobs(database)
        assert list(slots) == [min(slots) + timedelta(seconds=number) for number in range(len(slots))]
        assert [job.key for job in started] == [
            f"schedule:deliver:{slot:%Y-%m-%dT%H:%M:%SZ}" for slot, outcome in slots.items() if outcome == "fired"
        ]


async def test_a_worker_that_ends_at_any_await_leaves_a_slot_fired_once(database_url: str) -> None:
    clock = SettableClock()
    async with asyncio.timeout(120):
        for step in count(1):
            clock.now += HOUR
            # A worker of its own: what its connections are left in dies with it.
            database = Database(database_url, application_name="indostar test", pool_size=2)
            has_ended = await ended_at(step, ScheduleFiring(database, [HOURLY], UTC_ZONE, clock).look())
            await database.close()
            successor = Database(database_url, application_name="indostar test", pool_size=2)
            await ScheduleFiring(successor, [HOURLY], UTC_ZONE, clock).look()
            slots = await outcomes(successor, HOURLY)
            started = await jobs(successor)
            await successor.close()

            assert set(slots.values()) <= {"fired"}
            assert [job.key for job in started] == [f"schedule:sweep:{slot:%Y-%m-%dT%H:%M:%SZ}" for slot in slots]
            assert list(slots) == [min(slots, default=clock.now) + number * HOUR for number in range(len(slots))]
            if has_ended:
                break
    assert step > 10


async def test_thirty_days_with_outages_are_as_a_calendar_has_them(database: Database) -> None:
    """Clocks are changed on the 29th of March, at one in the morning UTC."""
    nightly = declared(sweep, hour=2, minute=30, catch_up=6 * HOUR)
    fields = {"deliver": {"hour": {0}, "minute": {0}}, "sweep": {"hour": {2}, "minute": {30}}}
    outages = [
        (START + 12 * HOUR, START + 15 * HOUR),
        # Over the night in which 02:30 never was.
        (datetime(2026, 3, 28, 20, tzinfo=UTC), datetime(2026, 3, 29, 7, 30, tzinfo=UTC)),
        (START + 9 * DAY, START + 12 * DAY + 3 * HOUR),
        (START + 20 * DAY, START + 21 * DAY),
    ]
    end = START + 30 * DAY
    clock = SettableClock()
    looks = 0
    while clock.now < end:
        # Each time another process.
        wait = await ScheduleFiring(database, [MIDNIGHT, nightly], BERLIN, clock).look()
        looks += 1
        clock.now += wait + timedelta(milliseconds=looks * 37 % 2000)
        for begin, over in outages:
            if begin <= clock.now < over:
                clock.now = over

    for task, limit in ((MIDNIGHT, 12 * HOUR), (nightly, 6 * HOUR)):
        expected = {}
        for slot in minute_by_minute(fields[task.name], START, end, BERLIN):
            over = next((over for begin, over in outages if begin <= slot < over), slot)
            is_latest = not any(minute_by_minute(fields[task.name], slot, over, BERLIN))
            expected[slot] = "fired" if is_latest and over - slot <= limit else "missed"
        assert await outcomes(database, task) == expected
        assert {"fired", "missed"} == set(expected.values())
        started = [job.key for job in await jobs(database) if job.task == task.name]
        assert started == [
            f"schedule:{task.name}:{slot:%Y-%m-%dT%H:%M:%SZ}" for slot, what in expected.items() if what == "fired"
        ]


class Expected:
    """What should become of the slots of one schedule, step by step."""

    def __init__(self, fields: Mapping[str, set[int]], zone: ZoneInfo, limit: timedelta) -> None:
        self._fields = fields
        self._zone = zone
        self._limit = max(limit, timedelta(minutes=1))
        self.settled_until = START
        self.is_paused = False
        self.outcomes: dict[datetime, str] = {}

    def settle(self, now: datetime) -> None:
        due = list(minute_by_minute(self._fields, self.settled_until, now, self._zone))
        self.outcomes |= dict.fromkeys(due, "skipped_paused" if self.is_paused else "missed")
        if due:
            self.settled_until = due[-1]
            if not self.is_paused and now - due[-1] <= self._limit:
                self.outcomes[due[-1]] = "fired"


minutes = st.one_of(st.integers(1, 90), st.integers(90, 3 * 24 * 60), st.integers(-180, -1))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), minutes),
        st.tuples(st.just("look"), st.integers(1, 3)),
        st.tuples(st.sampled_from(["pause", "resume"]), st.just(0)),
        st.tuples(st.just("end at an await"), st.integers(1, 30)),
    ),
    max_size=15,
)
crontabs = st.fixed_dictionaries(
    {},
    optional={
        "hour": st.sets(st.integers(0, 23), min_size=1),
        "minute": st.sets(st.integers(0, 59), min_size=1),
        "weekday": st.sets(st.integers(0, 6), min_size=1),
    },
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    fields=crontabs,
    zone=st.sampled_from([UTC_ZONE, BERLIN, ZoneInfo("Asia/Kolkata")]),
    limit=st.sampled_from([timedelta(0), HOUR, DAY]),
    steps=steps,
)
async def test_whatever_happens_each_slot_becomes_what_the_calendar_says(
    database: Database, fields: dict[str, set[int]], zone: ZoneInfo, limit: timedelta, steps: list[tuple[str, int]]
) -> None:
    async with database.session() as session:
        await session.execute(text("TRUNCATE tasks.schedules, tasks.schedule_runs, tasks.outbox"))
    task = declared(catch_up=limit, **fields)
    clock = SettableClock()
    control = ScheduleControl(database, [task], zone, clock)
    firing = ScheduleFiring(database, [task], zone, clock)
    expected = Expected(fields, zone, limit)
    await firing.look()

    for what, number in [*steps, ("look", 1)]:
        match what:
            case "wait":
                clock.now += timedelta(minutes=number, seconds=number % 7)
            case "look":
                await asyncio.gather(*(firing.look() for _ in range(number)))
                expected.settle(clock.now)
            case "end at an await":
                if not await ended_at(number, firing.look()):
                    # Nobody can tell how far it came; whoever looks next brings it to its end.
                    await firing.look()
                expected.settle(clock.now)
            case "pause":
                await control.pause(task.name, "asha")
                expected.is_paused = True
            case "resume":
                if expected.is_paused:
                    expected.settle(clock.now)
                await control.resume(task.name)
                expected.is_paused = False

    assert await outcomes(database, task) == expected.outcomes
    async with database.session() as session:
        started = list(await session.scalars(select(OutboxJob.key).order_by(OutboxJob.id)))
        without_job = await session.scalar(
            select(func.count()).where(ScheduleRun.outcome == "fired", ScheduleRun.job_id.is_(None))
        )
    fired = [slot for slot, outcome in expected.outcomes.items() if outcome == "fired"]
    assert started == [f"schedule:deliver:{slot:%Y-%m-%dT%H:%M:%SZ}" for slot in fired]
    assert without_job == 0
