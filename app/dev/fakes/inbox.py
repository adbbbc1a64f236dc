"""What the fake providers accepted, and how often each was asked."""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import islice

MESSAGES_KEPT = 10_000


class Provider(StrEnum):
    SENDGRID = "sendgrid"
    SES = "ses"
    SMTP = "smtp"
    TWILIO = "twilio"
    MSG91 = "msg91"
    RAZORPAY = "razorpay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One mail or SMS. `details` is what else the provider was told: custom arguments, a template's variables, ..."""

    id: str
    provider: Provider
    sender: str
    to: tuple[str, ...]
    subject: str | None = None
    text: str | None = None
    html: str | None = None
    details: dict[str, str]
    headers: dict[str, str]
    received_at: datetime


@dataclass(slots=True)
class Count:
    """`answers` counts the requests by the status they were answered with, or "none"."""

    requests: int = 0
    messages: int = 0
    answers: Counter[str] = field(default_factory=Counter)


class Inbox:
    """The last 10,000 messages accepted. Counts go on for those that were dropped."""

    def __init__(self) -> None:
        self._messages: deque[Message]
        self.counts: dict[Provider, Count]
        self.clear()

    def clear(self) -> None:
        self._messages = deque(maxlen=MESSAGES_KEPT)
        self.counts = {provider: Count() for provider in Provider}

    def add(self, message: Message) -> None:
        self._messages.append(message)
        self.counts[message.provider].messages += 1

    def find(
        self, provider: Provider | None = None, to: str | None = None, limit: int = MESSAGES_KEPT
    ) -> list[Message]:
        """The newest messages first, at most `limit`."""
        found = (
            message
            for message in reversed(self._messages)
            if provider in (None, message.provider) and (to is None or to in message.to)
        )
        return list(islice(found, limit))

    def get(self, message_id: str) -> Message | None:
        return next((message for message in reversed(self._messages) if message.id == message_id), None)

    def __iter__(self) -> Iterator[Message]:
        """Oldest first."""
        return iter(self._messages)

    def __len__(self) -> int:
        return len(self._messages)
