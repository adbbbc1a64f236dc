"""JSON payloads and results in which datetimes, dates, decimals, UUIDs and exceptions survive the trip.

A value that JSON has no form for becomes `{"$": kind, "v": text}`. An exception comes back as JobFailed (or, for
an aborted job, as CancelledError): reading a payload never imports, looks up or calls what the payload names.
"""

import asyncio
import json
import math
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson

TAG = "$"
TAG_IN_JSON = b'"$"'
# A traceback is for a person; beyond this nobody reads it and Redis pays for it.
MAX_TRACEBACK_CHARACTERS = 8_000


class JobFailed(Exception):
    """A job's failure as its result tells it: what was raised (`type`), its message and its traceback."""

    def __init__(self, type: str, message: str, traceback: str = "") -> None:  # noqa: A002
        super().__init__(type, message, traceback)
        self.type = type
        self.message = message
        self.traceback = traceback

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """An exception as data."""

    type: str
    message: str
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> "ErrorRecord":
        if isinstance(error, JobFailed):
            return cls(error.type, error.message, error.traceback)
        try:
            message = str(error)
        except Exception:  # noqa: BLE001 -- a broken __str__ must not hide the failure it describes
            message = f"<{type(error).__name__} without a readable message>"
        lines = "".join(traceback.format_exception(error))
        return cls(type(error).__name__, message, lines[-MAX_TRACEBACK_CHARACTERS:])


def _tagged_exception(error: BaseException) -> list[str]:
    record = ErrorRecord.of(error)
    return [record.type, record.message, record.traceback]


def _exception_from(value: list[str]) -> BaseException:
    if value[0] == asyncio.CancelledError.__name__:
        return asyncio.CancelledError(value[1])
    return JobFailed(*value)


# Kind, how it is written, how it is read. datetime stands before date, which it is a subclass of.
_KINDS: tuple[tuple[type, str, Callable[[Any], Any], Callable[[Any], Any]], ...] = (
    (datetime, "datetime", datetime.isoformat, datetime.fromisoformat),
    (date, "date", date.isoformat, date.fromisoformat),
    (Decimal, "decimal", str, Decimal),
    (UUID, "uuid", str, UUID),
    (BaseException, "exception", _tagged_exception, _exception_from),
)
_READERS: Mapping[str, Callable[[Any], Any]] = {
    **{kind: read for _, kind, _, read in _KINDS},
    "float": float,
    "int": int,
    "dict": dict,
    "repr": str,
}


def _tag(value: object) -> dict[str, Any]:
    for cls, kind, write, _ in _KINDS:
        if isinstance(value, cls):
            return {TAG: kind, "v": write(value)}
    return {TAG: "repr", "v": repr(value)}


def _untag(value: dict[str, Any]) -> Any:
    if TAG not in value:
        return value
    read = _READERS.get(value[TAG]) if isinstance(value[TAG], str) else None
    if read is None or value.keys() != {TAG, "v"}:
        return value
    return read(value["v"])


def _escaped(value: Any) -> Any:
    """The same value with every number and dict that plain JSON would garble put into a tagged form."""
    if isinstance(value, float) and not math.isfinite(value):
        return {TAG: "float", "v": str(value)}
    if isinstance(value, int) and value.bit_length() > 63:
        return {TAG: "int", "v": str(value)}
    if isinstance(value, dict):
        plain = {str(key): _escaped(item) for key, item in value.items()}
        return {TAG: "dict", "v": [[key, item] for key, item in plain.items()]} if TAG in plain else plain
    if isinstance(value, (list, tuple)):
        return [_escaped(item) for item in value]
    return value


def serialize(data: Any) -> bytes:
    """UTF-8 JSON of a payload, a result or a part of them. A value without a form that we know becomes its `repr`.

    Raises ValueError for what is nested too deeply or within itself.
    """
    try:
        if is_plain(data):
            return serialize_plain(data)
    except (TypeError, RecursionError):
        pass  # integers of more than 64 bits, lone surrogates: the standard library's encoder takes them
    try:
        return json.dumps(_escaped(data), default=_tag, separators=(",", ":"), allow_nan=False).encode()
    except RecursionError as error:
        raise ValueError("it is nested too deeply, or within itself") from error


def serialize_plain(data: Any) -> bytes:
    """`serialize` for what is known to be plain. Raises TypeError where it is not quite."""
    return orjson.dumps(data)


def is_plain(value: Any) -> bool:
    """Whether plain JSON holds it: nothing to tag, and nothing that looks like a tag."""
    kind = type(value)
    if kind is str or kind is int or value is None or kind is bool:
        return True
    if kind is dict:
        return TAG not in value and all(type(key) is str and is_plain(item) for key, item in value.items())
    if kind is list or kind is tuple:
        return all(map(is_plain, value))
    return kind is float and math.isfinite(value)


def _loads(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        # Stricter than the standard library's about lone surrogates.
        return json.loads(raw)


def deserialize_value(raw: bytes) -> Any:
    """What `serialize` wrote. Raises ValueError for anything that is not JSON."""
    try:
        return json.loads(raw, object_hook=_untag) if TAG_IN_JSON in raw else _loads(raw)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
        raise ValueError(f"a payload's tagged value can't be read: {error!r}") from error


def deserialize(raw: bytes) -> dict[str, Any]:
    """What `serialize` wrote of a payload or result. Raises ValueError for anything that is not a JSON object."""
    data = deserialize_value(raw)
    if not isinstance(data, dict):
        raise ValueError("a payload is a JSON object")  # noqa: TRY004 -- its content is wrong, not its type
    return data
