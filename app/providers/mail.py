"""Mail: what is sent, and who can send it."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail to one address. `key` names it for us, so it holds nothing personal."""

    to: str = field(repr=False)
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str | None = field(repr=False)
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Whom mails come from and where answers to them go.

    `list_unsubscribe` is the value of that header, as in `<https://shop.example/unsubscribe>`. Source: RFC 2369 3.2.
    """

    email: str
    name: str = "IndoStar Naturals"
    reply_to: str | None = None
    list_unsubscribe: str | None = None


class EmailProvider(Protocol):
    name: str

    async def send(self, mail: Mail, /) -> str:
        """Send once; the provider's id of the message.

        Raises ProviderRefused, ProviderNotDone, ProviderUnreachable, Misconfigured or ProviderOutcomeUnknown.
        """
        ...
