"""What Razorpay's errors mean for a charge and for a question, and how a charge stands by its answers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from app.providers.failures import (
    Misconfigured,
    NoConnectionFree,
    NotAnswered,
    ProviderDeferred,
    ProviderFailure,
    ProviderOutcomeUnknown,
    ProviderRefused,
    ProviderUnreachable,
)
from app.providers.payments.answers import DebitRefused, UnknownToGateway
from app.providers.payments.entities import GatewayPayment, GatewaySubscription, Invoice
from app.providers.payments.standing import Standing, standing_of_invoice, standing_of_order
from tests.unit.test_razorpay import (
    DEBIT,
    INVOICE,
    PAYMENT,
    SUBSCRIPTION,
    charge,
    create_order,
    fetch_payments,
    listing,
    razorpay,
)


def problem(status: int, code: str, description: str = "no", reason: str = "NA", **headers: str) -> httpx.Response:
    error = {"code": code, "description": description, "reason": reason, "source": "NA", "step": "NA", "metadata": []}
    return httpx.Response(
        status, json={"error": error}, headers={name.replace("_", "-"): headers[name] for name in headers}
    )


# Status, code, description; then what it means for what asks for something to be done, and for a question.
TABLE: list[tuple[int, str, str, type[ProviderFailure], type[ProviderFailure]]] = [
    (400, "BAD_REQUEST_ERROR", "no", ProviderRefused, UnknownToGateway),
    (404, "BAD_REQUEST_ERROR", "The id provided does not exist", ProviderRefused, UnknownToGateway),
    (400, "BAD_REQUEST_MANDATE_PROMISED_DEBIT_DATE_NOT_HONOURED", "no", ProviderRefused, UnknownToGateway),
    (400, "BAD_REQUEST_ERROR", "The api key provided is invalid", Misconfigured, Misconfigured),
    (401, "BAD_REQUEST_ERROR", "The api key provided is invalid", Misconfigured, Misconfigured),
    (401, "BAD_REQUEST_ERROR", "Authentication failed", Misconfigured, Misconfigured),
    (400, "BAD_REQUEST_ERROR", "Authentication failed due to incorrect otp", ProviderRefused, UnknownToGateway),
    (400, "BAD_REQUEST_ERROR", "Access Denied", Misconfigured, Misconfigured),
    (400, "BAD_REQUEST_ERROR", "The requested URL was not found on the server.", Misconfigured, Misconfigured),
    (429, "BAD_REQUEST_ERROR", "Too many requests", ProviderDeferred, NotAnswered),
    (429, "SERVER_ERROR", "Too many requests", ProviderDeferred, NotAnswered),
    (400, "GATEWAY_ERROR", "no", ProviderOutcomeUnknown, NotAnswered),
    (502, "GATEWAY_ERROR", "no", ProviderOutcomeUnknown, NotAnswered),
    (500, "SERVER_ERROR", "no", ProviderOutcomeUnknown, NotAnswered),
    (400, "SERVER_ERROR", "no", ProviderOutcomeUnknown, NotAnswered),
    (503, "SERVICE_UNAVAILABLE", "no", ProviderOutcomeUnknown, NotAnswered),
    (500, "BAD_REQUEST_ERROR", "no", ProviderOutcomeUnknown, NotAnswered),
    (400, "SOMETHING_NEW", "no", ProviderOutcomeUnknown, NotAnswered),
]
# Not Razorpay's own word: a proxy's, a load balancer's, or nobody's.
PAGES: list[tuple[int, type[ProviderFailure], type[ProviderFailure]]] = [
    (301, Misconfigured, Misconfigured),
    (302, Misconfigured, Misconfigured),
    (400, ProviderOutcomeUnknown, NotAnswered),
    (401, Misconfigured, Misconfigured),
    (403, ProviderOutcomeUnknown, NotAnswered),
    (404, ProviderOutcomeUnknown, NotAnswered),
    (408, ProviderOutcomeUnknown, NotAnswered),
    (429, ProviderDeferred, NotAnswered),
    (500, ProviderOutcomeUnknown, NotAnswered),
    (502, ProviderOutcomeUnknown, NotAnswered),
    (504, ProviderOutcomeUnknown, NotAnswered),
]


def unpaid_after(answer: httpx.Response) -> Any:
    """A gateway that answers so what changes something, and lists no payment of the order."""

    def handler(request: httpx.Request) -> httpx.Response:
        return answer if request.method == "POST" else httpx.Response(200, json=listing())

    return razorpay(handler)


@pytest.mark.parametrize(("status", "code", "description", "of_a_charge", "of_a_question"), TABLE)
async def test_what_an_error_means(
    status: int,
    code: str,
    description: str,
    of_a_charge: type[ProviderFailure],
    of_a_question: type[ProviderFailure],
) -> None:
    answer = problem(status, code, description)

    for ask in (charge, create_order):
        with pytest.raises(ProviderFailure) as caught:
            await ask(unpaid_after(answer))
        assert (type(caught.value), caught.value.code) == (of_a_charge, code)
    with pytest.raises(ProviderFailure) as caught:
        await fetch_payments(razorpay(answer))
    assert (type(caught.value), caught.value.code) == (of_a_question, code)


@pytest.mark.parametrize(("status", "of_a_charge", "of_a_question"), PAGES)
@pytest.mark.parametrize("content", [b"<html>a@example.com</html>", b"", b'{"error": "no"}', b'{"error": {"code": 7}}'])
async def test_what_somebody_elses_page_means(
    status: int, of_a_charge: type[ProviderFailure], of_a_question: type[ProviderFailure], content: bytes
) -> None:
    answer = httpx.Response(status, content=content)

    with pytest.raises(ProviderFailure) as of_charge:
        await charge(unpaid_after(answer))
    with pytest.raises(ProviderFailure) as of_question:
        await fetch_payments(razorpay(answer))

    assert (type(of_charge.value), type(of_question.value)) == (of_a_charge, of_a_question)
    assert "example.com" not in str(of_charge.value)


@pytest.mark.parametrize(
    ("error", "of_a_charge", "of_a_question"),
    [
        (httpx.ConnectError("no"), ProviderUnreachable, ProviderUnreachable),
        (httpx.ConnectTimeout("no"), ProviderUnreachable, ProviderUnreachable),
        (httpx.PoolTimeout("no"), NoConnectionFree, NoConnectionFree),
        (httpx.ReadTimeout("no"), ProviderOutcomeUnknown, NotAnswered),
        (httpx.WriteTimeout("no"), ProviderOutcomeUnknown, NotAnswered),
        (httpx.ReadError("no"), ProviderOutcomeUnknown, NotAnswered),
        (httpx.RemoteProtocolError("no"), ProviderOutcomeUnknown, NotAnswered),
    ],
)
async def test_what_no_answer_means(
    error: httpx.RequestError, of_a_charge: type[ProviderFailure], of_a_question: type[ProviderFailure]
) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(ProviderFailure) as of_charge:
        await charge(razorpay(fail))
    with pytest.raises(ProviderFailure) as of_question:
        await fetch_payments(razorpay(fail))

    assert (type(of_charge.value), type(of_question.value)) == (of_a_charge, of_a_question)


async def test_a_refusal_has_razorpays_reason_and_words() -> None:
    answer = problem(
        400,
        "BAD_REQUEST_ERROR",
        f"{DEBIT.contact} has no account.",
        reason="insufficient_funds",
        X_Razorpay_Request_Id="7f3a",
    )

    with pytest.raises(ProviderRefused) as refused:
        await charge(unpaid_after(answer))

    assert str(refused.value) == (
        "razorpay refused the request (insufficient_funds): <recipient> has no account. [request 7f3a]"
    )


async def test_the_wait_that_it_asks_for_is_passed_on() -> None:
    answer = problem(429, "BAD_REQUEST_ERROR", Retry_After="7")

    with pytest.raises(ProviderDeferred) as of_charge:
        await charge(razorpay(answer))
    with pytest.raises(NotAnswered) as of_question:
        await fetch_payments(razorpay(answer))

    assert of_charge.value.retry_after == of_question.value.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize(
    ("statuses", "how"),
    [
        ([], ProviderRefused),
        (["failed"], DebitRefused),
        (["created"], ProviderOutcomeUnknown),
        (["failed", "authorized"], ProviderOutcomeUnknown),
        (["captured"], ProviderOutcomeUnknown),
        (["refunded", "captured"], ProviderOutcomeUnknown),
    ],
)
async def test_a_refusal_counts_only_if_the_order_is_unpaid(statuses: list[str], how: type[ProviderFailure]) -> None:
    payments = [PAYMENT | {"status": status} for status in statuses]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return problem(400, "BAD_REQUEST_ERROR", "Payment already done for this order.")
        return httpx.Response(200, json=listing(*payments))

    with pytest.raises(ProviderFailure) as caught:
        await charge(razorpay(answer))

    assert type(caught.value) is how


@pytest.mark.parametrize("status", [302, 400, 401, 429, 500])
async def test_a_refusal_that_can_not_be_confirmed_is_none(status: int) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return problem(400 if request.method == "POST" else status, "BAD_REQUEST_ERROR")

    with pytest.raises(ProviderOutcomeUnknown):
        await charge(razorpay(answer))


@pytest.mark.parametrize(
    ("statuses", "standing"),
    [
        ([], Standing.UNKNOWN),
        (["created"], Standing.PENDING),
        (["authorized"], Standing.PENDING),
        (["captured"], Standing.CAPTURED),
        (["failed"], Standing.REFUSED),
        (["refunded"], Standing.REFUSED),
        (["refunded", "failed"], Standing.REFUSED),
        (["refunded", "authorized"], Standing.PENDING),
        (["failed", "failed"], Standing.REFUSED),
        (["failed", "created"], Standing.PENDING),
        (["failed", "captured"], Standing.CAPTURED),
        (["created", "captured"], Standing.CAPTURED),
        (["captured", "captured"], Standing.UNKNOWN),
        (["refunded", "captured"], Standing.CAPTURED),
        (["captured", "refunded", "captured"], Standing.UNKNOWN),
    ],
)
def test_how_an_order_stands(statuses: list[str], standing: Standing) -> None:
    payments = [GatewayPayment.model_validate(PAYMENT | {"status": status}) for status in statuses]

    assert standing_of_order(payments) is standing


OPEN = ["created", "authenticated", "active", "pending", "paused"]
CLOSED = ["halted", "cancelled", "completed", "expired"]


@pytest.mark.parametrize(
    ("invoice", "subscriptions", "standing"),
    [
        (None, OPEN, Standing.PENDING),
        (None, CLOSED, Standing.REFUSED),
        ("draft", OPEN, Standing.PENDING),
        ("issued", OPEN, Standing.PENDING),
        ("issued", CLOSED, Standing.REFUSED),
        ("paid", [*OPEN, *CLOSED], Standing.CAPTURED),
        ("partially_paid", [*OPEN, *CLOSED], Standing.UNKNOWN),
        ("expired", [*OPEN, *CLOSED], Standing.REFUSED),
        ("cancelled", [*OPEN, *CLOSED], Standing.REFUSED),
        ("deleted", [*OPEN, *CLOSED], Standing.REFUSED),
    ],
)
def test_how_a_period_of_razorpays_own_subscription_stands(
    invoice: str | None, subscriptions: list[str], standing: Standing
) -> None:
    bill = invoice and Invoice.model_validate(INVOICE | {"status": invoice})

    assert {
        standing_of_invoice(bill or None, GatewaySubscription.model_validate(SUBSCRIPTION | {"status": status}))
        for status in subscriptions
    } == {standing}


def test_times_are_told_in_utc() -> None:
    assert GatewayPayment.model_validate(PAYMENT).created_at == datetime(2026, 1, 5, 8, tzinfo=UTC)
