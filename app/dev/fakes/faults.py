"""Faults on demand: what goes wrong, for whom and how often."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.dev.fakes import msg91, razorpay_errors, sendgrid, ses, smtp_replies, twilio
from app.dev.fakes.inbox import Provider
from app.dev.fakes.provider import Operation

REFUSALS: Mapping[Provider, Collection[int] | Collection[str]] = {
    Provider.SENDGRID: sendgrid.REFUSALS,
    Provider.SES: ses.REFUSALS,
    Provider.SMTP: smtp_replies.REFUSALS,
    Provider.TWILIO: twilio.REFUSALS,
    Provider.MSG91: msg91.REFUSALS,
    Provider.RAZORPAY: razorpay_errors.REFUSALS,
}
OPERATIONS: Mapping[Provider, Sequence[Operation]] = {
    Provider.SENDGRID: ("send", "lookup"),
    Provider.SES: ("send",),
    Provider.SMTP: ("send",),
    Provider.TWILIO: ("send", "lookup"),
    Provider.MSG91: ("send",),
    Provider.RAZORPAY: ("order", "charge", "lookup"),
}


class _Fault(BaseModel):
    """`times` counts the requests it still strikes; without it, it strikes until it is removed.

    `recipient` is an address or a number; of Razorpay's a receipt, an order, a customer or a token.
    """

    model_config = ConfigDict(extra="forbid")

    provider: Provider
    on: Operation = "send"
    recipient: str | None = None
    times: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _a_lookup_has_no_recipient(self) -> Self:
        if self.on == "lookup" and self.recipient is not None:
            raise ValueError("recipient picks what is being sent; leave it out for on=lookup")
        return self

    @model_validator(mode="after")
    def _the_provider_is_asked_for_it(self) -> Self:
        known = OPERATIONS[self.provider]
        if self.on not in known:
            raise ValueError(f"{self.provider} is asked for {', '.join(known)}; set `on` to one of these")
        return self


class Latency(_Fault):
    """The request is worked on at once, but the answer takes its time, or comes when the faults are removed."""

    kind: Literal["latency"] = "latency"
    milliseconds: int = Field(ge=1, le=3_600_000)


class Failure(_Fault):
    """Nothing is accepted, or (`takes_effect`) all is, and only the answer says otherwise.

    Razorpay's 502 is its GATEWAY_ERROR. `retry_after` and `rate_limit_reset` are seconds from now, sent as headers
    (not by SMTP).
    """

    kind: Literal["failure"] = "failure"
    status: Literal[429, 500, 502, 503]
    takes_effect: bool = False
    retry_after: int | None = Field(default=None, ge=0)
    rate_limit_reset: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _too_many_is_never_done(self) -> Self:
        if self.takes_effect and self.status == 429:
            raise ValueError("takes_effect is for 500, 502 and 503; what is answered with 429 was never done")
        return self


class Refusal(_Fault):
    """Nothing is accepted; `code` is the provider's error code; SendGrid's and SES's are their statuses.

    Razorpay's is its reason.
    """

    kind: Literal["refusal"] = "refusal"
    code: int | str

    @model_validator(mode="after")
    def _code_is_one_of_the_providers(self) -> Self:
        known = REFUSALS[self.provider]
        if self.code not in known:
            raise ValueError(f"{self.provider} refuses with {', '.join(sorted(map(str, known)))}")
        return self


class Breakage(_Fault):
    """All but `dropped_before` leave the message accepted, and the client not knowing.

    `wrong_json` is half an answer, also where that is none in JSON.
    """

    kind: Literal["no_answer", "dropped_before", "dropped_after", "wrong_json"]


Fault = Annotated[Latency | Failure | Refusal | Breakage, Field(discriminator="kind")]


Struck = tuple[float, Failure | Refusal | Breakage | None]
"""What befalls a request: seconds of latency, and a fault."""


class Faults:
    """The active faults, oldest first."""

    def __init__(self) -> None:
        self._active: list[Fault] = []
        self._cleared = asyncio.Event()

    def add(self, fault: Fault) -> None:
        self._active.append(fault.model_copy())

    def clear(self) -> None:
        self._active.clear()
        self._cleared.set()
        self._cleared = asyncio.Event()

    async def last(self, seconds: float) -> None:
        """Returns after so many seconds, or when the faults of now are removed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._cleared.wait()

    def active(self) -> list[Fault]:
        return list(self._active)

    def strike(self, provider: Provider, operation: Operation, recipients: Sequence[str]) -> Struck:
        """What befalls this request: seconds of latency (all that match add up) and the first other fault."""
        seconds = 0.0
        struck: Failure | Refusal | Breakage | None = None
        for fault in self._active:
            if (fault.provider, fault.on) != (provider, operation):
                continue
            if fault.recipient is not None and fault.recipient not in recipients:
                continue
            if isinstance(fault, Latency):
                seconds += fault.milliseconds / 1000
            elif struck is None:
                struck = fault
            else:
                continue
            if fault.times is not None:
                fault.times -= 1
        self._active = [fault for fault in self._active if fault.times != 0]
        return seconds, struck
