"""The scripts of the shared limits against a real server, with the clock as an argument."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.jobs.control import pause, resume
from app.jobs.limit_store import HORIZON_MS, PATIENCE_MS, Entry, Exit, LimitStore
from app.jobs.limits import Limit
from app.jobs.pool import JobPool
from app.jobs.queues import Queue
from app.jobs.store import ClaimedJob, Finish, JobStore
from app.jobs.task import TaskRegistry
from tests.running import open_pool

LEASE = 3_600_000
HOLD = 5000
START = 1_700_000_000_000
PAYLOAD = b'{"v":1,"t":null,"f":"note","a":[],"k":{},"et":1}'
QUEUE = Queue.NOTIFICATIONS


class Line:
    """Workers on one server, whose jobs all ask for a limit; and the time that the server has."""

    def __init__(self, pool: JobPool) -> None:
        self.pool = pool
        self.jobs = JobStore(pool.connection_pool, LEASE, START)
        self.limits = LimitStore(pool.connection_pool, HOLD, START)
        self.now = 0
        self._tokens = count(1)

    def set(self, milliseconds: int) -> None:
        self.now = milliseconds
        self.jobs.now_ms = self.limits.now_ms = START + milliseconds

    async def put(self, *ids: str, queue: Queue = QUEUE) -> None:
        for job_id in ids:
            await self.pool.set(f"arq:job:{job_id}", PAYLOAD)
            await self.pool.zadd(queue.key, {job_id: START + self.now})

    async def claim(self, queue: Queue = QUEUE, most: int = 100) -> list[ClaimedJob]:
        return (await self.jobs.claim(queue, f"t{next(self._tokens)}", most)).jobs

    async def ask(self, limit: Limit, job: ClaimedJob, *, place: int = 0) -> Entry | None:
        """The job's entry, or None: then it is in line, in the place of one enqueued at that time."""
        [entry] = await self.ask_all(limit, [job], places=[place])
        return entry

    async def ask_all(
        self, limit: Limit, jobs: Sequence[ClaimedJob], *, places: Sequence[int] | None = None
    ) -> list[Entry | None]:
        if not jobs:
            return []
        entries = [Entry(limit, job.id, f"{job.id} {next(self._tokens)}") for job in jobs]
        admitted = await self.limits.admit(entries)
        at = places or [0] * len(jobs)
        waiting = [
            Finish("wait", job, START + place, b"{}", limit=limit.name)
            for job, place, may_enter in zip(jobs, at, admitted, strict=True)
            if not may_enter
        ]
        assert all(await self.jobs.finish(waiting))
        return [entry if may_enter else None for entry, may_enter in zip(entries, admitted, strict=True)]

    async def run(self, limit: Limit, queue: Queue = QUEUE) -> list[Entry]:
        """Claims all that is due, and lets in what may; those who got in have ended for the queue."""
        jobs = await self.claim(queue)
        entries = await self.ask_all(limit, jobs, places=[self.now] * len(jobs))
        over = [Finish("done", job, 1000, b"{}") for job, entry in zip(jobs, entries, strict=True) if entry is not None]
        await self.jobs.finish(over)
        return [entry for entry in entries if entry is not None]


@pytest.fixture
async def line(redis_url: str) -> AsyncIterator[Line]:
    async with open_line(redis_url) as line:
        yield line


@asynccontextmanager
async def open_line(redis_url: str) -> AsyncIterator[Line]:
    async with open_pool(redis_url, TaskRegistry()) as pool:
        line = Line(pool)
        yield line
        await line.jobs.aclose()
        await line.limits.aclose()


def most_in_a_second(times: Sequence[int]) -> int:
    return max(sum(1 for other in times if time <= other < time + 1000) for time in times)


def ids(entries: Sequence[Entry | None]) -> list[str]:
    return [entry.job_id for entry in entries if entry is not None]


async def test_a_rate_is_kept_and_used_and_nobody_is_asked_again_and_again(line: Line) -> None:
    limit = Limit("mail", per_second=100)
    await line.put(*(f"j{number:04}" for number in range(1000)))
    entered: list[tuple[int, str]] = []
    claims = 0
    for now in range(0, 10_500, 10):
        line.set(now)
        if now % 200 == 0:
            await line.limits.pace(limit)
        jobs = await line.claim()
        claims += len(jobs)
        places = [int(job.id[1:]) for job in jobs]
        entered += [(now, job_id) for job_id in ids(await line.ask_all(limit, jobs, places=places))]

    assert len(entered) == 1000
    times = [time for time, _ in entered]
    assert most_in_a_second(times) <= 100 + 10
    assert 9800 <= times[-1] <= 10_100
    assert [job_id for _, job_id in entered] == sorted(job_id for _, job_id in entered)
    # Once when it was refused, once in its turn.
    assert claims <= 2000


async def test_a_high_rate_comes_in_groups_and_is_kept_all_the_same(line: Line) -> None:
    limit = Limit("mail", per_second=1500)
    await line.put(*(f"j{number:04}" for number in range(3000)))
    times: list[int] = []
    claims = 0
    for now in range(0, 2200, 2):
        line.set(now)
        if now % 200 == 0:
            await line.limits.pace(limit)
        while jobs := await line.claim():
            claims += 1
            times += [now for entry in await line.ask_all(limit, jobs) if entry is not None]

    assert len(times) == 3000
    assert most_in_a_second(times) <= 1500 + 150
    assert 1850 <= times[-1] <= 2100
    assert claims < 400


async def test_the_rate_is_used_while_a_long_backlog_is_on_its_way_into_the_line(line: Line) -> None:
    limit = Limit("mail", per_second=100)
    await line.put(*(f"j{number:04}" for number in range(3000)))
    entered: list[int] = []
    for now in range(0, 3000, 20):
        line.set(now)
        if now % 200 == 0:
            await line.limits.pace(limit)
        jobs = await line.claim(most=20)
        entered += [now] * len(ids(await line.ask_all(limit, jobs, places=[int(job.id[1:]) for job in jobs])))

    assert len(entered) >= 250
    assert most_in_a_second(entered) <= 150


async def test_a_slow_rate_lets_one_through_at_a_time(line: Line) -> None:
    limit = Limit("mail", per_second=0.5)
    await line.put("a", "b", "c")
    times: list[int] = []
    for now in range(0, 5000, 100):
        line.set(now)
        await line.limits.pace(limit)
        times += [now] * len(await line.run(limit))

    assert times == [0, 2100, 4100]


async def test_no_more_are_within_than_allowed_and_who_leaves_lets_the_next_in(line: Line) -> None:
    limit = Limit("mail", in_flight=2)
    await line.put("a", "b", "c", "d")
    entries = await line.ask_all(limit, await line.claim(), places=[1, 2, 3, 4])
    assert ids(entries) == ["a", "b"]
    assert await line.claim() == []

    assert entries[0] is not None
    await line.limits.leave([Exit(entries[0])])
    line.set(1)

    assert ids(await line.run(limit)) == ["c"]
    line.set(HOLD - 1)
    await line.limits.pace(limit)
    line.set(HOLD)
    assert await line.run(limit) == []


async def test_who_comes_later_does_not_pass_those_who_wait(line: Line) -> None:
    limit = Limit("mail", per_second=1)
    await line.put("a", "b")
    assert ids(await line.ask_all(limit, await line.claim(), places=[1, 2])) == ["a"]
    line.set(5000)
    await line.put("new")
    assert await line.run(limit) == []

    await line.limits.pace(limit)
    line.set(5001)
    assert ids(await line.run(limit)) == ["b"]


async def test_who_waits_again_keeps_its_place(line: Line) -> None:
    limit = Limit("mail", per_second=2)
    await line.put("a", "b", "c", "d")
    places = {"a": 1, "b": 2, "c": 3, "d": 4}
    await line.ask_all(limit, await line.claim(), places=[1, 2, 3, 4])
    line.set(1000)
    await line.limits.pace(limit)
    # Two turns lapse before a worker has a slot for them.
    line.set(1001 + PATIENCE_MS + HORIZON_MS)
    missed = await line.claim()
    assert await line.ask_all(limit, missed, places=[places[job.id] for job in missed]) == [None, None]

    await line.limits.pace(limit)
    line.set(line.now + 1)

    assert ids(await line.run(limit)) == ["b"]


async def test_permits_of_a_dead_worker_lapse(line: Line) -> None:
    limit = Limit("mail", in_flight=1)
    await line.put("a", "b")
    await line.ask_all(limit, await line.claim(), places=[1, 2])
    line.set(HOLD - 1)
    assert await line.limits.pace(limit) == 1
    assert await line.claim() == []

    line.set(HOLD)
    await line.limits.pace(limit)
    line.set(HOLD + 1)

    assert ids(await line.run(limit)) == ["b"]


async def test_permits_of_a_living_worker_do_not(line: Line) -> None:
    limit = Limit("mail", in_flight=1)
    await line.put("a", "b")
    entries = await line.ask_all(limit, await line.claim(), places=[1, 2])
    assert entries[0] is not None
    for now in range(0, 4 * HOLD, HOLD // 3):
        line.set(now)
        await line.limits.hold([entries[0]])
        await line.limits.pace(limit)
        assert await line.claim() == []


async def test_a_turn_that_nobody_takes_gives_its_room_back(line: Line) -> None:
    limit = Limit("mail", in_flight=1)
    await line.put("a", "b", "c")
    entries = await line.ask_all(limit, await line.claim(), places=[1, 2, 3])
    assert entries[0] is not None
    await line.limits.leave([Exit(entries[0])])
    assert (await line.pool.zscore(QUEUE.key, "b")) == START + 0.25

    line.set(PATIENCE_MS)
    await line.limits.pace(limit)

    assert (await line.pool.zscore(QUEUE.key, "c")) == START + PATIENCE_MS + 0.25


async def test_a_worker_that_was_held_up_does_not_make_up_for_it(line: Line) -> None:
    limit = Limit("mail", per_second=100)
    await line.put(*(f"j{number:04}" for number in range(1000)))
    times: list[int] = []
    for now in range(0, 9000, 20):
        line.set(now)
        if now % 200 == 0:
            # The others go on giving turns.
            await line.limits.pace(limit)
        if not 2000 <= now < 5000:
            times += [now] * len(await line.run(limit))

    assert most_in_a_second(times) <= 2 * 100 + 10
    assert most_in_a_second([time for time in times if time > 6500]) <= 100 + 10


async def test_who_waits_on_a_paused_queue_gets_no_turn_and_stands_in_nobodys_way(line: Line) -> None:
    limit = Limit("mail", per_second=10)
    await line.put(*(f"p{number}" for number in range(5)))
    await line.ask_all(limit, await line.claim())
    await pause(line.pool, QUEUE)
    line.set(10_000)
    await line.put("other", queue=Queue.DEFAULT)

    assert ids(await line.run(limit, Queue.DEFAULT)) == ["other"]
    assert await line.limits.pace(limit) == 0
    await resume(line.pool, QUEUE)
    assert await line.run(limit) == []
    assert await line.limits.pace(limit) == 4
    line.set(20_000)
    assert await line.limits.waited_for() == set()


async def test_turns_given_before_a_pause_are_no_burst_after_it(line: Line) -> None:
    limit = Limit("mail", per_second=100)
    await line.put(*(f"j{number:03}" for number in range(500)))
    for _ in range(5):
        await line.run(limit)
    await line.limits.pace(limit)
    await pause(line.pool, QUEUE)
    for now in range(0, 60_000, 200):
        line.set(now)
        await line.limits.pace(limit)
    await resume(line.pool, QUEUE)

    times: list[int] = []
    for now in range(60_000, 62_000, 20):
        line.set(now)
        if now % 200 == 0:
            await line.limits.pace(limit)
        times += [now] * len(await line.run(limit))

    assert 150 <= len(times) <= 210
    assert most_in_a_second(times) <= 110


@pytest.mark.parametrize("how", ["aborted", "discarded", "enqueued again"])
async def test_who_is_gone_gets_no_turn(line: Line, how: str) -> None:
    limit = Limit("mail", in_flight=1)
    await line.put("a", "b", "c")
    entries = await line.ask_all(limit, await line.claim(), places=[1, 2, 3])
    if how == "aborted":
        taken = await line.jobs.take("b", "t")
        assert taken is not None
        assert taken.has_waited
        await line.jobs.finish([Finish("done", taken, 1000, b"{}")])
    else:
        await line.pool.zrem(QUEUE.key, "b")
        await line.pool.delete("arq:job:b")
    if how == "enqueued again":
        line.set(100)
        await line.put("b")
        line.set(0)

    assert entries[0] is not None
    await line.limits.leave([Exit(entries[0])])
    line.set(1)

    assert ids(await line.run(limit)) == ["c"]
    assert await line.limits.waited_for() == set()


async def test_a_limit_that_is_raised_counts_at_once(line: Line) -> None:
    await line.put(*(f"j{number:02}" for number in range(50)))
    slow, fast = Limit("mail", per_second=0.1), Limit("mail", per_second=1000)
    assert len(ids(await line.ask_all(slow, await line.claim()))) == 1
    await line.limits.pace(slow)
    line.set(1)
    await line.limits.pace(fast)
    line.set(1100)

    assert len(await line.run(fast)) == 49


async def test_a_limit_that_is_lifted_frees_all_who_wait(line: Line) -> None:
    await line.put(*(f"j{number:03}" for number in range(250)))
    while jobs := await line.claim():
        await line.ask_all(Limit("mail", per_second=0.1), jobs)

    await line.limits.pace(Limit("mail"))
    line.set(1)

    claimed = [job.id for _ in range(3) for job in await line.claim()]
    assert len(claimed) == 249


async def test_a_limit_that_is_lowered_counts_at_once(line: Line) -> None:
    await line.put("a", "b", "c", "d")
    entries = await line.ask_all(Limit("mail", in_flight=3), await line.claim(), places=[1, 2, 3, 4])
    low = Limit("mail", in_flight=1)
    for entry in entries[:2]:
        assert entry is not None
        await line.limits.leave([Exit(Entry(low, entry.job_id, entry.permit))])
    assert await line.claim() == []

    assert entries[2] is not None
    await line.limits.leave([Exit(Entry(low, "c", entries[2].permit))])
    line.set(1)

    assert ids(await line.run(low)) == ["d"]


async def test_a_turn_is_kept_for_who_leaves_to_wait_elsewhere(line: Line) -> None:
    limit = Limit("task:report", per_second=1, in_flight=1)
    await line.put("a", "b")
    entries = await line.ask_all(limit, await line.claim(), places=[1, 2])
    assert entries[0] is not None
    await line.limits.leave([Exit(entries[0], keeps_turn=True)])
    line.set(10_000)
    await line.limits.pace(limit)
    assert await line.claim() == []

    await line.put("a")

    assert ids(await line.run(limit)) == ["a"]


async def test_turns_that_are_given_away_hold_nobody_up(line: Line) -> None:
    limit = Limit("mail", per_second=10)
    await line.put(*(f"j{number:02}" for number in range(50)))
    first = await line.run(limit)
    came: list[ClaimedJob] = []
    for now in range(0, 6_000, 100):
        line.set(now)
        if now % 200 == 0:
            await line.limits.pace(limit)
        if jobs := await line.claim():
            # They go another way.
            await line.limits.leave([Exit(Entry(limit, job.id, "")) for job in jobs])
            await line.jobs.finish([Finish("done", job, 1000, b"{}") for job in jobs])
            came += jobs

    assert sorted([*ids(first), *(job.id for job in came)]) == [f"j{number:02}" for number in range(50)]


async def test_a_kept_turn_of_a_job_that_is_gone_is_free(line: Line) -> None:
    limit = Limit("task:report", in_flight=1)
    await line.put("a", "b")
    entries = await line.ask_all(limit, jobs := await line.claim(), places=[1, 2])
    assert entries[0] is not None
    await line.limits.leave([Exit(entries[0], keeps_turn=True)])
    assert await line.claim() == []

    await line.jobs.finish([Finish("done", jobs[0], 1000, b"{}")])
    await line.limits.pace(limit)
    line.set(1)

    assert ids(await line.run(limit)) == ["b"]


async def test_after_flushall_everything_begins_anew(line: Line) -> None:
    limit = Limit("mail", per_second=1, in_flight=1)
    await line.put("a", "b")
    jobs = await line.claim()
    within, refused = await line.limits.admit([Entry(limit, job.id, job.id) for job in jobs])
    assert (within, refused) == (True, False)
    await line.pool.flushall()
    line.set(2000)

    # The one that is within says so again, the other comes back with its payload to wait.
    held = Entry(limit, jobs[0].id, jobs[0].id)
    await line.limits.hold([held])
    await line.jobs.finish([Finish("wait", jobs[1], START, b"{}", tries=2, limit=limit.name)])
    assert await line.limits.pace(limit) == 1
    assert await line.claim() == []
    await line.limits.leave([Exit(held)])
    line.set(2001)

    [job] = await line.claim()
    assert (job.id, job.payload, job.tries) == ("b", PAYLOAD, 2)
    assert await line.ask(limit, job) is not None


async def test_waiting_is_told_in_the_stream(line: Line) -> None:
    limit = Limit("mail", in_flight=1)
    await line.put("a", "b")
    await line.ask_all(limit, await line.claim(), places=[1, 2])

    [(_, fields)] = await line.pool.xrevrange("indostar:events", count=1)
    assert fields[b"job:b"] == f"wait {START + 2} 0 mail".encode()


async def test_an_abort_of_an_earlier_job_of_its_id_does_not_take_its_place(line: Line) -> None:
    limit = Limit("mail", in_flight=1)
    await line.put("a", "b")
    entries = await line.ask_all(limit, await line.claim(), places=[1, 2])
    taken = await line.jobs.take("b", "t")
    assert taken is not None
    await line.jobs.finish([Finish("keep", taken, taken.due_ms + 0.25, b"{}")])

    assert entries[0] is not None
    await line.limits.leave([Exit(entries[0])])
    line.set(1)

    assert ids(await line.run(limit)) == ["b"]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(1, 3000)),
        st.tuples(st.just("put"), st.integers(1, 30)),
        st.tuples(st.sampled_from(["run", "pace", "leave", "die", "pause", "resume", "abort"]), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, per_second=st.sampled_from([None, 1, 7.5, 40, 200]), in_flight=st.sampled_from([None, 1, 3]))
async def test_whatever_happens_limits_hold_and_every_job_gets_its_turn(
    redis_url: str, steps: list[tuple[str, int]], per_second: float | None, in_flight: int | None
) -> None:
    limit = Limit("mail", per_second, in_flight)
    async with open_line(redis_url) as line:
        await line.pool.flushall()
        model = Model(line, limit)
        for step in steps:
            await model.take(*step)
        await model.take("resume", 0)
        # Half a second each: enough for all of them at one job a second, and for permits to lapse before.
        for _ in range(100 + 2 * len(model.waiting)):
            if not model.waiting:
                break
            await model.take("pass", 500)
            await model.take("pace", 0)
            await model.take("pass", 20)
            await model.take("run", 0)
            await model.take("leave", 0)

        assert model.waiting == set()
        assert not [key async for key in line.pool.scan_iter("indostar:limit:*:waiting:*")]


class Model:
    """Takes steps at random and checks after each what must be true of a limit."""

    def __init__(self, line: Line, limit: Limit) -> None:
        self.line = line
        self.limit = limit
        self.waiting: set[str] = set()
        self.within: list[tuple[Entry, int]] = []
        self.times: list[int] = []
        self.numbers = count()

    async def take(self, step: str, number: int) -> None:
        line = self.line
        match step:
            case "pass":
                line.set(line.now + number)
            case "put":
                new = {f"j{next(self.numbers):05}" for _ in range(number)}
                await line.put(*new)
                self.waiting |= new
            case "run":
                for entry in await line.run(self.limit):
                    self.waiting.remove(entry.job_id)
                    self.within.append((entry, line.now))
                    self.times.append(line.now)
            case "pace":
                await line.limits.pace(self.limit)
            case "leave" if self.within:
                await line.limits.leave([Exit(entry) for entry, _ in self.within])
                self.within.clear()
            case "die":
                # Its permits are left to lapse.
                self.within = [(entry, since) for entry, since in self.within if line.now - since < HOLD]
            case "pause":
                await pause(line.pool, QUEUE)
            case "resume":
                await resume(line.pool, QUEUE)
            case "abort" if self.waiting:
                job_id = min(self.waiting)
                taken = await line.jobs.take(job_id, "abort")
                assert taken is not None
                await line.jobs.finish([Finish("done", taken, 1000, b"{}")])
                self.waiting.remove(job_id)
        self.check()

    def check(self) -> None:
        alive = [entry for entry, since in self.within if self.line.now - since < HOLD]
        if self.limit.in_flight is not None:
            assert len(alive) <= self.limit.in_flight
        if self.limit.per_second is not None and self.times:
            # A second's worth of turns may have been waiting, as may half a second's that nobody took.
            assert most_in_a_second(self.times) <= 1 + 3 * self.limit.per_second + max(1, self.limit.per_second / 10)
