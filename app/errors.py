"""What a failure means for what happens next.

    Exception
    ├── Refused          the other side said no: recorded, never tried again
    ├── NotDone          certainly did not happen: tried again by policy
    │   └── Unavailable  nobody was there to say no: put off, costs no try
    └── OutcomeUnknown   may have happened: asked about first

Every named error of this project is one of these. Any other exception is a programming error and is tried
again by policy.
"""

from datetime import timedelta


class Refused(Exception):
    """The other side said no, in its own words. The same request would be refused again."""


class NotDone(Exception):
    """Certainly did not happen; trying again is safe.

    `retry_after` is the other side's own wish (a Retry-After header) and wins over the policy's wait.
    """

    def __init__(self, *args: object, retry_after: timedelta | None = None) -> None:
        super().__init__(*args)
        self.retry_after = retry_after


class Unavailable(NotDone):
    """A whole service could not be reached or can't be used now: waiting for it costs no try."""


class OutcomeUnknown(Exception):
    """May have happened. Whoever raises it could not find out; whoever catches it must not assume."""
