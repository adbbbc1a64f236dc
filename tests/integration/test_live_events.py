"""Watching jobs live: one reading of the stream for all, against a real Redis and ticks that the test makes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.dev.valkey import EmbeddedValkey
from app.jobs.events import EventStream
from app.jobs.lookup import JobState
from app.jobs.pool import JobPool
from app.jobs.queues import EVENTS
from app.live.hub import HEARTBEAT_TICKS, LiveEvents
from app.live.reader import Reader
from app.live.rendering import Wanted
from app.tasks import TASKS
from tests.running import open_pool, running_worker
from tests.sse import Told, events_in
from tests.waiting import PATIENCE, until

MAIL: dict[str, Any] = {"to_email": "asha@example.com", "subject": "Hello", "body": "Milk"}


class Ticks:
    """The hub's pauses, each of which lasts until the test wants the next tick."""

    def __init__(self) -> None:
        self._pausing = asyncio.Event()
        self._wanted = asyncio.Semaphore(0)

    async def pause(self, _seconds: float) -> None:
        self._pausing.set()
        await self._wanted.acquire()

    async def next(self) -> None:
        """Returns when one more tick is over."""
        async with asyncio.timeout(PATIENCE):
            await self._pausing.wait()
            self._pausing.clear()
            self._wanted.release()
            await self._pausing.wait()


@asynccontextmanager
async def open_hub(pool: JobPool, ticks: Ticks) -> AsyncIterator[LiveEvents]:
    stream = EventStream(pool.connection_pool)
    live = LiveEvents(stream, TASKS, pause=ticks.pause)
    try:
        yield live
    finally:
        await live.aclose()
        await stream.aclose()


@pytest.fixture
async def pool(redis_url: str) -> AsyncIterator[JobPool]:
    async with open_pool(redis_url, TASKS) as pool:
        yield pool


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
async def live(pool: JobPool, ticks: Ticks) -> AsyncIterator[LiveEvents]:
    async with open_hub(pool, ticks) as live:
        yield live


@asynccontextmanager
async def watching(
    live: LiveEvents, ticks: Ticks, since: str | None = None, wanted: Wanted | None = None
) -> AsyncIterator[Reader]:
    """A reader that has its place."""
    reader = Reader(wanted or Wanted(), since)
    joined = live.watching(reader)
    entering = asyncio.create_task(joined.__aenter__())
    # A hub that is at work places it with its next tick; one that begins does so at once.
    while not reader.is_placed.is_set():
        await asyncio.sleep(0.01)
        if live._reading is not None and live._at is not None and not reader.is_placed.is_set():
            await ticks.next()
    await entering
    try:
        yield reader
    finally:
        await joined.__aexit__(None, None, None)


async def told(reader: Reader) -> list[Told]:
    """What waits for the reader, heartbeats left out."""
    if reader.is_idle:
        return []
    return [each for each in events_in(await anext(reader.chunks())) if each.event != "heartbeat"]


async def test_changes_within_a_tick_become_one(pool: JobPool, live: LiveEvents, ticks: Ticks) -> None:
    async with watching(live, ticks) as reader:
        async with running_worker(pool):
            await pool.enqueue_job("send_email_task", **MAIL, _job_id="j1")

            async def has_been_tried() -> bool:
                return bool(await pool.xlen(EVENTS) >= 3)

            await until(has_been_tried)
        await ticks.next()

        [change] = await told(reader)
        await ticks.next()
        assert await told(reader) == []

    # The worker has no messenger: the task fails, and is tried again later.
    assert (change.data["id"], change.data["status"], change.data["changes"]) == ("j1", "retrying", 3)
    assert (change.data["task"], change.data["queue"]) == ("send_email_task", "notifications")
    assert "asha" not in str(change)


async def test_readers_get_what_they_asked_for(pool: JobPool, live: LiveEvents, ticks: Ticks) -> None:
    sms = Wanted(tasks=frozenset({"send_sms_task"}))
    scheduled = Wanted(statuses=frozenset({JobState.SCHEDULED}))
    async with (
        watching(live, ticks) as everything,
        watching(live, ticks, wanted=sms) as messages,
        watching(live, ticks, wanted=scheduled) as later,
    ):
        await pool.enqueue_job("send_email_task", **MAIL, _job_id="mail", _defer_by=600)
        await pool.enqueue_job("send_sms_task", phone="+919876543210", message="Milk", _job_id="sms")
        await ticks.next()

        assert [each.data["id"] for each in await told(everything)] == ["mail", "sms"]
        assert [each.data["id"] for each in await told(messages)] == ["sms"]
        assert [each.data["id"] for each in await told(later)] == ["mail"]


async def test_a_reader_goes_on_after_the_last_event_that_it_knows(
    pool: JobPool, live: LiveEvents, ticks: Ticks
) -> None:
    async with watching(live, ticks) as reader:
        await pool.enqueue_job("send_email_task", **MAIL, _job_id="seen")
        await ticks.next()
        [seen] = await told(reader)
    for number in range(3):
        await pool.enqueue_job("send_email_task", **MAIL, _job_id=f"unseen {number}")
        await ticks.next()

    async with watching(live, ticks, since=seen.id) as reader:
        later = await told(reader)

    assert [(each.event, each.data["id"]) for each in later] == [("job", f"unseen {number}") for number in range(3)]


async def test_a_reader_goes_on_in_another_process(pool: JobPool, live: LiveEvents, ticks: Ticks) -> None:
    async with watching(live, ticks) as reader:
        await pool.enqueue_job("send_email_task", **MAIL, _job_id="seen")
        await ticks.next()
        [seen] = await told(reader)
    await pool.enqueue_job("send_email_task", **MAIL, _job_id="unseen")
    elsewhere = Ticks()

    async with open_hub(pool, elsewhere) as other, watching(other, elsewhere, since=seen.id) as reader:
        later = await told(reader)

    # What that process reads first it has in one piece, and of that all is told.
    assert [(each.event, each.data["id"]) for each in later] == [("job", "seen"), ("job", "unseen")]


async def test_one_that_was_away_for_too_long_is_told_so(pool: JobPool, live: LiveEvents, ticks: Ticks) -> None:
    for number in range(3):
        await pool.enqueue_job("send_email_task", **MAIL, _job_id=f"j{number}")
    [(first, _), *_] = await pool.xrange(EVENTS)
    await pool.xtrim(EVENTS, maxlen=1, approximate=False)
    [(last, _)] = await pool.xrange(EVENTS)

    async with watching(live, ticks, since=first.decode()) as reader:
        missed, *later = await told(reader)

    assert missed.event == "missed"
    assert (missed.data["changes"], missed.data["from"], missed.data["to"]) == (None, first.decode(), last.decode())
    assert [each.data["id"] for each in later] == ["j2"]


async def test_a_stream_that_was_cut_off_before_it_was_read_is_told(
    pool: JobPool, live: LiveEvents, ticks: Ticks
) -> None:
    async with watching(live, ticks) as reader:
        for number in range(3):
            await pool.enqueue_job("send_email_task", **MAIL, _job_id=f"j{number}")
        await pool.xtrim(EVENTS, maxlen=1, approximate=False)
        [(last, _)] = await pool.xrange(EVENTS)
        await ticks.next()

        missed, *later = await told(reader)

    assert missed.event == "missed"
    assert missed.data["to"] == last.decode()
    assert [each.data["id"] for each in later] == ["j2"]


async def test_a_redis_that_was_emptied_is_told_and_followed(pool: JobPool, live: LiveEvents, ticks: Ticks) -> None:
    async with watching(live, ticks) as reader:
        await pool.enqueue_job("send_email_task", **MAIL, _job_id="before")
        await ticks.next()
        await told(reader)
        await pool.flushall()
        await pool.enqueue_job("send_email_task", **MAIL, _job_id="after")
        await ticks.next()
        await ticks.next()

        missed, *later = await told(reader)

    assert missed.event == "missed"
    assert [each.data["id"] for each in later] == ["after"]


async def test_an_idle_reader_hears_that_the_connection_lives(pool: JobPool, live: LiveEvents, ticks: Ticks) -> None:
    nothing = Wanted(tasks=frozenset({"send_sms_task"}))
    async with watching(live, ticks, wanted=nothing) as reader:
        await told(reader)
        await pool.enqueue_job("send_email_task", **MAIL)
        for _ in range(HEARTBEAT_TICKS):
            await ticks.next()
        [beat] = events_in(await anext(reader.chunks()))
        [(last, _)] = await pool.xrange(EVENTS)

    # By its id the reader could go on, though nothing that it wanted has happened.
    assert (beat.event, beat.id) == ("heartbeat", last.decode())


async def test_readers_stay_while_redis_is_away(tmp_path: Path, ticks: Ticks) -> None:
    server = EmbeddedValkey(tmp_path)
    await server.start()
    try:
        async with (
            open_pool(server.url, TASKS) as pool,
            open_hub(pool, ticks) as live,
            watching(live, ticks) as reader,
        ):
            await pool.enqueue_job("send_email_task", **MAIL, _job_id="before")
            await server.stop()
            await ticks.next()
            await ticks.next()
            first = await told(reader)

            await server.start()
            await pool.enqueue_job("send_email_task", **MAIL, _job_id="after")

            async def what_follows() -> list[Told]:
                await ticks.next()
                return await told(reader)

            back = await until(what_follows)
    finally:
        await server.stop()

    assert [each.event for each in first] == ["outage"]
    assert [each.event for each in back] == ["resumed", "job", "job"]
    assert [each.data["id"] for each in back[1:]] == ["before", "after"]


async def test_nobody_reads_the_stream_while_nobody_watches(pool: JobPool, live: LiveEvents, ticks: Ticks) -> None:
    async with watching(live, ticks):
        reading = live._reading
    assert reading is not None

    async def has_ended() -> bool:
        if not reading.done():
            ticks._wanted.release()
        return reading.done()

    await until(has_ended)
    async with watching(live, ticks) as reader:
        await pool.enqueue_job("send_email_task", **MAIL, _job_id="again")
        await ticks.next()

        assert [each.data["id"] for each in await told(reader)] == ["again"]


async def test_all_streams_end_with_the_process(live: LiveEvents, ticks: Ticks) -> None:
    async with watching(live, ticks) as reader:
        live.end_all()

        assert [chunk async for chunk in reader.chunks()] == []
    async with live.watching(Reader(Wanted())) as late:
        assert [chunk async for chunk in late.chunks()] == []
