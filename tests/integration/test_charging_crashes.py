"""Charges whose process dies at each turn of its event loop, and whose requests are lost one by one.

Whatever happens, the shop's books agree with what the fake Razorpay took.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import count
from random import Random
from typing import Any

import httpx
import pytest

from app.db.engine import Database
from app.dev.fakes.razorpay_fates import Fate
from app.dev.postgres import EmbeddedPostgres
from app.errors import Unavailable
from tests.conftest import fresh_database
from tests.dying_loop import deaths, dies_at
from tests.integration.charging_shop import ChargingShop, charging_shop, key, receipt

SEEDS = range(150)


@pytest.fixture(scope="module")
async def opened(postgres_server: EmbeddedPostgres, database_template: str) -> AsyncIterator[tuple[ChargingShop, str]]:
    async with fresh_database(postgres_server, template=database_template) as url, charging_shop(url) as shop:
        yield shop, url


async def live(shop: ChargingShop, url: str, *numbers: int, workers: int = 1) -> None:
    """A process that charges these deliveries, each by so many workers at once."""
    databases = [Database(url, application_name="indostar doomed", pool_size=2) for _ in range(workers)]
    chargings = [shop.charging(database) for database in databases]
    await asyncio.gather(
        *(shop.charge(number, by=charging) for charging in chargings for number in numbers), return_exceptions=True
    )
    for database in databases:
        await database.close()


async def settle(shop: ChargingShop, numbers: range) -> None:
    """Other processes take the charges up again: their jobs, then the looks that they left, each at its time."""
    charging = shop.charging()

    async def again(number: int) -> None:
        for _ in range(5):
            try:
                await shop.charge(number, by=charging)
            except Unavailable:
                continue
            return

    shop.now += timedelta(minutes=2)
    await asyncio.gather(*(again(number) for number in numbers))
    while waiting := [
        charge
        for charge in await shop.shop.charges()
        if charge.next_look_at is not None and charge.state in ("pending", "unknown")
    ]:
        shop.now = max(shop.now, min(filter(None, (charge.next_look_at for charge in waiting))) + timedelta(minutes=2))
        looks = [
            charging.look(key(charge.subscription_id), lambda: None, charge.looks)
            for charge in waiting
            if charge.next_look_at is not None and charge.next_look_at <= shop.now
        ]
        await asyncio.gather(*looks)


@pytest.mark.parametrize(("becomes", "step"), [("captured", 2), ("created", 9), ("failed", 9)])
async def test_a_process_may_die_at_any_turn(opened: tuple[ChargingShop, str], becomes: Any, step: int) -> None:
    shop, url = opened
    most = 150
    await shop.open(most)
    if becomes != "captured":
        shop.fakes.razorpay.fates.add(Fate(becomes=becomes))
    await shop.plan()
    with deaths():
        for number in range(1, most + 1):
            if await dies_at(step * number, partial(live, shop, url, number)):
                break
        else:
            pytest.fail(f"a charge takes more than {step * most} turns")

    await settle(shop, range(1, number + 1))

    capture(shop)
    await settle(shop, range(1, number + 1))
    assert await shop.faults() == []
    ends = {charge.state for charge in (await shop.shop.charges())[:number]}
    assert ends == {"refused" if becomes == "failed" else "captured"}


@pytest.mark.parametrize("takes_effect", [True, False])
@pytest.mark.parametrize("is_announced", [True, False])
async def test_each_request_in_turn_may_be_lost(
    opened: tuple[ChargingShop, str], *, is_announced: bool, takes_effect: bool
) -> None:
    shop, _ = opened
    most = 8
    await shop.open(most, notices=is_announced)
    await shop.plan()
    for number in range(1, most + 1):
        lost = lose_requests(shop, {number}, takes_effect=takes_effect)
        with suppress(Unavailable):
            await shop.charge(number)
        if not lost:
            break
    assert not lost
    shop.transport.before = shop.transport.after = nothing

    await settle(shop, range(1, most + 1))

    assert await shop.faults() == []
    assert {charge.state for charge in await shop.shop.charges()} == {"captured"}


async def test_any_schedule_of_deaths_faults_and_fates_leaves_the_books_in_agreement(
    opened: tuple[ChargingShop, str],
) -> None:
    """A fault names its seed: `SEEDS = [77]` plays that one alone."""
    shop, url = opened
    await shop.open(2 * len(SEEDS), notices=len(SEEDS))
    await shop.plan()
    with deaths():
        for place, seed in enumerate(SEEDS):
            await play(shop, url, Random(seed), (2 * place + 1, 2 * place + 2))
    shop.transport.before = shop.transport.after = nothing
    shop.fakes.razorpay.fates.clear()

    capture(shop)
    await settle(shop, range(1, 2 * len(SEEDS) + 1))
    capture(shop)
    await settle(shop, range(1, 2 * len(SEEDS) + 1))
    faults = await shop.faults()
    assert [(SEEDS[(int(fault.split("-")[1]) - 1) // 2], fault) for fault in faults if fault.startswith("sub-")] == []
    assert faults == []


async def play(shop: ChargingShop, url: str, random: Random, numbers: tuple[int, int]) -> None:
    """A few processes at the same deliveries, one after the other, and what befalls each of them."""
    shop.fakes.razorpay.fates.clear()
    for number in numbers:
        if becomes := random.choice([None, "captured", "created", "failed"]):
            shop.fakes.razorpay.fates.add(Fate(becomes=becomes, of=receipt(number)))
    for _ in range(random.randint(1, 2)):
        lose_requests(shop, {random.randint(1, 8)}, takes_effect=random.random() < 0.6)
        workers = random.randint(1, 2)
        if random.random() < 0.7:
            await dies_at(random.randint(20, 200), partial(live, shop, url, *numbers, workers=workers))
        else:
            await live(shop, url, *numbers, workers=workers)
        shop.now += timedelta(seconds=random.choice([0, 1]))


def lose_requests(shop: ChargingShop, numbers: set[int], *, takes_effect: bool) -> set[int]:
    """Of the requests from now on those of these numbers get no answer; which are still to come."""
    left = set(numbers)
    counted = count(1)

    async def interfere(_request: httpx.Request) -> None:
        number = next(counted)
        if number in left:
            left.discard(number)
            raise httpx.ReadTimeout("no answer")

    shop.transport.before = shop.transport.after = nothing
    if takes_effect:
        shop.transport.after = interfere
    else:
        shop.transport.before = interfere
    return left


def capture(shop: ChargingShop) -> None:
    """What was left to be decided by the banks is paid."""
    for payment in list(shop.fakes.razorpay.books.payments.values()):
        if payment.status == "created":
            shop.fakes.razorpay.books.move(payment, "captured")


async def nothing(_request: httpx.Request) -> None:
    return None
