"""The gate before a provider that can't be used."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from app.providers.failures import Misconfigured, ProviderNotDone, ProviderRefused
from app.providers.gate import Gate


class Provider:
    """Counts its calls; each raises `failure` unless that is None. `answers` holds them up until it is set."""

    def __init__(self) -> None:
        self.calls = 0
        self.failure: Exception | None = Misconfigured("sendgrid", "401", "bad key")
        self.answers = asyncio.Event()
        self.answers.set()

    async def send(self, message: str) -> str:
        self.calls += 1
        failure = self.failure
        await self.answers.wait()
        if failure is not None:
            raise failure
        return f"sent {message}"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock: Clock) -> Gate:
    return Gate(clock)


@pytest.fixture
async def provider() -> Provider:
    return Provider()


async def turned_away(call: Awaitable[str]) -> timedelta | None:
    """The wait that comes with Misconfigured."""
    with pytest.raises(Misconfigured, match="bad key") as caught:
        await call
    return caught.value.retry_after


async def test_an_open_gate_passes_everything(gate: Gate, provider: Provider) -> None:
    provider.failure = None
    assert await gate.call(provider.send, "a") == "sent a"

    for failure in (ProviderRefused("sendgrid", "400", "no"), ProviderNotDone("sendgrid", "429", "later")):
        provider.failure = failure
        with pytest.raises(type(failure)):
            await gate.call(provider.send, message="b")
    assert provider.calls == 3


async def test_a_closed_gate_turns_calls_away_for_the_rest_of_the_wait(
    gate: Gate, provider: Provider, clock: Clock
) -> None:
    assert await turned_away(gate.call(provider.send, "a")) == timedelta(seconds=5)
    clock.now += 2
    assert await turned_away(gate.call(provider.send, "b")) == timedelta(seconds=3)

    assert provider.calls == 1


async def test_waits_double_up_to_five_minutes(gate: Gate, provider: Provider, clock: Clock) -> None:
    waits = []
    for _ in range(9):
        wait = await turned_away(gate.call(provider.send, "a"))
        assert wait is not None
        waits.append(wait.total_seconds())
        clock.now += waits[-1]

    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert provider.calls == 9


async def test_one_call_probes_and_opens_it(gate: Gate, provider: Provider, clock: Clock) -> None:
    await turned_away(gate.call(provider.send, "a"))
    clock.now += 5
    provider.failure = None
    provider.answers.clear()

    probe = asyncio.create_task(gate.call(provider.send, "probe"))
    await asyncio.sleep(0)
    assert await turned_away(gate.call(provider.send, "b")) == timedelta(seconds=5)
    provider.answers.set()

    assert await probe == "sent probe"
    assert await gate.call(provider.send, "c") == "sent c"
    assert provider.calls == 3


async def test_a_probe_that_is_refused_opens_it(gate: Gate, provider: Provider, clock: Clock) -> None:
    await turned_away(gate.call(provider.send, "a"))
    clock.now += 5
    provider.failure = ProviderRefused("sendgrid", "400", "no such address")

    for _ in range(2):
        with pytest.raises(ProviderRefused):
            await gate.call(provider.send, "b")

    assert provider.calls == 3


@pytest.mark.parametrize("end", [ProviderNotDone("sendgrid", "503", "later"), asyncio.CancelledError()])
async def test_a_probe_that_tells_nothing_is_followed_by_another(
    gate: Gate, provider: Provider, clock: Clock, end: BaseException
) -> None:
    await turned_away(gate.call(provider.send, "a"))
    clock.now += 5

    async def ends(message: str) -> str:
        raise end

    with pytest.raises(type(end)):
        await gate.call(ends, "b")

    assert await turned_away(gate.call(provider.send, "c")) == timedelta(seconds=10)
    assert provider.calls == 2


async def test_calls_under_way_when_it_closed_do_not_lengthen_the_wait(gate: Gate, provider: Provider) -> None:
    provider.answers.clear()
    calls = [asyncio.create_task(gate.call(provider.send, str(n))) for n in range(3)]
    await asyncio.sleep(0)
    provider.answers.set()

    waits = [await turned_away(call) for call in calls]

    assert waits == [timedelta(seconds=5)] * 3
    assert provider.calls == 3


async def test_a_success_from_before_it_closed_does_not_open_it(gate: Gate, provider: Provider) -> None:
    slow = Provider()
    slow.failure = None
    slow.answers.clear()
    early = asyncio.create_task(gate.call(slow.send, "early"))
    await asyncio.sleep(0)
    await turned_away(gate.call(provider.send, "late"))
    slow.answers.set()

    assert await early == "sent early"
    await turned_away(gate.call(provider.send, "next"))
    assert provider.calls == 1


async def test_closing_and_opening_are_logged_once(gate: Gate, provider: Provider, clock: Clock) -> None:
    with capture_logs() as logs:
        for _ in range(3):
            await turned_away(gate.call(provider.send, "a"))
            clock.now += 5
        clock.now += 60
        provider.failure = None
        await gate.call(provider.send, "b")
        await gate.call(provider.send, "c")

    assert logs == [
        {
            "event": "provider.misconfigured",
            "log_level": "error",
            "provider": "sendgrid",
            "code": "401",
            "reason": "bad key",
        },
        {"event": "provider.usable_again", "log_level": "info", "provider": "sendgrid"},
    ]


async def test_a_gate_closes_anew_with_the_first_wait(gate: Gate, provider: Provider, clock: Clock) -> None:
    fault = provider.failure
    await turned_away(gate.call(provider.send, "a"))
    clock.now += 5
    await turned_away(gate.call(provider.send, "b"))
    clock.now += 10
    provider.failure = None
    await gate.call(provider.send, "c")
    provider.failure = fault

    assert await turned_away(gate.call(provider.send, "d")) == timedelta(seconds=5)
