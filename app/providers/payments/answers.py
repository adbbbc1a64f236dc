"""What Razorpay's answers mean: its errors by their table, and answers that are not what was asked for."""

import re
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, TypeVar

import httpx
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from app.providers.failures import (
    MAX_WORDS,
    Misconfigured,
    ProviderDeferred,
    ProviderFailure,
    ProviderOutcomeUnknown,
    ProviderRefused,
    masked,
)
from app.providers.http import retry_after
from app.providers.payments.entities import GatewayPayment

NAME: Final = "razorpay"

# Sentences that blame our account or settings, and say nothing about the charge. Source: Razorpay, Common Errors.
_OUR_FAULT: Final = frozenset(
    {
        "the api key provided is invalid",
        "authentication failed",
        "access denied",
        "the requested url was not found on the server",
    }
)
_NOT_UNIQUE: Final = "receipt should be unique"
# Our code for a 2xx answer that must not be believed.
UNACCEPTABLE: Final = "unacceptable_answer"

M = TypeVar("M", bound=BaseModel)


class ReceiptTaken(ProviderRefused):
    """There is an order with this receipt already, and the account allows only one."""


class UnknownToGateway(ProviderOutcomeUnknown):
    """What was asked about is nothing that Razorpay knows, which is no word on a charge: the keys may be another
    account's."""


class DebitRefused(ProviderRefused):
    """A request to pay was refused, and its order has `payments` that failed: banks may authorise them late."""

    def __init__(
        self,
        provider: str,
        code: str,
        message: str,
        *,
        payments: Sequence[GatewayPayment] = (),
        request_id: str | None = None,
    ) -> None:
        super().__init__(provider, code, message, request_id=request_id)
        self.payments = payments


class _Error(BaseModel):
    code: str
    description: str = ""
    reason: str | None = None
    field: str | None = None

    @property
    def cause(self) -> str:
        """The reason, which tells most; Razorpay writes NA where it has none."""
        return self.code if self.reason in (None, "", "NA") else str(self.reason)


class _Problem(BaseModel):
    error: _Error


def failure(answer: httpx.Response, *, hide: Collection[str], now: datetime) -> ProviderFailure:
    """What an answer other than 2xx means for the request. `hide` is left out of its words: addresses, numbers.

    Only Razorpay's own word in a 4xx is a refusal: a proxy's page, or an error on its way to the bank, is none.
    """
    try:
        error = _Problem.model_validate_json(answer.content).error
    except ValidationError:  # not Razorpay's words: a proxy's page might quote the request
        error = _Error(code=str(answer.status_code), description=answer.reason_phrase)
    words = f"{error.description} ({error.field})" if error.field else error.description
    for secret in hide:
        words = masked(words, secret)
    return _outcome(answer.status_code, error)(
        NAME,
        error.cause,
        words[:MAX_WORDS],
        retry_after=retry_after(answer, now),
        request_id=request_id(answer),
    )


def _outcome(status: int, error: _Error) -> type[ProviderFailure]:
    sentence = error.description.rstrip(".").lower()
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return ProviderDeferred
    if status == httpx.codes.UNAUTHORIZED or status // 100 == 3:
        return Misconfigured
    if status // 100 != 4 or not error.code.startswith("BAD_REQUEST_"):
        return ProviderOutcomeUnknown
    if sentence in _OUR_FAULT:
        return Misconfigured
    return ReceiptTaken if _NOT_UNIQUE in sentence else ProviderRefused


def parsed(model: type[M], answer: httpx.Response) -> M:
    """The body of a 2xx answer. Raises ProviderOutcomeUnknown, with what was said, if it is not of this form."""
    try:
        return model.model_validate_json(answer.content)
    except ValidationError as invalid:
        said = "; ".join(map(_told, invalid.errors()))[:MAX_WORDS]
        # Not chained: pydantic's error holds on to the whole answer.
        raise unacceptable(answer, said) from None


def unacceptable(answer: httpx.Response, said: str) -> ProviderOutcomeUnknown:
    """What to raise for a 2xx answer that must not be believed."""
    return ProviderOutcomeUnknown(
        NAME, UNACCEPTABLE, f"its answer can't be accepted: {said}", request_id=request_id(answer)
    )


def demand(answer: httpx.Response, field: str, expected: object, said: object) -> None:
    """Raises ProviderOutcomeUnknown, with what was said, unless it is what we expect."""
    if said != expected:
        raise unacceptable(answer, f"{field} is {_shown(said)}, not {expected}")


def request_id(answer: httpx.Response) -> str | None:
    """What Razorpay calls this request; None where it does not say."""
    return str(answer.headers.get("X-Razorpay-Request-Id", "")) or None


def _told(error: ErrorDetails) -> str:
    where = ".".join(map(str, error["loc"]))
    problem = error["msg"].removeprefix("Value error, ")
    if error["type"] in ("missing", "value_error", "json_invalid"):
        return f"{where}: {problem}" if where else problem
    return f"{where}: {problem}, and is {_shown(error['input'])}"


def _shown(value: object) -> str:
    """Ids, words and amounts as they are; of anything else, which might be personal, only its type."""
    text = str(value)
    harmless = re.fullmatch(r"[A-Za-z]+([_-][A-Za-z0-9]+)*|-?[0-9.]{1,9}", text) if _is_scalar(value) else None
    return text[:40] if harmless else f"a {type(value).__name__}"


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float))
