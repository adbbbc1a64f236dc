"""A reader that is slow costs a bounded buffer, and is told what it missed."""

from app.jobs.lookup import JobState
from app.jobs.progress import Progress
from app.jobs.queues import Queue
from app.live.changes import Change
from app.live.reader import Reader
from app.live.rendering import Chunk, Tick, Wanted
from tests.sse import Told, events_in

EVERYTHING = Wanted()


def change(job_id: str, status: JobState = JobState.RUNNING, count: int = 1) -> Change:
    return Change(job_id, "send_email_task", Queue.NOTIFICATIONS, status, 1_000, count)


def chunk(number: int, count: int = 1) -> Chunk:
    tick = Tick(f"{number - 1}-0", f"{number}-0", [change(f"j{number}", count=count)])
    made = tick.chunk(EVERYTHING)
    assert made is not None
    return made


async def read(reader: Reader) -> list[Told]:
    return list(events_in(await anext(reader.chunks())))


async def test_a_reader_gets_what_it_is_offered_in_one_piece() -> None:
    reader = Reader(EVERYTHING)
    reader.offer(chunk(1))
    reader.offer(chunk(2))

    told = await read(reader)

    assert [(each.event, each.data["id"], each.id) for each in told] == [("job", "j1", "1-0"), ("job", "j2", "2-0")]
    assert told[0].data == {
        "id": "j1",
        "task": "send_email_task",
        "queue": "notifications",
        "status": "running",
        "at": "1970-01-01T00:00:01Z",
        "changes": 1,
        "progress": None,
    }


async def test_a_slow_reader_is_told_how_much_it_missed_and_goes_on() -> None:
    reader = Reader(EVERYTHING, most_waiting=len(chunk(1).raw) * 2 + 20)
    for number in range(1, 6):
        reader.offer(chunk(number, count=10))

    told = await read(reader)
    reader.offer(chunk(6))
    later = await read(reader)

    assert [each.data["id"] for each in told[:-1]] == ["j1", "j2"]
    assert told[-1].event == "missed"
    assert (told[-1].data["changes"], told[-1].data["from"], told[-1].data["to"]) == (30, "2-0", "5-0")
    assert told[-1].id == "5-0"
    assert [each.data["id"] for each in later] == ["j6"]


async def test_what_is_larger_than_the_buffer_reaches_a_reader_that_keeps_up() -> None:
    reader = Reader(EVERYTHING, most_waiting=1)
    await read(reader)

    reader.offer(chunk(1))

    assert [each.event for each in await read(reader)] == ["job"]


async def test_the_end_comes_at_once() -> None:
    reader = Reader(EVERYTHING)
    reader.offer(chunk(1))

    reader.end()

    assert [each async for each in reader.chunks()] == []


def test_only_the_last_event_of_a_tick_has_an_id() -> None:
    tick = Tick("1-0", "5-0", [change("a"), change("b"), change("c", JobState.FAILED)])

    everything, running = tick.chunk(EVERYTHING), tick.chunk(Wanted(statuses=frozenset({JobState.RUNNING})))

    assert everything is not None
    assert running is not None
    assert [(each.data["id"], each.id) for each in events_in(everything.raw)] == [
        ("a", None),
        ("b", None),
        ("c", "5-0"),
    ]
    assert [(each.data["id"], each.id) for each in events_in(running.raw)] == [("a", None), ("b", "5-0")]
    assert tick.chunk(Wanted(tasks=frozenset({"send_sms_task"}))) is None
    assert tick.chunk(Wanted(queues=frozenset({Queue.DEFAULT}))) is None


def test_whoever_may_not_see_a_jobs_words_sees_how_far_it_is() -> None:
    said = Change("j1", "send_email_task", None, JobState.RUNNING, 0, 1, Progress(3, 7, "to asha@example.com"))
    silent = Change("j2", "send_email_task", None, JobState.RUNNING, 0, 1, Progress(3, 7, None))
    tick = Tick("1-0", "5-0", [said, silent])

    [whole, _], [masked, same] = (
        [told.data["progress"] for told in events_in(chunk.raw)]
        for words in (None, frozenset({"cleanup_expired_carts"}))
        if (chunk := tick.chunk(Wanted(words_of=words))) is not None
    )

    assert whole == {"done": 3, "total": 7, "message": "to asha@example.com"}
    assert masked == {"done": 3, "total": 7, "message": "hidden"}
    assert same == {"done": 3, "total": 7, "message": None}
