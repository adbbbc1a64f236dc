"""The projector and the stream: any order of events, cut off, lost, killed and begun again at any moment."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.db.migrate import migrate
from app.dev.postgres import EmbeddedPostgres
from app.dev.valkey import EmbeddedValkey
from app.history.position import GapReason
from app.jobs.context import Context
from app.jobs.event_bound import EventBound
from app.jobs.events import EventStream
from app.jobs.lookup import JobRecord, find_job
from app.jobs.memory import Attempt, AttemptOutcome, Memory, attempts_as_json
from app.jobs.payload import Payload
from app.jobs.pool import JobPool, NewJob
from app.jobs.queues import EVENTS, EVENTS_BOUND, EVENTS_GENERATION, Queue
from app.jobs.result import UNKNOWN_TASK
from app.jobs.serializer import ErrorRecord, serialize
from app.jobs.store import ClaimedJob, Finish, JobStore
from app.jobs.task import TaskRegistry
from tests.conftest import fresh_database
from tests.folders import open_folder
from tests.history import History, open_history
from tests.running import open_pool
from tests.waiting import until

START = 1_700_000_000_000
LEASE = 1_000
IDS = ("a", "b", "c")
TASKS = TaskRegistry()


@TASKS.task(queue=Queue.DEFAULT, visible={"number"})
async def note(context: Context, number: int) -> None:
    """Take note; it is never run here."""


class Shop:
    """Enqueues and runs jobs as workers do, in steps, on a clock of its own."""

    def __init__(self, pool: JobPool) -> None:
        self.pool = pool
        self.store = JobStore(pool.connection_pool, LEASE, START)
        self.now = START
        self._numbers = count(1)
        self._claimed: list[ClaimedJob] = []

    def passes(self, milliseconds: int) -> None:
        self.now += milliseconds
        self.store.now_ms = self.now

    async def enqueue(self, job_id: str) -> None:
        payload = Payload("note", self.now, kwargs={"number": next(self._numbers)}).to_bytes()
        await self.pool.send([NewJob(job_id, Queue.DEFAULT, payload, str(self.now))])

    async def enqueue_by_stock_arq(self, job_id: str) -> None:
        payload = b'{"t":null,"f":"note","a":[%d],"k":{},"et":%d}' % (next(self._numbers), self.now)
        if not await self.pool.exists(f"arq:job:{job_id}", f"arq:result:{job_id}"):
            await self.pool.set(f"arq:job:{job_id}", payload)
            await self.pool.zadd(Queue.DEFAULT.key, {job_id: self.now})

    async def claim(self) -> None:
        claim = await self.store.claim(Queue.DEFAULT, f"worker:{next(self._numbers)}", 2)
        self._claimed += claim.jobs

    async def claim_in_vain(self) -> None:
        token = f"worker:{next(self._numbers)}"
        await self.store.claim(Queue.DEFAULT, token, 2)
        await self.store.release(Queue.DEFAULT, token)

    async def end(self, op: str) -> None:
        """Ends what was claimed first; without effect where it is not held any more."""
        if not self._claimed:
            return
        job = self._claimed.pop(0)
        memory = Memory.from_bytes(job.memory)
        while memory.lost < job.lost:
            memory.lost += 1
            memory.add(Attempt(job.tries + 1, None, None, AttemptOutcome.LOST, None))
        if op in ("done", "fail"):
            self._attempt(memory, job, AttemptOutcome.SUCCEEDED if op == "done" else AttemptOutcome.FAILED)
            await self.store.finish([Finish(op, job, 60_000, self._result(job, memory, op))])  # type: ignore[arg-type]
        elif op == "again":
            self._attempt(memory, job, AttemptOutcome.RETRIED)
            await self.store.finish([Finish("again", job, 0, memory.to_bytes(), tries=job.tries + 1)])
        elif op == "hand back":
            self._attempt(memory, job, AttemptOutcome.HANDED_BACK)
            await self.store.finish([Finish("again", job, 0, memory.to_bytes(), tries=job.tries)])

    def _attempt(self, memory: Memory, job: ClaimedJob, outcome: AttemptOutcome) -> None:
        is_error = outcome in (AttemptOutcome.FAILED, AttemptOutcome.RETRIED)
        error = ErrorRecord("NotDone", "not yet", "Traceback") if is_error else None
        memory.add(Attempt(job.tries + 1, self.now, self.now, outcome, "worker", error))

    def _result(self, job: ClaimedJob, memory: Memory, op: str) -> bytes:
        payload = Payload.from_bytes(job.payload or b"")
        return serialize(
            {
                "t": job.tries + 1,
                "f": payload.task,
                "a": payload.args,
                "k": payload.kwargs,
                "et": payload.enqueued_ms,
                "s": op == "done",
                "r": {"at": self.now} if op == "done" else ValueError("wrong"),
                "st": self.now,
                "ft": self.now,
                "q": job.queue.key,
                "id": job.id,
                "attempts": attempts_as_json(memory.attempts),
            }
        )


@pytest.fixture
async def history(redis_url: str, database_url: str) -> AsyncIterator[History]:
    async with open_pool(redis_url, TASKS) as pool, open_history(pool, database_url) as history:
        yield history


@pytest.fixture
async def shop(history: History) -> AsyncIterator[Shop]:
    shop = Shop(history.pool)
    yield shop
    await shop.store.aclose()


def told(record: JobRecord | None) -> dict[str, Any] | None:
    """What history and Redis have to agree on."""
    if record is None:
        return None
    same = ("task", "queue", "state", "kwargs", "enqueued_at", "run_at", "finished_at", "tries", "result")
    # What an error says is hidden for as long as the arguments are not known.
    attempts = [(attempt.job_try, attempt.started_ms, attempt.outcome, attempt.worker) for attempt in record.attempts]
    facts = {name: getattr(record, name) for name in same}
    return facts | {"attempts": attempts, "error": record.error and record.error.type}


async def assert_agreement(history: History) -> None:
    """History says of every job what Redis says."""
    for job_id in IDS:
        in_redis = await find_job(history.pool, job_id)
        if in_redis is None or not await _was_told(history.pool, job_id):
            continue
        on_record = await history.reader.find(job_id)
        if on_record is None or on_record.task != UNKNOWN_TASK:
            assert told(on_record) == told(in_redis)
        else:
            # Redis lost what it had told of it.
            assert await history.rows("SELECT reason FROM tasks.history_gaps") != []


async def _was_told(pool: JobPool, job_id: str) -> bool:
    """A job of a stock pool is told of when it is first claimed."""
    return any(f"job:{job_id}".encode() in fields for _, fields in await pool.xrange(EVENTS))


async def work(shop: Shop) -> None:
    """A bit of everything."""
    for job_id in IDS:
        await shop.enqueue(job_id)
    await shop.claim()
    await shop.end("again")
    await shop.end("fail")
    await shop.claim()
    await shop.end("done")


steps = st.one_of(
    st.tuples(st.just("enqueue"), st.sampled_from(IDS)),
    st.tuples(st.just("enqueue_by_stock_arq"), st.sampled_from(IDS)),
    st.tuples(st.just("end"), st.sampled_from(["done", "fail", "again", "hand back"])),
    st.tuples(st.just("claim")),
    st.tuples(st.just("claim"), st.just(None)).map(lambda _: ("claim_in_vain",)),
    st.tuples(st.just("passes"), st.sampled_from([1, LEASE + 1])),
    st.tuples(st.just("look"), st.sampled_from([1, 2, 100])),
    st.tuples(st.just("break off"), st.integers(0, 60)),
    st.tuples(st.just("flush")),
)


async def test_any_order_of_events_ends_in_what_redis_says(
    valkey_server: EmbeddedValkey, postgres_server: EmbeddedPostgres, database_template: str
) -> None:
    async def play(script: list[tuple[Any, ...]], url: str) -> None:
        async with open_pool(valkey_server.url, TASKS) as pool, open_history(pool, url) as history:
            await pool.flushall()
            for table in ("jobs", "attempts", "payloads", "projection", "history_gaps"):
                await history.execute(f"DELETE FROM tasks.{table}")
            shop = Shop(pool)
            for name, *argument in script:
                match name:
                    case "look":
                        await history.projector(most_events=argument[0]).catch_up()
                        await assert_agreement(history)
                    case "break off":
                        await break_off(history, argument[0])
                    case "flush":
                        await pool.flushall()
                    case "passes":
                        shop.passes(argument[0])
                    case _:
                        await getattr(shop, name)(*argument)
            await history.projector().catch_up()
            await assert_agreement(history)
            await shop.store.aclose()

    async with fresh_database(postgres_server, template=database_template) as url:

        @settings(max_examples=60, suppress_health_check=[*HealthCheck])
        @given(st.lists(steps, min_size=5, max_size=40))
        def any_order(script: list[tuple[Any, ...]]) -> None:
            with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
                runner.run(play(script, url))

        await asyncio.to_thread(any_order)


async def break_off(history: History, turns: int) -> None:
    """Ends a projector that has had so many turns of the loop."""
    projecting = asyncio.create_task(history.projector(most_events=2).catch_up())
    for _ in range(turns):
        await asyncio.sleep(0)
    projecting.cancel()
    with suppress(asyncio.CancelledError):
        await projecting


async def test_a_projector_that_is_killed_anywhere_is_continued_by_the_next(history: History, shop: Shop) -> None:
    for turns in range(0, 200, 4):
        await work(shop)
        shop.passes(LEASE + 1)

        await break_off(history, turns)

        await history.projector().catch_up()
        await assert_agreement(history)
        await history.pool.delete(*(f"arq:{kind}:{job_id}" for kind in ("job", "result") for job_id in IDS))
        await history.pool.delete(Queue.DEFAULT.key)
    [(entries,)] = await history.rows("SELECT entries FROM tasks.projection")
    assert entries == (await history.pool.xinfo_stream(EVENTS))["entries-added"]
    assert await history.rows("SELECT * FROM tasks.history_gaps") == []


async def test_two_projectors_at_once_write_each_event_once(history: History, shop: Shop) -> None:
    await work(shop)

    await asyncio.gather(*(history.projector(f"{n}", most_events=1).catch_up() for n in range(3)))

    await assert_agreement(history)
    [(entries,)] = await history.rows("SELECT entries FROM tasks.projection")
    assert entries == await history.pool.xlen(EVENTS)


async def test_what_was_cut_off_before_it_was_read_is_marked_as_a_gap(history: History, shop: Shop) -> None:
    projector = history.projector()
    await shop.enqueue("a")
    await projector.catch_up()
    await shop.enqueue("b")
    await shop.claim()
    await shop.enqueue("c")
    await history.pool.xtrim(EVENTS, maxlen=1, approximate=False)

    await projector.catch_up()
    await projector.catch_up()

    [(entries, reason)] = await history.rows("SELECT entries, reason FROM tasks.history_gaps")
    assert (entries, reason) == (2, GapReason.CUT_OFF)
    assert await history.reader.find("b") is None
    await shop.end("fail")
    await shop.end("done")
    await projector.catch_up()
    await assert_agreement(history)
    # A dead letter has its payload though its beginning was never seen.
    assert await history.rows("SELECT job_id FROM tasks.payloads ORDER BY 1") == [("a",), ("c",)]


async def test_after_flushall_history_goes_on_behind_a_gap(history: History, shop: Shop) -> None:
    projector = history.projector()
    await work(shop)
    await projector.catch_up()

    await history.pool.flushall()
    for job_id in ("d", "e", "f", "g", "h", "i"):
        await shop.enqueue(job_id)
    await projector.catch_up()

    assert [row[0] for row in await history.rows("SELECT reason FROM tasks.history_gaps")] == [GapReason.DATA_LOST]
    assert await history.rows("SELECT count(*) FROM tasks.jobs") == [(9,)]


async def test_a_redis_that_came_back_with_older_data_is_read_on(history: History, shop: Shop) -> None:
    projector = history.projector()
    await shop.enqueue("a")
    entries = await history.pool.xrange(EVENTS)
    await shop.enqueue("b")
    await projector.catch_up()

    generation = await history.pool.get(EVENTS_GENERATION)
    await history.pool.flushall()
    await history.pool.set(EVENTS_GENERATION, generation)
    for entry_id, fields in entries:
        await history.pool.xadd(EVENTS, fields, id=entry_id)
    await projector.catch_up()
    await shop.enqueue("c")
    await projector.catch_up()

    assert [row[0] for row in await history.rows("SELECT reason FROM tasks.history_gaps")] == [GapReason.WENT_BACK]
    assert await history.rows("SELECT id FROM tasks.jobs ORDER BY 1") == [("a",), ("b",), ("c",)]


async def test_an_event_that_postgres_refuses_is_passed_over_and_marked(history: History, shop: Shop) -> None:
    await history.execute("ALTER TABLE tasks.jobs ADD CONSTRAINT jobs_no_b_check CHECK (id <> 'b')")
    for job_id in IDS:
        await shop.enqueue(job_id)

    await history.projector().catch_up()

    assert await history.rows("SELECT id FROM tasks.jobs ORDER BY 1") == [("a",), ("c",)]
    assert [row[0] for row in await history.rows("SELECT reason FROM tasks.history_gaps")] == [GapReason.UNSTORABLE]


async def test_the_stream_is_cut_off_behind_what_is_on_record(history: History, shop: Shop) -> None:
    fields: dict[Any, Any] = {"kind": "progress", "job:a": "{}"}
    old = [await history.pool.xadd(EVENTS, fields, id=f"{START + n}-0") for n in range(500)]
    await shop.enqueue("a")

    await history.projector().catch_up()

    left = [entry_id for entry_id, _ in await history.pool.xrange(EVENTS)]
    assert len(left) < len(old) / 2
    assert (await history.reader.find("a")) is not None


async def test_the_stream_is_kept_within_its_memory_whether_it_is_read_or_not(history: History, shop: Shop) -> None:
    projector = history.projector()
    await projector.catch_up()
    # The oldest are the smallest, so that a sample of them would not tell.
    for _ in range(2_000):
        await history.pool.xadd(EVENTS, {"kind": "progress", "job:a": "{}"})
    for _ in range(200):
        await history.pool.xadd(EVENTS, {"kind": "progress", "job:a": "x" * 20_000})
    await shop.enqueue("a")

    cut = await history.stream.bound(1 << 20, timedelta(hours=1))
    too_soon = await history.stream.bound(1, timedelta(hours=1))
    await projector.catch_up()

    assert await history.pool.memory_usage(EVENTS, samples=0) <= 1 << 20
    assert (2_000 < cut < 2_200, too_soon) == (True, 0)
    assert await history.rows("SELECT entries FROM tasks.history_gaps") == [(cut,)]
    assert await history.reader.find("a") is not None


async def test_a_stream_within_its_memory_is_left_alone(history: History, shop: Shop) -> None:
    await shop.enqueue("a")
    bound = EventBound(history.stream, 1 << 20)
    with capture_logs() as logs:
        bounding = asyncio.create_task(bound.run())
        await until(lambda: history.pool.exists(EVENTS_BOUND))
        bounding.cancel()
        await asyncio.wait([bounding])

    assert await history.pool.xlen(EVENTS) == 1
    assert logs == []


async def test_a_stream_of_large_entries_is_read_in_parts(history: History) -> None:
    stream = EventStream(history.pool.connection_pool)
    for _ in range(4):
        await history.pool.xadd(EVENTS, {"kind": "progress", "job:a": "x" * 1000})

    reading = await stream.read("0-0", most_events=100, most_bytes=1500)

    assert (len(reading.events), reading.has_more, reading.added, reading.kept) == (2, True, 4, 4)
    await stream.aclose()


async def test_an_outage_of_postgres_is_waited_for_and_one_line_in_the_log(redis_url: str) -> None:
    with open_folder() as folder:
        async with EmbeddedPostgres(folder, durable=False) as server, open_pool(redis_url, TASKS) as pool:
            await migrate(server.url)
            async with open_history(pool, server.url) as history:
                shop = Shop(pool)
                with capture_logs() as logs:
                    projecting = asyncio.create_task(history.projector().run())
                    await shop.enqueue("a")
                    await until(lambda: history.reader.find("a"))
                    await server.stop()
                    await shop.enqueue("b")
                    await until(lambda: [line for line in logs if line["event"] == "history.waits"])
                    await server.start()
                    await until(lambda: history.reader.find("b"))
                    projecting.cancel()
                    await asyncio.wait([projecting])
                await shop.store.aclose()

    assert [line["event"] for line in logs] == ["history.waits", "history.goes_on"]
