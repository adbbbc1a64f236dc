"""Schedules against the real ledger: each slot becomes one thing, whatever happens to clocks and workers."""

import asyncio
import types
from collections.abc import AsyncIterator, Coroutine, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from arq.cron import cron
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from app.db.engine import Database, DatabaseUnavailable
from app.db.outbox import OutboxJob
from app.db.schedules import ScheduleRun
from app.jobs.context import Context
from app.jobs.failures import WrongArguments
from app.jobs.queues import Queue
from app.jobs.task import Task, TaskRegistry
from app.schedules import ledger
from app.schedules.control import ScheduleControl, UnknownSchedule
from app.schedules.firing import LOOK_AGAIN, ScheduleFiring
from tests.clocks import minute_by_minute
from tests.waiting import until

BERLIN = ZoneInfo("Europe/Berlin")
UTC_ZONE = ZoneInfo("UTC")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
START = datetime(2026, 3, 26, 12, 0, 0, 250_000, tzinfo=UTC)


class SettableClock:
    """A database's clock that tests set."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    async def __call__(self, _session: AsyncSession) -> datetime:
        return self.now


async def deliver(context: Context, delivery_date: date | None = None) -> None:
    """Deliver what is due."""


async def sweep(context: Context) -> None:
    """Sweep."""


def declared(function: Any = deliver, catch_up: timedelta = DAY, **fields: Any) -> Task[..., Any]:
    return TaskRegistry().task(queue=Queue.DEFAULT, schedule=partial(cron, **fields), catch_up=catch_up)(function)


MIDNIGHT = declared(hour=0, minute=0, catch_up=12 * HOUR)
HOURLY = declared(sweep, minute=15)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, application_name="indostar test", pool_size=5)
    yield database
    await database.close()


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


async def outcomes(database: Database, task: Task[..., Any]) -> Mapping[datetime, str]:
    async with database.session() as session:
        runs = await session.scalars(select(ScheduleRun).filter_by(schedule=task.name).order_by(ScheduleRun.slot))
        return {run.slot: run.outcome for run in runs}


async def jobs(database: Database) -> Sequence[OutboxJob]:
    async with database.session() as session:
        return list(await session.scalars(select(OutboxJob).order_by(OutboxJob.id)))


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
    [view] = await control.views()
    assert view.last_run is not None
    assert (view.last_run.outcome, view.last_run.fired_at) == ("by_hand", clock.now)


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

        await until(fired, within=30)

    async with worker() as database:
        slots = await outcomes(database, ticking)
        started = await jobs(database)
        assert list(slots) == [min(slots) + timedelta(seconds=number) for number in range(len(slots))]
        assert [job.key for job in started] == [
            f"schedule:deliver:{slot:%Y-%m-%dT%H:%M:%SZ}" for slot, outcome in slots.items() if outcome == "fired"
        ]


@types.coroutine
def ended_at(step: int, work: Coroutine[Any, Any, Any]) -> Generator[Any, Any, bool]:
    """Runs it and cancels it at its so-manieth await; whether it came to its end before."""
    sent = None
    error: BaseException | None = None
    for number in count(1):
        try:
            waiting_for = work.send(sent) if error is None else work.throw(error)
        except StopIteration:
            return True
        except asyncio.CancelledError:
            return False
        sent = error = None
        if number == step:
            if waiting_for is None:
                error = asyncio.CancelledError()
                continue
            waiting_for.cancel()
        try:
            sent = yield waiting_for
        except BaseException as thrown:  # noqa: BLE001 -- handed on
            error = thrown
    raise AssertionError("count() never ends")


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
