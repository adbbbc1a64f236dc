"""What watchers are sent, as server-sent events."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from fastapi.sse import format_sse_event

from app.history.masking import HIDDEN
from app.jobs.lookup import JobState
from app.jobs.progress import Progress
from app.jobs.queues import Queue
from app.live.changes import Change


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which changes a reader wants; None is all. What counts is where a job stands at the end of a tick.

    `words_of` are the tasks whose jobs' own words the reader may see; None is all.
    """

    tasks: frozenset[str] | None = None
    queues: frozenset[Queue] | None = None
    statuses: frozenset[JobState] | None = None
    words_of: frozenset[str] | None = None

    def has(self, change: Change) -> bool:
        return (
            (self.tasks is None or change.task in self.tasks)
            and (self.queues is None or change.queue in self.queues)
            and (self.statuses is None or change.status in self.statuses)
        )

    def has_words_of(self, change: Change) -> bool:
        return self.words_of is None or change.task in self.words_of


@dataclass(frozen=True, slots=True)
class Chunk:
    """Events in one piece, with how many changes they stand for and the id of the stream's entry they lead up to."""

    raw: bytes
    changes: int
    after: str
    until: str


class Tick:
    """What has changed between two entries of the stream, each job once, rendered when somebody wants it."""

    def __init__(self, after: str, until: str, changes: Sequence[Change]) -> None:
        self.after = after
        self.until = until
        self.changes = changes
        self._data: dict[tuple[str, bool], str] = {}

    def chunk(self, wanted: Wanted) -> Chunk | None:
        """The events of the changes that are wanted; None where there are none.

        Only the last has an id: whoever was cut off in the middle gets the whole of it again.
        """
        chosen = [change for change in self.changes if wanted.has(change)]
        if not chosen:
            return None
        last = len(chosen) - 1
        raw = b"".join(
            format_sse_event(
                event="job", data_str=self._rendered(change, wanted), id=self.until if number == last else None
            )
            for number, change in enumerate(chosen)
        )
        return Chunk(raw, sum(change.count for change in chosen), self.after, self.until)

    def _rendered(self, change: Change, wanted: Wanted) -> str:
        progress = change.progress
        is_masked = progress is not None and progress.message is not None and not wanted.has_words_of(change)
        if progress is not None and is_masked:
            progress = Progress(progress.done, progress.total, HIDDEN)
        data = self._data.get((change.job_id, is_masked))
        if data is None:
            data = self._data[change.job_id, is_masked] = _json(
                {
                    "id": change.job_id,
                    "task": change.task,
                    "queue": change.queue,
                    "status": change.status,
                    "at": datetime.fromtimestamp(change.at_ms / 1000, UTC),
                    "changes": change.count,
                    "progress": progress,
                }
            )
        return data


def missed(count: int | None, after: str, until: str, reason: str, resume: str | None = None) -> bytes:
    """A reader lacks so many changes (None: nobody can tell) between two entries of the stream.

    `resume` is the entry to go on from where it is cut off after this.
    """
    data = {"changes": count, "from": after, "to": until, "reason": reason}
    return format_sse_event(event="missed", data_str=_json(data), id=resume)


def heartbeat(until: str) -> bytes:
    """The connection lives, and nothing that was wanted happened up to that entry."""
    return format_sse_event(event="heartbeat", data_str="{}", id=until)


def outage(*, is_over: bool) -> bytes:
    """Redis can't be asked, or can be again; what happened meanwhile follows."""
    return format_sse_event(event="resumed" if is_over else "outage", data_str="{}")


def _json(data: dict[str, Any]) -> str:
    return orjson.dumps(data, option=orjson.OPT_UTC_Z).decode()
