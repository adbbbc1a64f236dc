"""Whose token it is, and how long those wait who guess."""

import asyncio

import pytest
from pydantic import SecretStr

from admin_api.access import (
    FIRST_DELAY,
    FORGOTTEN_AFTER,
    LONGEST_DELAY,
    MOST_WAITING,
    AccessTokens,
    Holder,
    TooManyWaiting,
    WrongTokens,
)
from app.operations import Role


class Pauses:
    """Remembers how long it was to wait, and waits only while it is told to."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.now = 0.0
        self.is_over = asyncio.Event()
        self.is_over.set()

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await self.is_over.wait()

    def clock(self) -> float:
        return self.now


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def wrong(pauses: Pauses) -> WrongTokens:
    return WrongTokens(clock=pauses.clock, pause=pauses, most_addresses=3)


def test_each_of_several_tokens_opens() -> None:
    tokens = AccessTokens(SecretStr("asha:one, two"), SecretStr("till:three"))

    assert tokens.holder("one") == Holder("asha", Role.OPERATOR)
    # As `printf two | sha256sum` begins.
    assert tokens.holder("two") == Holder("operator 3fc4ccfe", Role.OPERATOR)
    assert tokens.holder("three") == Holder("till", Role.VIEWER)


@pytest.mark.parametrize("given", ["", "asha", "asha:one", "one,two", " one", "tw", "none", "\ud800", "₹"])
def test_nothing_else_opens(given: str) -> None:
    assert AccessTokens(SecretStr("asha:one,two"), None).holder(given) is None


def test_without_tokens_nobody_gets_in() -> None:
    for given in ("", "None"):
        assert AccessTokens(None, None).holder(given) is None


async def test_whoever_guesses_waits_longer_each_time(pauses: Pauses, wrong: WrongTokens) -> None:
    for _ in range(8):
        await wrong.hold_up("203.0.113.7")
    await wrong.hold_up("203.0.113.8")

    assert pauses.seconds == [FIRST_DELAY * 2**count for count in range(6)] + [LONGEST_DELAY] * 2 + [FIRST_DELAY]


async def test_an_address_that_was_quiet_begins_anew(pauses: Pauses, wrong: WrongTokens) -> None:
    await wrong.hold_up("203.0.113.7")
    await wrong.hold_up("203.0.113.7")
    pauses.now += FORGOTTEN_AFTER + 1

    await wrong.hold_up("203.0.113.7")

    assert pauses.seconds[-1] == FIRST_DELAY


async def test_only_so_many_addresses_are_remembered(pauses: Pauses, wrong: WrongTokens) -> None:
    for last in (1, 2, 3, 4, 1):
        await wrong.hold_up(f"203.0.113.{last}")

    assert pauses.seconds == [FIRST_DELAY] * 5


async def test_the_addresses_of_one_network_are_one(pauses: Pauses, wrong: WrongTokens) -> None:
    await wrong.hold_up("2001:db8:1:2::1")
    await wrong.hold_up("2001:db8:1:2:ffff::1")
    await wrong.hold_up("2001:db8:1:3::1")

    assert pauses.seconds == [FIRST_DELAY, 2 * FIRST_DELAY, FIRST_DELAY]


async def test_not_everybody_may_wait(pauses: Pauses, wrong: WrongTokens) -> None:
    pauses.is_over.clear()
    waiting = [asyncio.create_task(wrong.hold_up("203.0.113.7")) for _ in range(MOST_WAITING)]
    await asyncio.sleep(0)

    with pytest.raises(TooManyWaiting):
        await wrong.hold_up("203.0.113.7")
    pauses.is_over.set()
    await asyncio.gather(*waiting)
    await wrong.hold_up("203.0.113.7")

    assert len(pauses.seconds) == MOST_WAITING + 1
