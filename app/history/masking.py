"""What history may say of a job's arguments: those declared visible, and the others nowhere."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from app.jobs.failures import UnknownTask
from app.jobs.lookup import named_arguments
from app.jobs.memory import Attempt
from app.jobs.serializer import ErrorRecord, serialize
from app.jobs.task import TaskRegistry

HIDDEN = "hidden"
# What is shorter stands in too many words that mean something else.
SHORTEST_SOUGHT = 5
# What somebody would type to find a job; a longer one does not fit an index.
LONGEST_TERM = 100
LONGEST_SHOWN_ARGUMENT = 2_000
LONGEST_MESSAGE = 8_000
LONGEST_RESULT = 256 * 1024

# PostgreSQL's text has no NUL and no half of a character.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# The same as they are written in JSON; an escaped backslash and a whole pair are matched to be left alone.
_UNSTORABLE_IN_JSON = re.compile(
    r"\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|(?P<bad>\\u0000|\\ud[89a-f][0-9a-f]{2})"
)


def storable(text: str) -> str:
    """The text with a replacement character for each that PostgreSQL can't hold."""
    return text if text.isascii() and "\x00" not in text else _UNSTORABLE.sub("\ufffd", text)


def storable_json(value: Any) -> str:
    """The value as JSON for a `jsonb`, likewise."""
    text = serialize(value).decode()
    if "\\u" not in text:
        return text
    return _UNSTORABLE_IN_JSON.sub(lambda match: "\\ufffd" if match["bad"] else match[0], text)


@dataclass(frozen=True)
class Masked:
    """A job's arguments as history shows them, and those that it must not repeat."""

    kwargs: Mapping[str, Any]
    hidden: Sequence[Any]
    is_whole: bool = True

    @cached_property
    def hidden_words(self) -> Sequence[str]:
        """Looked for only where there is something to say: most jobs end without a word."""
        words = {form for value in self.hidden for form in _forms(value)}
        # The longest first: one may be a part of another.
        return sorted(words, key=len, reverse=True)

    @property
    def terms(self) -> list[str]:
        """What to find the job by, in lower case."""
        said = [str(value) for value in self.kwargs.values() if type(value) in (str, int) and value != HIDDEN]
        return [storable(term).lower() for term in said if 0 < len(term) <= LONGEST_TERM]

    def error(self, error: ErrorRecord | None) -> ErrorRecord | None:
        """The same without the values of hidden arguments; only its type where these are not known."""
        if error is None:
            return None
        if not self.is_whole:
            return ErrorRecord(storable(error.type), HIDDEN, HIDDEN)
        return ErrorRecord(
            storable(error.type),
            storable(self._without_hidden(error.message))[:LONGEST_MESSAGE],
            storable(self._without_hidden(error.traceback))[-LONGEST_MESSAGE:],
        )

    def attempts(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        return [
            attempt if attempt.error is None else replace(attempt, error=self.error(attempt.error))
            for attempt in attempts
        ]

    def result(self, result: Any) -> str | None:
        """The result as JSON, None for None; a note of its size where it is too long to be kept."""
        if result is None:
            return None
        text = storable_json(self._value_without_hidden(result) if self.hidden_words else result)
        if len(text) > LONGEST_RESULT:
            return storable_json(f"<a result of {len(text)} bytes, which is too long for history>")
        return text

    def _without_hidden(self, text: str) -> str:
        for word in self.hidden_words:
            text = text.replace(word, HIDDEN)
        return text

    def _value_without_hidden(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._without_hidden(value)
        if isinstance(value, Mapping):
            return {self._without_hidden(str(key)): self._value_without_hidden(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._value_without_hidden(item) for item in value]
        if isinstance(value, BaseException):
            return self._without_hidden(str(value))
        return HIDDEN if str(value) in self.hidden_words else value


NOTHING_KNOWN = Masked({}, (), is_whole=False)


def masked(tasks: TaskRegistry, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Masked:
    """The arguments of a job of that task; all of them are hidden where the task is not known."""
    if not args and not kwargs:
        return Masked({}, ())
    named = named_arguments(tasks, task, args, kwargs)
    try:
        visible = tasks[task].visible
    except UnknownTask:
        visible = frozenset()
    shown = {name: _bounded(value) if name in visible else HIDDEN for name, value in named.items()}
    return Masked(shown, [value for name, value in named.items() if name not in visible])


def _bounded(value: Any) -> Any:
    if type(value) is int or value is None:
        return value
    size = len(serialize(value))
    return value if size <= LONGEST_SHOWN_ARGUMENT else f"<{size} bytes>"


def _forms(value: Any) -> Iterator[str]:
    """The texts and numbers in a value, as they are and as errors quote them."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _forms(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _forms(item)
    elif value is not None and len(text := str(value)) >= SHORTEST_SOUGHT:
        yield from {text, repr(text)[1:-1], json.dumps(text)[1:-1]}
