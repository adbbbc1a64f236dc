"""Jobs' changes of state, live."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Header, HTTPException, Query, Response, status
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from admin_api.calls import admin_router
from admin_api.dependencies import GivenServices, Viewer
from admin_api.models import READING
from app.jobs.lookup import JobState
from app.jobs.queues import Queue
from app.jobs.task import TaskRegistry
from app.live.hub import LiveEvents
from app.live.reader import Reader
from app.live.rendering import Wanted
from app.operations import Role

events_router = admin_router("jobs")

# An entry of the stream: milliseconds and a count, each of 64 bits.
LastEventId = Annotated[
    str | None, Header(alias="Last-Event-ID", pattern=r"^\d{1,20}-\d{1,20}$", examples=["1767225600000-0"])
]


class EventFilter(BaseModel):
    """Which changes are told; several values of one filter are alternatives. What counts is where a job stands."""

    model_config = ConfigDict(extra="forbid")

    task: Sequence[str] = Field(default=(), max_length=100)
    queue: Sequence[Queue] = Field(default=(), max_length=100)
    status: Sequence[JobState] = Field(default=(), max_length=100)

    def wanted(self, tasks: TaskRegistry, role: Role) -> Wanted:
        """Raises a 422 that names a task which does not exist."""
        known = {task.name for task in tasks}
        if unknown := [name for name in self.task if name not in known]:
            fault = {"type": "unknown_task", "loc": ["query", "task"], "msg": f"there is no task {unknown[0]}"}
            raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, [fault])
        return Wanted(
            tasks=frozenset(self.task) or None,
            queues=frozenset(self.queue) or None,
            statuses=frozenset(self.status) or None,
            words_of=None if role is Role.OPERATOR else frozenset(t.name for t in tasks if not t.hides_arguments),
        )


class Watching(StreamingResponse):
    """A stream of events that begins when its reader has its place, and gives that up with the connection."""

    # Not FastAPI's own kind: that renders each event for each reader.
    media_type = "text/event-stream"

    def __init__(self, live: LiveEvents, reader: Reader) -> None:
        # Proxies are asked to hand on each event as it comes.
        super().__init__(reader.chunks(), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._live = live
        self._reader = reader

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._live.watching(self._reader):
            await super().__call__(scope, receive, send)


@events_router.get(
    "/admin/events",
    response_class=Watching,
    status_code=status.HTTP_200_OK,
    responses=READING | {status.HTTP_200_OK: {"description": "Server-sent events, until the connection is closed."}},
)
async def watch(
    opened: GivenServices,
    role: Viewer,
    wanted: Annotated[EventFilter, Query()],
    last_event_id: LastEventId = None,
) -> Response:
    """Each job's changes of state as they happen, four times a second at most.

    `job` tells where a job stands and how many `changes` that stands for; `missed` that the reader lacks some
    (`changes`: how many, null where nobody can tell); `outage` that Redis is away, and `resumed` that it is back;
    `heartbeat` that nothing wanted happened. `Last-Event-ID` goes on after that event.
    """
    return Watching(opened.live, Reader(wanted.wanted(opened.operations.pool.tasks, role), last_event_id))
