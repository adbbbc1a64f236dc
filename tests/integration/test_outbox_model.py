"""Any order of commits, crashes and lost data: each committed row's job runs to its end, never two at a time.

`pytest tests/integration/test_outbox_model.py --hypothesis-profile thorough` plays some thousand of them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from sqlalchemy import text

from app import outbox
from app.db.engine import Database
from app.dev.valkey import EmbeddedValkey
from app.jobs.context import Context
from app.jobs.pool import JobPool
from app.jobs.queues import CLAIMS, FAILED_JOBS, Queue
from app.jobs.store import ClaimedJob, Finish, JobStore
from app.jobs.task import TaskRegistry
from app.outbox.relay import OutboxRelay
from app.outbox.reruns import end_failed

T = TypeVar("T")

# No lease runs out by itself while a test lasts.
LEASE = timedelta(minutes=10)
QUEUE = Queue.DEFAULT
tasks = TaskRegistry()


@tasks.task(queue=QUEUE)
async def deliver(ctx: Context, number: int) -> None:
    """Never run here: the machine claims and ends the jobs itself."""


class CutOff:
    """Runs a coroutine as a task and cancels it where it waits for the n-th time."""

    def __init__(self, work: Coroutine[Any, Any, Any], at: int) -> None:
        self._work = work
        self._at = at

    def __await__(self) -> Generator[Any, Any, None]:
        async def counted() -> None:
            await _Steps(self._work, self._at)

        yield from asyncio.gather(asyncio.create_task(counted()), return_exceptions=True).__await__()


class _Steps:
    """Lets a coroutine wait so many times; the next time, its task is cancelled while it waits."""

    def __init__(self, work: Coroutine[Any, Any, Any], left: int) -> None:
        self._work = work
        self._left = left

    def __await__(self) -> Generator[Any, Any, None]:
        task = asyncio.current_task()
        assert task is not None
        inner = self._work.__await__()
        send: Callable[[], Any] = partial(inner.send, None)
        while True:
            try:
                waited_for = send()
            except StopIteration:
                return
            if self._left == 0:
                asyncio.get_running_loop().call_soon(task.cancel)
            self._left -= 1
            try:
                yield waited_for
            except asyncio.CancelledError as cancelled:
                send = partial(inner.throw, cancelled)
            else:
                send = partial(inner.send, None)


class OutboxLoop:
    """An event loop of its own for a machine that is no coroutine, and what lives in it."""

    def __init__(self, redis_url: str, database_url: str) -> None:
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.do(self._open(redis_url, database_url))

    async def _open(self, redis_url: str, database_url: str) -> None:
        self.database = Database(database_url, application_name="indostar test", pool_size=4)
        self.pool = JobPool.from_dsn(redis_url, tasks)
        self.store = JobStore(self.pool.connection_pool, int(LEASE.total_seconds() * 1000))
        self.relays = [OutboxRelay(self.database, database_url, self.pool, lease=LEASE) for _ in range(2)]

    def do(self, work: Awaitable[T]) -> T:
        async def run() -> T:
            return await work

        return self._runner.run(run())

    def close(self) -> None:
        self.do(self.store.aclose())
        self.do(self.pool.aclose())
        self.do(self.database.close())
        self._runner.close()


relays = st.integers(0, 1)
# A relay of a batch waits some twenty times, for PostgreSQL or Redis.
moments = st.integers(0, 30)
# Which of those that are held: what is drawn must not depend on how servers and tasks took turns.
numbers = st.integers(0, 7)


class OutboxMachine(RuleBasedStateMachine):
    """Writers, two relays, workers that live and die, and a Redis that may be emptied at any moment."""

    def __init__(self, loop: OutboxLoop) -> None:
        super().__init__()
        self.loop, self.do = loop, loop.do
        self.numbers = count(1)
        self.committed: set[str] = set()
        self.keys: set[str] = set()
        self.held: dict[str, ClaimedJob] = {}
        self.ends: dict[str, int] = {}
        # Those whose end nobody knows any more: they may run again.
        self.forgotten: set[str] = set()

    @initialize()
    def begin_empty(self) -> None:
        self.do(self._sql("TRUNCATE tasks.outbox"))
        self.do(self.loop.pool.flushall())

    async def _sql(self, statement: str) -> list[Any]:
        async with self.loop.database.session() as session:
            result = await session.execute(text(statement))
            return list(result.scalars()) if result.returns_rows else []  # type: ignore[attr-defined]

    # Writers

    @rule(key=st.none() | st.sampled_from("abc"), how_many=st.integers(1, 3), commits=st.booleans())
    def write(self, key: str | None, how_many: int, commits: bool) -> None:
        async def transaction() -> list[str | None]:
            async with self.loop.database.session() as session:
                ids = [
                    await outbox.add(session, deliver, next(self.numbers), key=key if number == 0 else None)
                    for number in range(how_many)
                ]
                if not commits:
                    await session.rollback()
                return ids

        ids = self.do(transaction())

        assert [job_id is None for job_id in ids] == [key in self.keys, *[False] * (how_many - 1)]
        if commits:
            self.committed.update(job_id for job_id in ids if job_id is not None)
            if key is not None:
                self.keys.add(key)

    # Relays

    @rule(which=relays)
    def relay(self, which: int) -> None:
        self.do(self.loop.relays[which].relay())

    @rule(which=relays, at=moments)
    def relay_until_a_crash(self, which: int, at: int) -> None:
        self.do(CutOff(self.loop.relays[which].relay(), at))

    @rule(which=relays, at=moments)
    def empty_redis_while_it_relays(self, which: int, at: int) -> None:
        async def both() -> None:
            relaying = asyncio.create_task(self.loop.relays[which].relay())
            for _ in range(at):
                await asyncio.sleep(0)
            await self._flush()
            await relaying

        self.do(both())

    @rule(which=relays)
    def sweep(self, which: int) -> None:
        self.do(self.loop.relays[which].sweep())

    @rule(which=relays, at=moments)
    def sweep_until_a_crash(self, which: int, at: int) -> None:
        self.do(CutOff(self.loop.relays[which].sweep(), at))

    @rule()
    def two_relays_at_once(self) -> None:
        async def both() -> None:
            await asyncio.gather(*(work() for relay in self.loop.relays for work in (relay.relay, relay.sweep)))

        self.do(both())

    @rule(which=relays)
    def record_ends(self, which: int) -> None:
        self.do(self.loop.relays[which].end_some())

    @rule(which=relays, at=moments)
    def record_ends_until_a_crash(self, which: int, at: int) -> None:
        self.do(CutOff(self.loop.relays[which].end_some(), at))

    @rule()
    def put_failures_on_record(self) -> None:
        """As the projector does, in one transaction with their rows in history."""
        self.do(self._end_failed())

    async def _end_failed(self) -> None:
        failed = [job_id.decode() for job_id in await self.loop.pool.zrange(FAILED_JOBS, 0, -1)]
        async with self.loop.database.session() as session:
            await end_failed(session, failed)

    # Workers

    @rule(limit=st.integers(1, 3))
    def claim(self, limit: int) -> None:
        for job in self.do(self.loop.store.claim(QUEUE, f"worker:{next(self.numbers)}", limit)).jobs:
            assert job.id in self.committed
            assert job.id not in self.held
            assert job.id not in self.ends or job.id in self.forgotten
            self.held[job.id] = job

    @rule(op=st.sampled_from(["done", "fail"]), number=numbers)
    def end(self, op: Any, number: int) -> None:
        if self.held:
            self._end(self._let_go(number), op)

    def _let_go(self, number: int) -> ClaimedJob:
        return self.held.pop(list(self.held)[number % len(self.held)])

    def _end(self, job: ClaimedJob, op: Any = "done") -> None:
        self.do(self.loop.store.finish([Finish(op, job, 60_000, b'{"number":%d}' % next(self.numbers))]))
        self.ends[job.id] = self.ends.get(job.id, 0) + 1
        self.forgotten.discard(job.id)

    @rule()
    def a_lease_passes(self) -> None:
        """Whoever lives has renewed meanwhile; what waits is due, and claimed."""
        self.do(self.loop.store.renew(list(self.held.values())))
        self.do(self._make_due())
        self.claim(3)

    async def _make_due(self) -> None:
        pool = self.loop.pool
        holders: dict[bytes, bytes] = await pool.hgetall(CLAIMS)  # type: ignore[misc]  # redis-py's stub
        waiting = [job_id for job_id in await pool.zrange(QUEUE.key, 0, -1) if job_id not in holders]
        if waiting:
            await pool.zadd(QUEUE.key, dict.fromkeys(waiting, 1_000_000))

    @rule(number=numbers)
    def a_worker_dies(self, number: int) -> None:
        if self.held:
            # Its lease has run out.
            self.do(self.loop.pool.zadd(QUEUE.key, {self._let_go(number).id: 1_000_000.5}, xx=True))

    @rule()
    def an_hour_passes(self) -> None:
        async def expire() -> None:
            failed = await self.loop.pool.zrange(FAILED_JOBS, 0, -1)
            names = {*await self.loop.pool.keys("arq:result:*")} - {b"arq:result:" + job_id for job_id in failed}
            if names:
                await self.loop.pool.delete(*names)

        self.do(expire())
        self.do(self._sql("UPDATE tasks.outbox SET relayed_at = relayed_at - interval '1 hour'"))
        self.sweep(0)
        self.a_lease_passes()

    @rule(is_noticed=st.booleans())
    def flushall(self, is_noticed: bool) -> None:
        self.do(self._flush())
        if is_noticed:
            self.sweep(0)
            self.a_lease_passes()

    async def _flush(self) -> None:
        on_record = await self._sql("SELECT 'outbox:' || id FROM tasks.outbox WHERE ended_at IS NOT NULL")
        await self.loop.pool.flushall()
        self.forgotten |= self.ends.keys() - set(on_record)

    def teardown(self) -> None:
        """Whatever state this is, relays and workers that live get every job to its end, and on record."""
        relay = self.loop.relays[0]
        for job in self.held.values():
            self._end(job)
        self.held.clear()
        for _ in range(2):
            self.do(relay.catch_up())
            self.do(relay.sweep())
            self.do(self._make_due())
            while jobs := self.do(self.loop.store.claim(QUEUE, f"worker:{next(self.numbers)}", 100)).jobs:
                for job in jobs:
                    self._end(job)
        self.do(relay.end_some())
        self.do(self._end_failed())
        assert self.ends.keys() == self.committed
        assert self.do(self._sql("SELECT id FROM tasks.outbox WHERE ended_at IS NULL")) == []
        super().teardown()


@pytest.fixture
def loop(valkey_server: EmbeddedValkey, database_url: str) -> Iterator[OutboxLoop]:
    loop = OutboxLoop(valkey_server.url, database_url)
    yield loop
    loop.close()


def test_every_committed_job_ends_and_none_runs_twice_at_a_time(loop: OutboxLoop) -> None:
    class Machine(OutboxMachine):
        def __init__(self) -> None:
            super().__init__(loop)

    few = settings(max_examples=60, stateful_step_count=40, suppress_health_check=[*HealthCheck])
    run_state_machine_as_test(Machine, settings=few)
