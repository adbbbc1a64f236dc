"""Metrics of real processes: the admin API's and those of workers under a supervisor."""

import re
import signal
import socket
from collections.abc import Mapping
from typing import Any

import httpx

from app.jobs.pool import JobPool
from tests.e2e.admin_server import admin_server
from tests.e2e.commands import Command, command
from tests.metrics import Samples, samples_in, value
from tests.waiting import until

MAIL: dict[str, Any] = {"to_email": "asha@example.com", "subject": "Hello", "body": "Milk"}


def free_ports(count: int) -> int:
    """The first of so many neighbouring ports that nobody listens on."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
        if port < 60_000 and all(map(is_free, range(port, port + count))):
            return port


def is_free(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) != 0


async def metrics_of(port: int) -> Samples:
    """Empty while nobody answers."""
    try:
        async with httpx.AsyncClient() as client:
            return samples_in((await client.get(f"http://127.0.0.1:{port}/metrics")).text)
    except httpx.TransportError:
        return {}


async def attempts(ports: range) -> float:
    """Of mails that were sent, by all the workers that answer."""
    told = [await metrics_of(port) for port in ports]
    return sum(
        value(samples, "indostar_attempts_total", task="send_email_task", outcome="succeeded") or 0 for samples in told
    )


def children(supervisor: Command) -> int:
    return len(re.findall(r"supervisor\.child_ready", supervisor.output))


async def test_the_api_tells_without_a_token(environment: Mapping[str, str], pool: JobPool) -> None:
    await pool.enqueue_job("send_email_task", **MAIL, _defer_by=3600)
    async with admin_server(environment) as server:
        samples = await metrics_of(server.port)

    assert value(samples, "indostar_up", server="redis") == 1
    assert value(samples, "indostar_up", server="postgresql") == 1
    assert value(samples, "indostar_queue_jobs", queue="notifications", state="scheduled") == 1


async def test_each_child_has_a_port_and_its_successor_takes_it_over(
    environment: Mapping[str, str], pool: JobPool
) -> None:
    first = free_ports(2)
    ports = range(first, first + 2)
    environment = {**environment, "METRICS_PORT": str(first)}
    async with command("indostar", "worker", "--processes", "2", environment=environment) as supervisor:
        for port in ports:
            await until(lambda port=port: metrics_of(port))  # type: ignore[misc]  # a loop's variable
        for _ in range(10):
            await pool.enqueue_job("send_email_task", **MAIL)

        async def all_are_counted() -> bool:
            return await attempts(ports) == 10

        await until(all_are_counted)
        calls = [
            value(await metrics_of(port), "indostar_provider_calls_total", provider="sendgrid", outcome="done")
            for port in ports
        ]
        assert sum(count or 0 for count in calls) == 10

        supervisor.send(signal.SIGHUP)
        await until(lambda: children(supervisor) == 4)

        # They begin to count anew.
        async def both_are_new() -> bool:
            return all([await metrics_of(port) for port in ports]) and await attempts(ports) == 0

        await until(both_are_new)
        supervisor.send(signal.SIGTERM)
        assert await supervisor.exit_code() == 0
