"""The stream of everything that happens to jobs, for whoever puts it on record."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from redis.asyncio import ConnectionPool

from app.jobs.failures import UnreadablePayload
from app.jobs.payload import Payload
from app.jobs.queues import EVENTS, EVENTS_BOUND, EVENTS_GENERATION, FAILED_JOBS, PAYLOAD, RESULT
from app.jobs.store import batches
from app.jobs.wire import Script, Wire

READ = Script("read_events")
BOUND = Script("bound_events")
DROP_FAILED = Script("drop_failed")

# Before the first entry.
BEGINNING = "0-0"


@dataclass(frozen=True, slots=True)
class Event:
    """One entry: what happened (`enqueued`, `started`, `released`, `ended`, `progress`) to up to a hundred jobs.

    `at_ms` is when, on the server's clock; `by` the token of a claim and `queue` its queue's name. `jobs` are ids with
    what there is to say of each, in the words of the script that told it.
    """

    id: str
    kind: str
    at_ms: int
    by: str
    queue: str
    jobs: Sequence[tuple[bytes, bytes]]

    @classmethod
    def from_entry(cls, entry_id: bytes, words: Sequence[bytes]) -> "Event":
        fields: dict[bytes, bytes] = {}
        jobs: list[tuple[bytes, bytes]] = []
        for at in range(0, len(words), 2):
            if words[at].startswith(b"job:"):
                jobs.append((words[at][4:], words[at + 1]))
            else:
                fields[words[at]] = words[at + 1]
        stamp = entry_id.decode()
        return cls(
            id=stamp,
            # An entry of another hand is no event of a known kind.
            kind=fields.get(b"kind", b"").decode(errors="replace"),
            # Progress is told without a time.
            at_ms=int(fields.get(b"at") or stamp.partition("-")[0]),
            by=fields.get(b"by", b"").decode(),
            queue=fields.get(b"queue", b"").decode(),
            jobs=jobs,
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look at the stream found.

    `generation` is a word that is another after Redis lost its data; `added` counts the entries that there ever were,
    `kept` those that there are; `last_id` is the newest one's id. `has_more` where the events are not all there was.
    """

    generation: str
    added: int
    kept: int
    last_id: str
    has_more: bool
    events: list[Event]


@dataclass(frozen=True, slots=True)
class FailedJob:
    """What Redis keeps of a job that failed at `at_ms`: its result, and its payload where it had one."""

    id: str
    at_ms: int
    payload: bytes | None
    result: bytes

    @property
    def enqueued_ms(self) -> int | None:
        """When it was enqueued; None where its payload does not tell."""
        try:
            return None if self.payload is None else Payload.from_bytes(self.payload).enqueued_ms
        except UnreadablePayload:
            return None


class EventStream:
    """Reads the stream in order and cuts off what is on record. Raises what Redis raises."""

    def __init__(self, connections: ConnectionPool) -> None:
        self._wire = Wire(connections)
        # A connection that waits for news can't do anything else.
        self._waiting = Wire(connections)

    async def aclose(self) -> None:
        await self._wire.aclose()
        await self._waiting.aclose()

    async def read(self, after: str, *, most_events: int, most_bytes: int) -> Reading:
        """The events after that id, oldest first: so many, or so many bytes and one entry more."""
        generation, added, kept, last_id, has_more, *entries = await self._wire.run(
            READ, (EVENTS, EVENTS_GENERATION), after, most_events, most_bytes, uuid4().hex
        )
        events = [Event.from_entry(entry_id, words) for entry_id, words in entries]
        return Reading(generation.decode(), added, kept, last_id.decode(), bool(has_more), events)

    async def wait(self, after: str, seconds: float) -> None:
        """Returns when there is an event after that id, or after so many seconds."""
        await self._waiting.call("XREAD", "COUNT", 1, "BLOCK", int(seconds * 1000), "STREAMS", EVENTS, after)

    async def trim(self, before: str) -> None:
        """Cuts off most of the entries before that id."""
        await self._wire.call("XTRIM", EVENTS, "MINID", "~", before)

    async def bound(self, most_bytes: int, every: timedelta) -> int:
        """Cuts off the oldest entries beyond so much memory, read or not; returns how many.

        Looks only where nobody has within that time.
        """
        every_ms = int(every.total_seconds() * 1000)
        return int(await self._wire.run(BOUND, (EVENTS, EVENTS_BOUND), most_bytes, every_ms))

    async def failed_jobs(self, until_ms: int, *, skip: int, most: int) -> list[tuple[str, int]]:
        """Failed jobs whose payload and result Redis keeps, with when (ms) they failed: the oldest first."""
        reply = await self._wire.call("ZRANGEBYSCORE", FAILED_JOBS, 0, until_ms, "WITHSCORES", "LIMIT", skip, most)
        return [(reply[at].decode(), int(float(reply[at + 1]))) for at in range(0, len(reply), 2)]

    async def failed(self, ids: Sequence[str]) -> list[FailedJob]:
        """Those of the jobs that failed and that Redis still keeps."""
        found: list[FailedJob] = []
        for batch in batches(ids):
            times = await self._wire.call("ZMSCORE", FAILED_JOBS, *batch)
            payloads = await self._wire.call("MGET", *(PAYLOAD + job_id for job_id in batch))
            results = await self._wire.call("MGET", *(RESULT + job_id for job_id in batch))
            found += [
                FailedJob(job_id, int(float(at_ms)), payload, result)
                for job_id, at_ms, payload, result in zip(batch, times, payloads, results, strict=True)
                if at_ms is not None and result is not None
            ]
        return found

    async def payloads(self, ids: Sequence[str]) -> dict[str, bytes]:
        """The payloads of those of the jobs that Redis keeps one of."""
        found: dict[str, bytes] = {}
        for batch in batches(ids):
            payloads = await self._wire.call("MGET", *(PAYLOAD + job_id for job_id in batch))
            found |= {job_id: raw for job_id, raw in zip(batch, payloads, strict=True) if raw is not None}
        return found

    async def drop_failed(self, jobs: Sequence[tuple[str, int]]) -> int:
        """Drops payload and result of failed jobs, each with when (ms) it failed; returns how many there were."""
        dropped = 0
        for batch in batches(jobs):
            dropped += await self._wire.run(DROP_FAILED, (FAILED_JOBS,), *(word for job in batch for word in job))
        return dropped
