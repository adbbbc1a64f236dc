"""SMS: what is sent, and who can send it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Sms:
    """One text to one number in E.164. `key` names it for us, so it holds nothing personal.

    `template` is the type of notification, None for free text, and `variables` are what that type's text was filled
    in with: some providers are given these instead of the text. `locale` is the language of that text.
    """

    to: str = field(repr=False)
    text: str = field(repr=False)
    key: str
    template: str | None = None
    locale: str = "en"
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)


class SmsProvider(Protocol):
    name: str

    def carries(self, template: str | None, locale: str, /) -> bool:
        """Whether it can send the text of this type in this language, or free text (None), at all.

        It refuses others without a request.
        """
        ...

    async def send(self, sms: Sms, /) -> str:
        """Send once; the provider's id of the message.

        Raises ProviderRefused, ProviderNotDone, ProviderUnreachable, Misconfigured or ProviderOutcomeUnknown.
        """
        ...

    async def find(self, sms: Sms, /, *, since: datetime, until: datetime) -> str | None:
        """Id of the message that the provider accepted between the two times, None if it certainly has none.

        Raises ProviderOutcomeUnknown if it can't tell, NotListedYet if it is too early to, and the failures of a call
        that was not answered, after which asking again may help.
        """
        ...
