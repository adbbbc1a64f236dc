"""The fakes as a server: real bytes in, and an end that nothing holds up."""

import asyncio
import re
import signal
import socket

import httpx
import pytest

from app.dev.fakes import Fakes, running_fakes, serve
from app.dev.fakes.faults import Breakage, Latency
from app.dev.fakes.inbox import Provider
from tests.contract_data import CONTRACTS
from tests.waiting import PATIENCE, until


async def exchanged(fakes: Fakes, request: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(fakes.url).port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length
    body = await reader.readexactly(int(length[1]))
    writer.close()
    await writer.wait_closed()
    return int(head.split(b" ")[1]), body


async def test_the_bytes_of_the_official_sdks_are_understood() -> None:
    captures = CONTRACTS / "captures"
    expected = {
        "sendgrid_dynamic_template": 202,
        "sendgrid_mail_send": 202,
        "twilio_message_from": 201,
        "twilio_message_service": 201,
        "twilio_messages_list": 200,
    }

    async with running_fakes() as fakes:
        answers = {name: await exchanged(fakes, (captures / f"{name}.http").read_bytes()) for name in expected}

    assert {name: status for name, (status, _) in answers.items()} == expected
    assert [message.provider for message in fakes.inbox] == [Provider.SENDGRID] * 2 + [Provider.TWILIO] * 2
    # Its DateSent> is long past, its To that of both messages, its PageSize 1.
    assert answers["twilio_messages_list"][1].count(b'"sid"') == 1


@pytest.mark.parametrize(
    "fault",
    [
        Breakage(provider=Provider.SENDGRID, kind="no_answer"),
        Latency(provider=Provider.SENDGRID, milliseconds=3_600_000),
    ],
)
async def test_a_request_without_an_answer_does_not_hold_up_the_end(fault: Breakage | Latency) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        async with asyncio.timeout(PATIENCE), running_fakes() as fakes:
            fakes.faults.add(fault)
            waiting = asyncio.create_task(
                client.post(
                    f"{fakes.url}/v3/mail/send",
                    headers={"Authorization": "Bearer SG.testkey", "Content-Type": "application/json"},
                    content=(CONTRACTS / "captures/sendgrid_mail_send.http").read_bytes().partition(b"\r\n\r\n")[2],
                )
            )
            await until(lambda: len(fakes.inbox) == 1)

        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await waiting


async def test_a_client_that_leaves_in_the_middle_of_its_request_is_counted() -> None:
    async with running_fakes() as fakes:
        _, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(fakes.url).port)
        writer.write((CONTRACTS / "captures/sendgrid_mail_send.http").read_bytes()[:-10])
        await until(lambda: fakes.inbox.counts[Provider.SENDGRID].requests == 1)
        writer.close()
        await writer.wait_closed()

        await until(lambda: fakes.inbox.counts[Provider.SENDGRID].answers == {"none": 1})

    assert len(fakes.inbox) == 0


async def test_a_port_that_is_taken_is_an_error() -> None:
    async with running_fakes() as fakes:
        port = httpx.URL(fakes.url).port
        assert port is not None

        with pytest.raises(OSError, match="in use"):
            await serve(port)


async def test_serve_listens_until_it_is_cancelled() -> None:
    async with running_fakes() as fakes:
        port = httpx.URL(fakes.url).port
    assert port is not None
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def listening() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    serving = asyncio.create_task(serve(port))
    await until(listening)
    # The signals belong to whoever runs the loop.
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving

    assert not listening()
