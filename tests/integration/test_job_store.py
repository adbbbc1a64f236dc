"""The scripts against a real server, with the clock as an argument: who holds a job, and what that allows."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from app.jobs.claimer import Claimer
from app.jobs.control import pause, resume
from app.jobs.outage import RedisLine
from app.jobs.pool import JobPool, NewJob
from app.jobs.queues import ENDED, Queue
from app.jobs.store import Claim, ClaimedJob, Finish, Held, JobStore
from app.jobs.task import TaskRegistry
from tests.running import open_pool
from tests.waiting import until

LEASE = 1000
START = 1_700_000_000_000
PAYLOAD = b'{"v":1,"t":null,"f":"note","a":[],"k":{},"et":1}'
QUEUE = Queue.DEFAULT


class Clock:
    """Two workers' stores on one server, and the time that it has."""

    def __init__(self, pool: JobPool) -> None:
        self.pool = pool
        self.a = JobStore(pool.connection_pool, LEASE, START)
        self.b = JobStore(pool.connection_pool, LEASE, START)

    def set(self, milliseconds: int) -> None:
        self.a.now_ms = self.b.now_ms = START + milliseconds

    async def put(self, *ids: str, due: int = 0) -> None:
        for job_id in ids:
            await self.pool.set(f"arq:job:{job_id}", PAYLOAD)
            await self.pool.zadd(QUEUE.key, {job_id: START + due})


@pytest.fixture
async def clock(redis_url: str) -> AsyncIterator[Clock]:
    async with open_pool(redis_url, TaskRegistry()) as pool:
        clock = Clock(pool)
        yield clock
        await clock.a.aclose()
        await clock.b.aclose()


async def claim_one(store: JobStore, token: str = "t") -> ClaimedJob:
    [job] = (await store.claim(QUEUE, token, 10)).jobs
    return job


def done(job: ClaimedJob, result: bytes = b'{"s":true}') -> Finish:
    return Finish("done", job, 60_000, result)


def again(job: ClaimedJob, wait: int = 0) -> Finish:
    return Finish("again", job, wait, b"{}", tries=1)


async def test_the_oldest_due_job_is_claimed_first_and_no_other_sees_it(clock: Clock) -> None:
    await clock.put("late", due=-1)
    await clock.put("later", due=0)
    await clock.put("tomorrow", due=5000)

    claim = await clock.a.claim(QUEUE, "t1", 10)

    assert [job.id for job in claim.jobs] == ["late", "later"]
    assert claim.next_due_ms == START + 5000
    assert (await clock.b.claim(QUEUE, "t2", 10)).jobs == []


async def test_running_jobs_do_not_hide_waiting_ones(clock: Clock) -> None:
    await clock.put(*(f"old{number:03}" for number in range(100)), due=-1)
    await clock.a.claim(QUEUE, "t1", 100)
    await clock.put("new")

    assert [job.id for job in (await clock.b.claim(QUEUE, "t2", 1)).jobs] == ["new"]


async def test_a_lease_that_ran_out_is_another_workers_and_counts_as_a_loss(clock: Clock) -> None:
    await clock.put("j")
    lost = await claim_one(clock.a, "t1")
    clock.set(LEASE + 1)

    taken = await claim_one(clock.b, "t2")

    assert (taken.lost, taken.tries) == (1, 0)
    assert await clock.a.renew([lost]) == [Held.BY_ANOTHER]
    assert await clock.a.finish([done(lost)]) == [Held.BY_ANOTHER]
    assert await clock.a.finish([again(lost)]) == [Held.BY_ANOTHER]
    assert await clock.b.finish([done(taken, b"theirs")]) == [Held.BY_US]
    assert await clock.a.finish([done(lost)]) == [Held.BY_ANOTHER]
    assert await clock.pool.get("arq:result:j") == b"theirs"


async def test_a_renewed_lease_is_not_taken_away(clock: Clock) -> None:
    await clock.put("j")
    job = await claim_one(clock.a)
    for elapsed in range(600, 6000, 600):
        clock.set(elapsed)
        assert await clock.a.renew([job]) == [Held.BY_US]
        assert (await clock.b.claim(QUEUE, "t2", 10)).jobs == []


async def test_a_late_end_counts_while_nobody_else_has_the_job(clock: Clock) -> None:
    await clock.put("j")
    job = await claim_one(clock.a)
    clock.set(100 * LEASE)

    assert await clock.a.renew([job]) == [Held.BY_US]
    clock.set(200 * LEASE)
    assert await clock.a.finish([done(job)]) == [Held.BY_US]
    assert (await clock.b.claim(QUEUE, "t2", 10)).jobs == []


async def test_a_stale_token_does_not_fit_a_later_job_of_the_same_id(clock: Clock) -> None:
    await clock.put("j")
    stale = await claim_one(clock.a, "t1")
    clock.set(LEASE + 1)
    await clock.b.finish([done(await claim_one(clock.b, "t2"))])
    await clock.pool.delete("arq:result:j")
    await clock.put("j")

    assert await clock.a.finish([done(stale)]) == [Held.BY_ANOTHER]
    assert (await claim_one(clock.b, "t3")).lost == 0


async def test_a_retry_waits_on_the_servers_clock(clock: Clock) -> None:
    await clock.put("j")
    await clock.a.finish([again(await claim_one(clock.a), wait=5000)])

    assert (await clock.a.claim(QUEUE, "t2", 10)).next_due_ms == START + 5000
    clock.set(5000)
    assert (await claim_one(clock.a)).tries == 1


async def test_leases_that_ran_out_while_redis_was_away_are_left_to_their_holders(clock: Clock) -> None:
    await clock.put("j")
    living = await claim_one(clock.a, "t1")
    clock.set(10 * LEASE)
    silent_since = START + 500

    assert (await clock.b.claim(QUEUE, "t2", 10, silent_since)).jobs == []
    assert await clock.a.renew([living]) == [Held.BY_US]
    clock.set(10 * LEASE + LEASE // 2)
    assert (await clock.b.claim(QUEUE, "t3", 10, silent_since)).jobs == []


async def test_a_holder_that_does_not_come_back_after_the_silence_is_lost_after_one_lease(clock: Clock) -> None:
    await clock.put("j")
    await claim_one(clock.a, "t1")
    clock.set(10 * LEASE)
    silent_since = START + 500
    assert (await clock.b.claim(QUEUE, "t2", 10, silent_since)).jobs == []

    clock.set(11 * LEASE + 1)
    [job] = (await clock.b.claim(QUEUE, "t3", 10)).jobs

    assert job.lost == 1


async def test_a_job_that_waited_through_the_silence_is_not_held_up(clock: Clock) -> None:
    await clock.put("j", due=600)
    clock.set(10 * LEASE)

    claim = await clock.b.claim(QUEUE, "t", 10, START + 500)

    assert [job.id for job in claim.jobs] == ["j"]


async def test_what_ran_through_a_flushall_is_recorded_all_the_same(clock: Clock) -> None:
    await clock.put("done", "again")
    jobs = {job.id: job for job in (await clock.a.claim(QUEUE, "t1", 10)).jobs}
    await clock.pool.flushall()

    assert await clock.a.renew([*jobs.values()]) == [Held.FORGOTTEN, Held.FORGOTTEN]
    assert await clock.a.finish([done(jobs["done"]), again(jobs["again"])]) == [Held.BY_US, Held.BY_US]

    assert await clock.pool.exists("arq:result:done")
    assert (await claim_one(clock.a, "t2")).payload == PAYLOAD


async def test_after_a_flushall_a_job_that_another_holds_is_not_recorded_twice(clock: Clock) -> None:
    await clock.put("j")
    before = await claim_one(clock.a, "t1")
    await clock.pool.flushall()
    await clock.put("j")
    after = await claim_one(clock.b, "t2")

    assert await clock.a.finish([done(before)]) == [Held.BY_ANOTHER]
    assert await clock.b.finish([done(after)]) == [Held.BY_US]


async def test_an_end_whose_answer_was_lost_is_recorded_and_told_once(clock: Clock) -> None:
    await clock.put("done", "again")
    jobs = {job.id: job for job in (await clock.a.claim(QUEUE, "t1", 10)).jobs}
    ends = [done(jobs["done"]), again(jobs["again"], wait=5000)]

    assert await clock.a.finish(ends) == [Held.BY_US, Held.BY_US]
    clock.set(100)
    assert await clock.a.finish(ends) == [Held.BY_US, Held.BY_US]

    assert await clock.pool.zscore(QUEUE.key, "again") == START + 5000
    assert [fields[b"kind"] for _, fields in await clock.pool.xrange("indostar:events")] == [b"started", b"ended"]


async def test_after_a_flushall_what_has_ended_meanwhile_does_not_come_back(clock: Clock) -> None:
    await clock.put("j")
    job = await claim_one(clock.a, "t1")
    await clock.pool.flushall()
    # Its worker is stopped, hands it back, hears no answer and asks again; another one was quick.
    assert await clock.a.finish([again(job)]) == [Held.BY_US]
    assert await clock.b.finish([done(await claim_one(clock.b, "t2"))]) == [Held.BY_US]

    await clock.a.finish([again(job)])

    assert (await clock.b.claim(QUEUE, "t3", 10)).jobs == []


async def test_an_end_counts_for_the_same_job_enqueued_anew_after_a_flushall(clock: Clock) -> None:
    await clock.put("j")
    job = await claim_one(clock.a, "t1")
    await clock.pool.flushall()
    await clock.put("j")

    assert await clock.a.finish([again(job)]) == [Held.BY_ANOTHER]
    assert await clock.a.finish([done(job)]) == [Held.BY_US]

    assert (await clock.b.claim(QUEUE, "t2", 10)).jobs == []
    assert not await clock.pool.exists("arq:job:j")


async def test_a_job_enqueued_anew_after_a_flushall_is_still_with_the_worker_that_runs_it(clock: Clock) -> None:
    await clock.put("j")
    running = await claim_one(clock.a, "t1")
    await clock.pool.flushall()
    await clock.put("j", due=LEASE)

    assert await clock.a.renew([running]) == [Held.BY_US]
    clock.set(LEASE)

    assert (await clock.b.claim(QUEUE, "t2", 10)).jobs == []
    assert await clock.a.finish([again(running)]) == [Held.BY_US]
    assert (await claim_one(clock.b, "t3")).tries == 1


async def test_a_job_whose_end_is_not_on_record_elsewhere_is_not_enqueued_again(clock: Clock) -> None:
    await clock.put("outbox:1", "other")
    for job in (await clock.a.claim(QUEUE, "t1", 10)).jobs:
        await clock.a.finish([done(job)])
    await clock.pool.delete("arq:result:outbox:1", "arq:result:other")

    new = [NewJob(job_id, QUEUE, PAYLOAD, "") for job_id in ("outbox:1", "other")]

    assert await clock.pool.send(new) == [False, True]
    assert await clock.pool.sscan(ENDED) == (0, [b"outbox:1"])


async def test_what_failed_after_a_flushall_keeps_its_payload(clock: Clock) -> None:
    await clock.put("j")
    job = await claim_one(clock.a)
    await clock.pool.flushall()

    assert await clock.a.finish([Finish("fail", job, 60_000, b'{"s":false}')]) == [Held.BY_US]

    assert await clock.pool.get("arq:job:j") == PAYLOAD


async def test_what_failed_after_a_flushall_keeps_the_payload_that_a_stock_pool_let_expire(clock: Clock) -> None:
    await clock.put("j")
    job = await claim_one(clock.a)
    await clock.pool.flushall()
    await clock.put("j")
    await clock.pool.pexpire("arq:job:j", 60_000)

    assert await clock.a.finish([Finish("fail", job, 60_000, b'{"s":false}')]) == [Held.BY_US]

    assert await clock.pool.pttl("arq:job:j") == -1


async def test_stock_abort_does_not_take_a_running_job_from_its_holder(clock: Clock) -> None:
    await clock.put("claimed", "taken")
    jobs = (await clock.a.claim(QUEUE, "t1", 10)).jobs
    await clock.pool.zadd(QUEUE.key, {"claimed": 1, "taken": 1})
    await clock.pool.zadd("arq:abort", {"claimed": START})

    assert await clock.b.take("taken", "t2") is None
    assert (await clock.b.claim(QUEUE, "t3", 10)).jobs == []

    assert await clock.a.finish([done(job) for job in jobs]) == [Held.BY_US, Held.BY_US]


async def test_stock_abort_of_a_job_whose_holder_died_is_done_after_its_lease(clock: Clock) -> None:
    await clock.put("j")
    await claim_one(clock.a, "t1")
    await clock.pool.zadd(QUEUE.key, {"j": 1})
    assert await clock.b.take("j", "t2") is None

    clock.set(LEASE + 1)
    job = await clock.b.take("j", "t3")

    assert job is not None
    assert job.lost == 1


async def test_a_silence_too_short_for_a_lease_to_run_out_in_saves_nobody(clock: Clock) -> None:
    await clock.put("j")
    await claim_one(clock.a, "t1")
    clock.set(LEASE + 1)

    [job] = (await clock.b.claim(QUEUE, "t2", 10, START + LEASE - 10)).jobs

    assert job.lost == 1


async def test_a_paused_queue_gives_nothing(clock: Clock) -> None:
    await clock.put("j")
    await pause(clock.pool, QUEUE)

    claim = await clock.a.claim(QUEUE, "t1", 10)

    assert (claim.is_paused, claim.jobs) == (True, [])
    await resume(clock.pool, QUEUE)
    assert (await claim_one(clock.a)).id == "j"


async def test_ids_and_scores_that_nobody_can_read_are_set_aside(clock: Clock) -> None:
    await clock.put("good")
    await clock.pool.zadd(QUEUE.key, {b"\xff\xfe": START})
    await clock.pool.zadd(QUEUE.key, {"never": float("inf")})

    claim = await clock.a.claim(QUEUE, "t1", 10)

    assert [job.id for job in claim.jobs] == ["good"]
    assert await clock.pool.type("indostar:unreadable-ids") == b"set"
    clock.set(5 * LEASE)
    assert [job.id for job in (await clock.a.claim(QUEUE, "t2", 10)).jobs] == ["good"]


async def test_arqs_view_of_a_claimed_job_is_true(clock: Clock) -> None:
    await clock.put("j")
    await claim_one(clock.a)

    assert await clock.pool.exists("arq:in-progress:j")
    assert await clock.pool.pttl("arq:in-progress:j") <= LEASE
    assert await clock.pool.zscore(QUEUE.key, "j") is not None


async def test_a_payload_of_a_stock_pool_outlives_its_day_once_it_is_claimed(clock: Clock) -> None:
    await clock.pool.psetex("arq:job:j", 86_400_000, b'{"t":null,"f":"note","a":[],"k":{},"et":1}')
    await clock.pool.zadd(QUEUE.key, {"j": START})

    await claim_one(clock.a)

    assert await clock.pool.ttl("arq:job:j") == -1


class DeafStore(JobStore):
    """Claims, and never hears the answer the first time."""

    deaf = True

    async def claim(self, queue: Queue, token: str, limit: int, silent_since_ms: int | None = None) -> Claim:
        claim = await super().claim(queue, token, limit, silent_since_ms)
        if self.deaf:
            self.deaf = False
            raise RedisConnectionError("the answer was lost")
        return claim


async def test_a_claim_whose_answer_was_lost_is_given_back_at_once(clock: Clock) -> None:
    await clock.put("j")
    store = DeafStore(clock.pool.connection_pool, LEASE, START)
    claimer = Claimer(store, RedisLine(), "me", LEASE / 1000)

    await claimer.claim(QUEUE, 10)
    claim, _ = await claimer.claim(QUEUE, 10)
    [job] = claim.jobs

    assert (job.id, job.lost) == ("j", 0)
    kinds = [fields[b"kind"] for _, fields in await clock.pool.xrange("indostar:events")]
    assert kinds == [b"started", b"released", b"started"]
    await store.aclose()


class FrozenStore(JobStore):
    """Its first claim is answered late; its server has been up for so many seconds."""

    def __init__(self, pool: JobPool, answers_after: float) -> None:
        super().__init__(pool.connection_pool, LEASE)
        self.answers_after = answers_after
        self.uptime = 3600
        self.silences: list[int | None] = []

    async def uptime_seconds(self) -> int:
        return self.uptime

    async def claim(self, queue: Queue, token: str, limit: int, silent_since_ms: int | None = None) -> Claim:
        self.silences.append(silent_since_ms)
        claim = await super().claim(queue, token, limit, silent_since_ms)
        await asyncio.sleep(self.answers_after)
        self.answers_after = 0
        return claim


async def test_a_claim_that_was_answered_too_late_is_given_back_and_made_again(clock: Clock) -> None:
    store = FrozenStore(clock.pool, answers_after=0.05)
    claimer = Claimer(store, RedisLine(), "me", lease=0.04)
    await clock.put("j")

    claim, _ = await claimer.claim(QUEUE, 10)
    [job] = claim.jobs

    assert (job.lost, job.token.endswith("me:2")) == (0, True)
    await store.aclose()


async def test_a_claim_says_since_when_the_server_has_not_answered(clock: Clock) -> None:
    store, line = FrozenStore(clock.pool, answers_after=0), RedisLine()
    claimer = Claimer(store, line, "me", LEASE / 1000)
    before, _ = await claimer.claim(QUEUE, 10)
    frozen = asyncio.create_task(line.call(asyncio.Event().wait))
    await until(lambda: line.unanswered_since)
    await asyncio.sleep(0.2)

    after, _ = await claimer.claim(QUEUE, 10)

    frozen.cancel()
    first, second = store.silences
    assert first is None
    assert second is not None
    assert before.now_ms <= second <= after.now_ms - 100
    await store.aclose()


@pytest.mark.parametrize(("uptime", "silent_since"), [(0, 0), (30, None)])
async def test_leases_that_run_out_soon_after_a_servers_start_may_be_of_those_who_are_not_back_yet(
    clock: Clock, uptime: int, silent_since: int | None
) -> None:
    store = FrozenStore(clock.pool, answers_after=0)
    store.uptime = uptime
    claimer = Claimer(store, RedisLine(), "me", lease=60.0)

    await claimer.open()
    await claimer.claim(QUEUE, 10)

    # 22 seconds are enough to come back and renew.
    assert store.silences == [silent_since]
    await store.aclose()


async def test_a_server_clock_that_jumps_ahead_gives_no_running_job_away(clock: Clock) -> None:
    other = Claimer(clock.b, RedisLine(), "other", LEASE / 1000)
    await other.claim(QUEUE, 10)
    await clock.put("j")
    job = await claim_one(clock.a)

    clock.set(3_600_000)

    claim, _ = await other.claim(QUEUE, 10)
    assert claim.jobs == []
    assert await clock.a.renew([job]) == [Held.BY_US]


async def test_every_change_is_told_in_the_stream(clock: Clock) -> None:
    await clock.put("j")
    job = await claim_one(clock.a)
    await clock.a.finish([again(job)])
    await clock.a.finish([done(await claim_one(clock.a, "t2"))])

    events = [fields for _, fields in await clock.pool.xrange("indostar:events")]

    assert [event[b"kind"] for event in events] == [b"started", b"ended", b"started", b"ended"]
    assert all(b"job:j" in event for event in events)
    assert events[1][b"job:j"].startswith(b"again ")
    assert events[3][b"job:j"] == b'done {"s":true}'
