"""What commands have in common: options, and how times and arguments are written."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing, and tell what would be done.")]

JOBS, QUEUES, SCHEDULES, SHOP, SYSTEM = "Jobs", "Queues and workers", "Schedules", "The shop", "System"

_UNITS: Mapping[str, float] = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|min|[smhdw])")
LONGEST_SPAN = timedelta(days=36_500)


def read_span(text: str) -> timedelta:
    """A length of time, as in 90s, 5m, 1h30m, 2d."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise typer.BadParameter(f"{text!r} is no length of time; write 90s, 5m, 1h30m or 2d")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds > LONGEST_SPAN.total_seconds():
        raise typer.BadParameter(f"{text!r} is more than a hundred years")
    return timedelta(seconds=seconds)


def read_time(text: str) -> datetime:
    """A moment, as in 2026-03-05T08:00+05:30; without an offset it is UTC, and a date is its midnight."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time; write 2026-03-05T08:00, in UTC or with its offset") from None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def read_past(text: str) -> datetime:
    """A moment, or how long ago it is."""
    if _PART.match(text) and "-" not in text:
        return datetime.now(UTC) - read_span(text)
    return read_time(text)


def read_date(text: str) -> date:
    """A day, as in 2026-03-05."""
    from app.deliveries.days import FIRST_DAY, LAST_DAY

    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no date; write 2026-03-05") from None
    if not FIRST_DAY <= day <= LAST_DAY:
        raise typer.BadParameter(f"{text!r} is not between {FIRST_DAY} and {LAST_DAY}")
    return day


def read_arguments(pairs: Iterable[str], as_json: str | None, schema: Mapping[str, Any]) -> dict[str, Any]:
    """A task's arguments from `name=value` words, or from a JSON object; whether they fit is found out where it is
    enqueued.

    By the task's schema a word is text, or else JSON: `days_old=30` is a number, `phone=98123` is not.
    """
    arguments: dict[str, Any] = {}
    if as_json is not None:
        try:
            arguments = json.loads(as_json)
        except ValueError as error:
            raise typer.BadParameter(f"this is no JSON: {error}", param_hint="--json-args") from None
        if not isinstance(arguments, dict):
            raise typer.BadParameter("this is no JSON object", param_hint="--json-args")
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{pair!r} is no argument; write name=value", param_hint="arguments")
        if name in arguments:
            raise typer.BadParameter(f"{name} is given twice", param_hint="arguments")
        arguments[name] = _value(value, _kinds(schema.get("properties", {}).get(name, {}), schema))
    return arguments


def _value(text: str, kinds: Sequence[str]) -> Any:
    if text == "null" and "null" in kinds:
        return None
    if "string" in kinds:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _kinds(of: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """The JSON types that an argument may have."""
    if "$ref" in of:
        return _kinds(schema.get("$defs", {}).get(str(of["$ref"]).rpartition("/")[2], {}), schema)
    kinds = [str(of["type"])] if "type" in of else []
    for among in (*of.get("anyOf", ()), *of.get("oneOf", ()), *of.get("allOf", ())):
        kinds += _kinds(among, schema)
    return kinds
