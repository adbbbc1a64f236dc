"""A job as it lies in Redis: arq's payload fields and three of ours."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from app.jobs.failures import UnreadablePayload
from app.jobs.serializer import TAG_IN_JSON, deserialize, serialize

# What pickle protocols 2 to 5 begin with: worth a name of its own, for it means a pool without our serializer.
_PICKLE = b"\x80"
# The largest mail that is accepted, twice over for its escapes in JSON; what is larger belongs somewhere else.
MAX_PAYLOAD_BYTES = 8 * 1024 * 1024


def why_unfit(raw: bytes) -> str | None:
    """What keeps JSON that we wrote out of a job; None where nothing does."""
    if len(raw) > MAX_PAYLOAD_BYTES:
        return f"they have {len(raw)} bytes; at most {MAX_PAYLOAD_BYTES} fit a job"
    if b"\\u" not in raw:
        return None
    text = "".join(_texts(json.loads(raw)))
    if "\0" in text:
        return "they contain the character NUL, which PostgreSQL can't hold"
    try:
        text.encode()
    except UnicodeEncodeError:
        # No provider, page or table could hold it.
        return "they contain a lone surrogate, which is no character"
    return None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _texts(item)


@dataclass(frozen=True, slots=True)
class Payload:
    """`queue` is the key of a queue that the enqueuer named; `expires_ms` the time after which not to start;
    `root` the first job's id in a line of re-runs, `retry_of` the last one's."""

    task: str
    enqueued_ms: int
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    first_try: int | None = None
    queue: str | None = None
    expires_ms: int | None = None
    root: str | None = None
    retry_of: str | None = None
    # Nothing in its arguments needs a tag in JSON.
    is_plain: bool = False

    def to_bytes(self) -> bytes:
        # The version stands first: by it claim.lua tells our payloads from those of a stock pool.
        data: dict[str, Any] = {
            "v": 1, "t": self.first_try, "f": self.task, "a": self.args, "k": self.kwargs, "et": self.enqueued_ms
        }  # fmt: skip
        ours = {"queue": self.queue, "expires": self.expires_ms, "root": self.root, "retry_of": self.retry_of}
        return serialize(data | {name: value for name, value in ours.items() if value is not None})

    @staticmethod
    def of_json(
        task: str,
        kwargs: str,
        enqueued_ms: int,
        *,
        queue: str | None = None,
        root: str | None = None,
        retry_of: str | None = None,
    ) -> bytes:
        """A payload whose arguments are a JSON object already; whether they fit is found out where it runs."""
        data = {"v": 1, "t": None, "f": task, "a": (), "k": orjson.Fragment(kwargs), "et": enqueued_ms}
        ours = {"queue": queue, "root": root, "retry_of": retry_of}
        return orjson.dumps(data | {name: value for name, value in ours.items() if value is not None})

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Payload":
        """Raises UnreadablePayload, saying why."""
        if raw.startswith(_PICKLE):
            raise UnreadablePayload("it is pickled; give the pool job_serializer=app.serialize")
        try:
            data = deserialize(raw)
        except ValueError as error:
            raise UnreadablePayload(f"not a JSON object ({error})") from error
        if missing := [name for name in ("f", "a", "k", "et") if name not in data]:
            raise UnreadablePayload(f"it lacks {', '.join(missing)}")
        args, kwargs = data["a"], data["k"]
        fits = (
            isinstance(data["f"], str)
            and isinstance(args, list)
            and isinstance(kwargs, dict)
            and isinstance(data["et"], int)
            and isinstance(data.get("t"), int | None)
            and isinstance(data.get("expires"), int | None)
            and isinstance(data.get("queue"), str | None)
            and isinstance(data.get("root"), str | None)
            and isinstance(data.get("retry_of"), str | None)
        )
        if not fits:
            raise UnreadablePayload("a field has the wrong type")
        return cls(
            task=data["f"],
            enqueued_ms=data["et"],
            args=tuple(args),
            kwargs=kwargs,
            first_try=data.get("t"),
            queue=data.get("queue"),
            expires_ms=data.get("expires"),
            root=data.get("root"),
            retry_of=data.get("retry_of"),
            is_plain=TAG_IN_JSON not in raw,
        )
