"""Which provider a message goes by, and what a call tells of the provider."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from app.errors import OutcomeUnknown, Unavailable
from app.jobs.breaker import Breaker, BreakerOpen, Passage
from app.jobs.breaker_state import Verdict
from app.jobs.limits import Limit
from app.providers.failures import (
    Misconfigured,
    NoConnectionFree,
    NotListedYet,
    ProviderDeferred,
    ProviderFailure,
    ProviderRefused,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Way:
    """A message's way by one provider: how to send it, and how to ask about it (since when, and sent until when at the
    latest)."""

    provider: str
    breaker: Breaker
    limit: Limit | None
    send: Callable[[], Awaitable[str]]
    find: Callable[[datetime, datetime], Awaitable[str | None]] | None = None


async def first_open(ways: Sequence[Way], stack: AsyncExitStack) -> tuple[Way, Passage]:
    """The first way that is not closed, entered for as long as `stack` lasts.

    Raises BreakerOpen of the one that is worth coming back to first.
    """
    closed: list[BreakerOpen] = []
    for way in ways:
        try:
            return way, await stack.enter_async_context(way.breaker.passage())
        except BreakerOpen as error:
            closed.append(error)
    raise min(closed, key=lambda error: error.retry_after or way.breaker.rest())


async def called(passage: Passage, call: Awaitable[T]) -> T:
    """What the call returns or raises, once the breaker has been told what that means."""
    try:
        answer = await call
    except BaseException as error:
        passage.note(verdict_on(error), _told(error))
        raise
    passage.note(Verdict.WELL)
    return answer


async def asked(passage: Passage, question: Awaitable[T]) -> T:
    """The same of a question about a message. That it can't be answered says nothing."""
    try:
        return await called(passage, _answerable(question))
    except _NoAnswer as nothing:
        raise nothing.unknown from None


def verdict_on(error: BaseException) -> Verdict:
    """What a call's failure says of the provider. Who refuses a message, or asks for patience, is well."""
    match error:
        case Misconfigured():
            return Verdict.UNUSABLE
        case ProviderRefused() | ProviderDeferred() | NotListedYet():
            return Verdict.WELL
        case NoConnectionFree():
            return Verdict.NOTHING
        case ProviderFailure():
            return Verdict.FAILED
        case _:
            return Verdict.NOTHING


def until_usable(way: Way, failure: Exception) -> None:
    """Have a job that found its provider unusable come back when somebody may try it again."""
    if isinstance(failure, ProviderFailure) and isinstance(failure, Unavailable) and way.breaker.is_open:
        failure.retry_after = failure.retry_after or way.breaker.rest()


class _NoAnswer(Exception):
    def __init__(self, unknown: OutcomeUnknown) -> None:
        super().__init__()
        self.unknown = unknown


async def _answerable(question: Awaitable[T]) -> T:
    try:
        return await question
    except OutcomeUnknown as unknown:
        raise _NoAnswer(unknown) from None


def _told(error: BaseException) -> str:
    return f"{error.code}: {error.message}" if isinstance(error, ProviderFailure) else type(error).__name__
