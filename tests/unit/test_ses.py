"""SES: the request it is sent, its signature, and what its answers mean."""

import json
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from pydantic import SecretStr

from app.providers.failures import (
    Misconfigured,
    ProviderDeferred,
    ProviderFailure,
    ProviderNotDone,
    ProviderOutcomeUnknown,
    ProviderRefused,
    ProviderUnreachable,
)
from app.providers.http import http_client
from app.providers.mail import EmailProvider, Mail, Sender
from app.providers.ses import Ses
from tests.contract_data import captured, specification

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "wJalrXUtnFEMI/K7MDENG"
MAIL = Mail(to="asha@example.com", subject="Receipt ₹45", text="hi", html=None, key="ntf_01")
SENDER = Sender(email="billing@dairy.example", name="")
REACHABLE = Sender(
    email="billing@dairy.example",
    name="Śri Dairy",
    reply_to="help@dairy.example",
    list_unsubscribe="<https://dairy.example/unsubscribe>",
)
ACCEPTED = httpx.Response(200, json={"MessageId": "m-1"})

Handler = Callable[[httpx.Request], httpx.Response]


def ses(answer: httpx.Response | Handler, *, sender: Sender = SENDER) -> EmailProvider:
    return Ses(
        http_client(transport=httpx.MockTransport(answer if callable(answer) else lambda _: answer)),
        base_url="https://email.ap-south-1.amazonaws.com",
        region="ap-south-1",
        access_key_id="AKIDEXAMPLE",
        secret_access_key=SecretStr(SECRET),
        sender=sender,
        configuration_set="events",
        now=lambda: NOW,
    )


async def sent(mail: Mail, sender: Sender = SENDER) -> httpx.Request:
    """The request that sending `mail` makes."""
    requests: list[httpx.Request] = []

    def accept(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return ACCEPTED

    assert await ses(accept, sender=sender).send(mail) == "m-1"
    (request,) = requests
    return request


async def failure(answer: httpx.Response) -> ProviderFailure:
    with pytest.raises(ProviderFailure) as caught:
        await ses(answer).send(MAIL)
    return caught.value


def credential(authorization: str) -> tuple[str, str, str, str]:
    """Key, region, service and version of an Authorization header; its date is that of the request."""
    key, _date, region, service, version = authorization.split("Credential=")[1].split(",", maxsplit=1)[0].split("/")
    return key, region, service, version


async def test_the_request_means_what_the_sdk_would_send() -> None:
    expected = captured("aws_sesv2_send_email")
    body = json.loads(expected.content)
    body["EmailTags"] = [{"Name": "message_key", "Value": "ntf_5F01"}]

    request = await sent(MAIL)

    assert (request.method, request.url.path) == (expected.method, expected.url.path)
    assert request.headers["Content-Type"] == expected.headers["Content-Type"]
    assert credential(request.headers["Authorization"]) == credential(expected.headers["Authorization"])
    assert json.loads(request.content) == body


async def test_the_signature_is_the_one_that_amazons_own_library_makes() -> None:
    request = await sent(MAIL)

    ours = request.headers["Authorization"]
    signed = ours.split("SignedHeaders=")[1].split(",")[0].split(";")
    theirs = AWSRequest(
        method="POST",
        url=str(request.url),
        data=request.content,
        headers={name: request.headers[name] for name in signed},
    )
    theirs.context["timestamp"] = request.headers["x-amz-date"]
    signer = SigV4Auth(Credentials("AKIDEXAMPLE", SECRET), "ses", "ap-south-1")
    signature = signer.signature(signer.string_to_sign(theirs, signer.canonical_request(theirs)), theirs)
    assert ours.endswith(f"Signature={signature}")
    assert {"content-type", "host", "x-amz-date"} <= set(signed)


@pytest.mark.parametrize("html", [None, "<p>₹45</p>"])
@pytest.mark.parametrize("sender", [SENDER, REACHABLE])
async def test_the_request_has_the_shape_that_the_sdk_knows(html: str | None, sender: Sender) -> None:
    shapes = specification("botocore_sesv2_SendEmail.json")["shapes"]

    request = await sent(Mail(to="a@example.com", subject="s", text="t", html=html, key="outbox:7:email"), sender)

    body = json.loads(request.content)
    assert list(misshapen(shapes, "SendEmailRequest", body)) == []
    assert set(body["Content"]["Simple"]["Body"]) == ({"Text"} if html is None else {"Text", "Html"})


def misshapen(shapes: dict[str, Any], name: str, value: Any) -> Iterator[str]:
    """What of `value` the shape of this name does not know."""
    shape = shapes[name]
    if shape["type"] == "structure":
        members = shape["members"]
        yield from (f"{name}.{key} is unknown" for key in value.keys() - members.keys())
        yield from (f"{name}.{key} is missing" for key in set(shape.get("required", [])) - value.keys())
        for key in value.keys() & members.keys():
            yield from misshapen(shapes, members[key]["shape"], value[key])
    elif shape["type"] == "list":
        for item in value:
            yield from misshapen(shapes, shape["member"]["shape"], item)
    elif not isinstance(value, str):
        yield f"{name} is {value!r}"


async def test_answers_go_where_the_shop_reads_them_and_mail_can_be_unsubscribed_from() -> None:
    body = json.loads((await sent(MAIL, REACHABLE)).content)

    assert body["FromEmailAddress"] == "=?utf-8?q?=C5=9Ari_Dairy?= <billing@dairy.example>"
    assert body["ReplyToAddresses"] == ["help@dairy.example"]
    assert body["Content"]["Simple"]["Headers"] == [
        {"Name": "List-Unsubscribe", "Value": "<https://dairy.example/unsubscribe>"}
    ]


@pytest.mark.parametrize(
    ("key", "tags"),
    [
        ("outbox:7:email", ["outbox_3A7_3Aemail"]),
        ("Ü 1", ["_C3_9C_201"]),
        ("x" * 256, ["x" * 256]),
        ("x" * 257, []),
    ],
)
async def test_a_key_becomes_a_tag_where_it_can_be_one(key: str, tags: list[str]) -> None:
    request = await sent(Mail(to="a@example.com", subject="s", text="t", html=None, key=key))

    assert [tag["Value"] for tag in json.loads(request.content).get("EmailTags", [])] == tags


@pytest.mark.parametrize(
    ("status", "kind", "outcome"),
    [
        (429, "TooManyRequestsException", ProviderDeferred),
        (400, "ThrottlingException", ProviderDeferred),
        (400, "Throttling", ProviderDeferred),
        (400, "LimitExceededException", ProviderDeferred),
        (408, "RequestTimeout", ProviderNotDone),
        (408, "RequestTimeoutException", ProviderNotDone),
        (503, "ServiceUnavailable", ProviderNotDone),
        (503, "ServiceUnavailableException", ProviderNotDone),
        (400, "MessageRejected", ProviderRefused),
        (400, "MailFromDomainNotVerifiedException", ProviderRefused),
        (400, "BadRequestException", ProviderRefused),
        (400, "AccountSuspendedException", ProviderRefused),
        (400, "SendingPausedException", ProviderRefused),
        (400, "ValidationException", ProviderRefused),
        (404, "NotFoundException", Misconfigured),
        (400, "AccessDeniedException", Misconfigured),
        (400, "NotAuthorized", Misconfigured),
        (403, "UnrecognizedClientException", Misconfigured),
        (403, "InvalidClientTokenId", Misconfigured),
        (403, "InvalidSignatureException", Misconfigured),
        (403, "SignatureDoesNotMatch", Misconfigured),
        (400, "IncompleteSignature", Misconfigured),
        (403, "MissingAuthenticationTokenException", Misconfigured),
        (403, "ExpiredTokenException", Misconfigured),
        (400, "RequestExpired", Misconfigured),
        (403, "OptInRequired", Misconfigured),
        (500, "InternalFailure", ProviderOutcomeUnknown),
    ],
)
@pytest.mark.parametrize("where", ["header", "body"])
async def test_what_a_type_of_error_means(status: int, kind: str, outcome: type[ProviderFailure], where: str) -> None:
    answer = (
        httpx.Response(status, json={"message": "no"}, headers={"x-amzn-errortype": f"{kind}:http://amazon.example/"})
        if where == "header"
        else httpx.Response(status, json={"Message": "no", "__type": f"com.amazonaws.ses#{kind}"})
    )

    error = await failure(answer)

    assert (type(error), error.code, error.message) == (outcome, kind, "no")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (302, Misconfigured),
        (400, ProviderRefused),
        (401, Misconfigured),
        (403, Misconfigured),
        (404, Misconfigured),
        (408, ProviderNotDone),
        (413, ProviderRefused),
        (429, ProviderDeferred),
        (500, ProviderOutcomeUnknown),
        (502, ProviderOutcomeUnknown),
        (503, ProviderNotDone),
        (504, ProviderOutcomeUnknown),
        (999, ProviderOutcomeUnknown),
    ],
)
async def test_what_a_status_means(status: int, outcome: type[ProviderFailure]) -> None:
    error = await failure(httpx.Response(status))

    assert (type(error), error.code) == (outcome, str(status))


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"MessageId": 7}', b'{"MessageId": ""}', b'{"MessageId": "a\\u0000"}', b"\xff"],
)
async def test_an_answer_that_can_not_be_read_may_have_taken_the_mail(body: bytes) -> None:
    assert type(await failure(httpx.Response(200, content=body))) is ProviderOutcomeUnknown


@pytest.mark.parametrize("body", [b"", b"<p>asha@example.com: hi</p>", b"[]", b'{"message": ["hi"]}', b"\xff"])
async def test_a_failure_that_is_not_the_providers_is_not_quoted(body: bytes) -> None:
    assert (await failure(httpx.Response(502, content=body))).message == "Bad Gateway"


async def test_a_type_that_is_none_is_not_repeated() -> None:
    answer = httpx.Response(400, json={"message": "no"}, headers={"x-amzn-errortype": "<script>" + "x" * 500})

    assert (await failure(answer)).code == "400"


@pytest.mark.parametrize("status", [400, 403, 429, 500])
async def test_a_failure_tells_neither_recipient_nor_text_nor_secret(status: int) -> None:
    error = await failure(httpx.Response(status, json={"message": f"{MAIL.to} is not verified"}))

    told = "".join(traceback.format_exception(error)) + repr(error)
    assert not [secret for secret in (MAIL.to, MAIL.subject, SECRET) if secret in told]


async def test_the_wait_that_it_asks_for_is_passed_on() -> None:
    assert (await failure(httpx.Response(429, headers={"Retry-After": "7"}))).retry_after == timedelta(seconds=7)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(httpx.ConnectError("down"), ProviderUnreachable), (httpx.ReadTimeout("slow"), ProviderOutcomeUnknown)],
)
async def test_no_answer(error: httpx.TransportError, outcome: type[ProviderFailure]) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(outcome):
        await ses(fail).send(MAIL)
