"""Twilio's list of Messages: filters and pages."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.dev.fakes.inbox import Message


class Period(NamedTuple):
    """`end` is not part of it."""

    start: datetime
    end: datetime


def _period(value: str) -> Period:
    """A day or a second, in GMT where nothing else is said."""
    if len(value) == len("2026-03-01"):
        day = datetime.combine(date.fromisoformat(value), time(), UTC)
        return Period(day, day + timedelta(days=1))
    moment = datetime.fromisoformat(value)
    moment = moment.replace(tzinfo=moment.tzinfo or UTC)
    return Period(moment, moment + timedelta(seconds=1))


SentWithin = Annotated[Period | None, BeforeValidator(_period)]


class Page(NamedTuple):
    """Newest first. A token leads to the page after (PA) or before (PB) the message that it names."""

    messages: Sequence[Message]
    next_token: str | None
    previous_token: str | None


class ListQuery(BaseModel):
    """The query of a list request. The real one ignores other names, so that a misspelt filter finds all."""

    model_config = ConfigDict(extra="forbid")

    to: str | None = Field(default=None, alias="To")
    from_: str | None = Field(default=None, alias="From")
    sent_on: SentWithin = Field(default=None, alias="DateSent")
    sent_since: SentWithin = Field(default=None, alias="DateSent>")
    sent_until: SentWithin = Field(default=None, alias="DateSent<")
    page_size: int = Field(default=50, ge=1, le=1000, alias="PageSize")
    page: int = Field(default=0, ge=0, alias="Page")
    token: str | None = Field(default=None, pattern=r"^P[AB]SM[0-9a-f]{32}$", alias="PageToken")

    def matches(self, message: Message) -> bool:
        # The real one keeps whole seconds, too: asking for "since now" with a fraction misses what was sent now.
        sent = message.received_at.replace(microsecond=0)
        return (
            (self.to is None or self.to in message.to)
            and (self.from_ is None or self.from_ == message.sender)
            and (self.sent_on is None or self.sent_on.start <= sent < self.sent_on.end)
            and (self.sent_since is None or self.sent_since.start <= sent)
            and (self.sent_until is None or sent < self.sent_until.end)
        )

    def page_of(self, messages: Sequence[Message]) -> Page:
        """Raises LookupError when the token names none of `messages`."""
        start = 0
        if self.token is not None:
            direction, sid = self.token[:2], self.token[2:]
            named = next((index for index, message in enumerate(messages) if message.id == sid), None)
            if named is None:
                raise LookupError(sid)
            start = named + 1 if direction == "PA" else max(0, named - self.page_size)
        shown = messages[start : start + self.page_size]
        return Page(
            shown,
            next_token=f"PA{shown[-1].id}" if start + len(shown) < len(messages) else None,
            previous_token=f"PB{shown[0].id}" if start else None,
        )
