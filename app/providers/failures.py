"""What providers' failures mean: errors named after the outcome, without secrets and recipients."""

import re
from datetime import timedelta
from typing import ClassVar

from app.errors import NotDone, OutcomeUnknown, Refused, Unavailable

# PostgreSQL stores no NUL, UTF-8 has no surrogates, and a log line stays one.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
MAX_WORDS = 300  # a provider's sentence; what is longer is an error page


class ProviderFailure(Exception):
    """A call to a provider that did not succeed.

    `code` and `message` are the provider's own; `retry_after` is how long to wait before asking again; `request_id` is
    its name for the call, which its support asks for.
    """

    outcome: ClassVar[str]

    def __init__(
        self,
        provider: str,
        code: str,
        message: str,
        *,
        retry_after: timedelta | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(provider, code, message)
        self.provider = provider
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.request_id = request_id

    @property
    def in_short(self) -> str:
        """Without the provider's own words."""
        return f"{self.provider} {self.outcome} ({self.code})"

    def __str__(self) -> str:
        request = f" [request {self.request_id}]" if self.request_id else ""
        return f"{self.in_short}: {self.message}{request}"


class ProviderRefused(ProviderFailure, Refused):
    """The provider said no to this request."""

    outcome = "refused the request"


class ProviderNotDone(ProviderFailure, NotDone):
    """The provider could not take the request now: too many requests, or an error of its own."""

    outcome = "did not take the request"


class ProviderDeferred(ProviderNotDone):
    """The provider is well, and wants this request later: we send too fast, or a mailbox is full."""

    outcome = "deferred the request"


class ProviderUnreachable(ProviderFailure, Unavailable):
    """No connection to the provider: nothing was sent."""

    outcome = "can't be reached"


class NoConnectionFree(ProviderUnreachable):
    """All connections that we allow ourselves are in use: nothing was sent."""


class NotAnswered(ProviderFailure, NotDone):
    """A question that got no answer. It can be asked again, and tells nothing about what was asked about."""

    outcome = "did not answer"


class NotListedYet(ProviderFailure, Unavailable):
    """The provider's list can't show yet what was sent a moment ago: ask again after `retry_after`."""

    outcome = "can't tell yet whether it has the request"


class Misconfigured(ProviderFailure, Unavailable):
    """The provider does not know our keys, or is not what answers at its URL: a person must correct the settings."""

    outcome = "can't be used with these settings"


class ProviderOutcomeUnknown(ProviderFailure, OutcomeUnknown):
    """The provider may have done what was asked."""

    outcome = "may have done what was asked"


def masked(words: str, recipient: str) -> str:
    """`words`, printable, without the recipient: an address, or a number in E.164, also if starred out in part."""
    pattern = rf"\+?{re.escape(recipient[1:6])}[\dX*]*" if recipient.startswith("+") else re.escape(recipient)
    return printable(re.sub(pattern, "<recipient>", words, flags=re.IGNORECASE))


def printable(words: str) -> str:
    """`words` on one line, as logs and tables can hold them, and no more of them than a person would read."""
    return _UNPRINTABLE.sub(" ", words)[:MAX_WORDS]
