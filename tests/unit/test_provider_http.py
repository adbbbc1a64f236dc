"""Failures of the way to a provider, and the waits that providers ask for."""

import pickle
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.providers.failures import (
    Misconfigured,
    NoConnectionFree,
    ProviderFailure,
    ProviderNotDone,
    ProviderOutcomeUnknown,
    ProviderUnreachable,
    masked,
    printable,
)
from app.providers.http import AnswerTooLarge, exchange, http_client, retry_after

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EPOCH = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (httpx.ConnectError("no"), ProviderUnreachable),
        (httpx.ConnectTimeout("no"), ProviderUnreachable),
        (httpx.PoolTimeout("no"), NoConnectionFree),
        (httpx.LocalProtocolError("no"), Misconfigured),
        (httpx.UnsupportedProtocol("no"), Misconfigured),
        (httpx.ReadTimeout("no"), ProviderOutcomeUnknown),
        (httpx.ReadError("no"), ProviderOutcomeUnknown),
        (httpx.WriteTimeout("no"), ProviderOutcomeUnknown),
        (httpx.WriteError("no"), ProviderOutcomeUnknown),
        (httpx.RemoteProtocolError("no"), ProviderOutcomeUnknown),
        (httpx.DecodingError("no"), ProviderOutcomeUnknown),
        (AnswerTooLarge("no"), ProviderOutcomeUnknown),
    ],
)
async def test_no_answer_is_sorted_by_whether_anything_was_sent(
    error: httpx.RequestError, outcome: type[ProviderFailure]
) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    async with http_client(transport=httpx.MockTransport(fail)) as client:
        with pytest.raises(ProviderFailure) as caught:
            await exchange(client, "sendgrid", client.build_request("POST", "https://api.sendgrid.com/"))

    assert type(caught.value) is outcome
    assert (caught.value.provider, caught.value.code) == ("sendgrid", type(error).__name__)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": "0"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "86400"}, 3600),
        ({"Retry-After": "9" * 5000}, None),
        ({"Retry-After": "Sun, 01 Mar 2026 12:01:30 GMT"}, 90),
        ({"Retry-After": "Sun, 01 Mar 2026 12:01:30 -0000"}, 90),
        ({"Retry-After": "Sun, 01 Mar 2026 11:59:00 GMT"}, None),
        ({"X-RateLimit-Reset": str(EPOCH + 30)}, 30),
        ({"X-RateLimit-Reset": str(EPOCH - 30)}, None),
        ({"X-RateLimit-Reset": str(EPOCH + 86400)}, 3600),
        ({"X-RateLimit-Reset": "soon"}, None),
        ({"Retry-After": "5", "X-RateLimit-Reset": str(EPOCH + 30)}, 5),
        ({"Retry-After": "soon", "X-RateLimit-Reset": str(EPOCH + 30)}, 30),
    ],
)
def test_the_wait_a_provider_asks_for(headers: dict[str, str], wait: int | None) -> None:
    expected = None if wait is None else timedelta(seconds=wait)

    assert retry_after(httpx.Response(429, headers=headers), NOW) == expected


HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=126))


@given(
    HEADER
    | st.from_regex(r"\A\d{1,2} Nov \d{4,20} \d\d:\d\d [+-]\d{4,20}\Z", alphabet=st.characters(max_codepoint=126)),
    HEADER,
)
@example("1 Nov 99999999999 00:00", "9999999999")
@example("Sun, 01 Mar 2026 12:01:30 +99999999999999", "")
def test_a_wait_is_reasonable_whatever_the_headers_say(after: str, reset: str) -> None:
    response = httpx.Response(503, headers={"Retry-After": after, "X-RateLimit-Reset": reset})

    wait = retry_after(response, NOW)

    assert wait is None or timedelta(0) < wait <= timedelta(hours=1)


@pytest.mark.parametrize(
    ("words", "recipient", "expected"),
    [
        ("To +919812345678 failed", "+919812345678", "To <recipient> failed"),
        ("To 919812345678 failed", "+919812345678", "To <recipient> failed"),
        ("To +91981xxxx failed", "+919812345678", "To <recipient> failed"),
        ("From +15005550006 failed", "+919812345678", "From +15005550006 failed"),
        ("ASHA@example.com bounced", "asha@example.com", "<recipient> bounced"),
        ("asha.k@example.com", "asha+k@example.com", "asha.k@example.com"),
        ("a+b@example.com bounced", "a+b@example.com", "<recipient> bounced"),
        ("x" * 1000, "a@example.com", "x" * 300),
    ],
)
def test_words_are_passed_on_without_the_recipient(words: str, recipient: str, expected: str) -> None:
    assert masked(words, recipient) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("nul\0 and\r\nlines\u2028", "nul  and  lines "),
        ("half a \ud83d character", "half a   character"),
        ("दूध ₹45 😀", "दूध ₹45 😀"),
        ("x" * 1_000_000, "x" * 300),
    ],
)
def test_words_are_what_a_table_can_hold(words: str, expected: str) -> None:
    assert printable(words) == masked(words, "asha@example.com") == expected
    assert expected.encode()


def test_a_failure_survives_travel() -> None:
    failure = ProviderNotDone("sendgrid", "429", "too many requests", retry_after=timedelta(seconds=5))

    arrived = pickle.loads(pickle.dumps(failure))

    assert str(arrived) == str(failure) == "sendgrid did not take the request (429): too many requests"
    assert str(ProviderNotDone(*failure.args)) == str(failure)
    assert arrived.retry_after == timedelta(seconds=5)


def test_a_failure_names_the_call_for_the_providers_support() -> None:
    failure = ProviderOutcomeUnknown("razorpay", "SERVER_ERROR", "internal error", request_id="7f3a")

    arrived = pickle.loads(pickle.dumps(failure))

    assert str(arrived) == "razorpay may have done what was asked (SERVER_ERROR): internal error [request 7f3a]"
