"""Razorpay as charges use it: what whoever counts its calls, and its breaker, are told of them."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.billing.gateway import GuardedRazorpay
from app.jobs.breaker import Breaker
from app.providers.failures import Misconfigured, ProviderFailure, ProviderOutcomeUnknown, ProviderRefused

REFUSED = {"error": {"code": "BAD_REQUEST_ERROR", "description": "The id provided does not exist"}}


async def told_of(answer: Callable[[httpx.Request], httpx.Response]) -> tuple[BaseException | None, Breaker]:
    """What the hook was told of one call that is answered like that."""
    calls: list[tuple[str, BaseException | None]] = []
    breaker = Breaker("razorpay")
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        gateway = GuardedRazorpay(
            client,
            breaker,
            base_url="http://fakes",
            key_id="rzp_test_1",
            key_secret=SecretStr("secret"),
            on_call=lambda provider, _seconds, error: calls.append((provider, error)),
        )
        with pytest.raises(ProviderFailure):
            _ = [order async for order in gateway.orders_like("-20260302")]
    [(provider, error)] = calls
    assert provider == "razorpay"
    return error, breaker


@pytest.mark.parametrize(
    ("status", "body", "kind", "opens"),
    [
        (401, {}, Misconfigured, True),
        (400, REFUSED, ProviderRefused, False),
        (500, {}, ProviderOutcomeUnknown, False),
        (502, {}, ProviderOutcomeUnknown, False),
    ],
)
async def test_a_call_is_counted_by_what_its_answer_means(
    status: int, body: Any, kind: type[ProviderFailure], opens: bool
) -> None:
    error, breaker = await told_of(lambda _request: httpx.Response(status, json=body))

    assert type(error) is kind
    assert breaker.is_open is opens


async def test_an_answer_that_can_not_be_read_is_still_an_answer() -> None:
    error, breaker = await told_of(lambda _request: httpx.Response(200, json={"id": "pay_1"}))

    assert error is None
    assert not breaker.is_open
