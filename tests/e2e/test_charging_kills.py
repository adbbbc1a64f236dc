"""A midnight run whose workers are killed and frozen again and again: each delivery is paid once, or not at all."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from multiprocessing.process import BaseProcess
from random import Random

from app.db.engine import Database
from app.dev.fakes import Fakes
from app.dev.fakes.faults import Breakage, Failure, Latency
from app.dev.fakes.inbox import Provider
from app.dev.fakes.razorpay_books import Order, new_id
from app.dev.fakes.razorpay_fates import Fate
from app.errors import Unavailable
from app.india import INDIA
from app.jobs.pool import JobPool
from app.tasks.subscriptions import midnight_run
from tests.e2e import charging_worker
from tests.integration.charging_shop import PRICE, ChargingShop, GatewayTransport, receipt
from tests.integration.delivery_shop import DeliveryShop
from tests.waiting import until

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.e2e.charging_worker"])

DELIVERIES = 300
KILLS = 12
RAZORPAY = Provider.RAZORPAY


async def prepare(shop: ChargingShop, day: date) -> None:
    """Half of the debits are announced; some banks refuse, some take their time, and the line is bad."""
    await shop.open(DELIVERIES, notices=False)
    await shop.shop.sql("UPDATE subscriptions SET next_delivery_date = :day", day=day)
    razorpay, now = shop.fakes.razorpay, datetime.now(UTC)
    for number in range(1, DELIVERIES + 1, 2):
        token = f"token_{number - 1}"
        order = Order(
            id=new_id("order"),
            receipt=receipt(number, day),
            amount=PRICE,
            notes={},
            created_at=now - timedelta(days=2),
            token_id=token,
            payment_after=now,
        )
        razorpay.books.add_order(order)
        await shop.shop.sql(
            "INSERT INTO tasks.debit_notices (delivery_date, subscription_id, product_id, amount_paise,"
            " token_id, razorpay_order_id) VALUES (:day, :id, 1, :paise, :token, :order)",
            day=day,
            id=number,
            paise=PRICE,
            token=token,
            order=order.id,
        )
    for number in range(1, DELIVERIES + 1, 10):
        razorpay.fates.add(Fate(becomes="failed", reason="insufficient_funds", of=receipt(number, day)))
    shop.fakes.faults.add(Latency(provider=RAZORPAY, on="charge", milliseconds=60))
    shop.fakes.faults.add(Breakage(provider=RAZORPAY, on="charge", kind="dropped_after", times=9))
    shop.fakes.faults.add(Failure(provider=RAZORPAY, on="charge", status=502, takes_effect=True, times=5))
    shop.fakes.faults.add(Failure(provider=RAZORPAY, on="order", status=429, times=9))


class Workers:
    """Worker processes that are started, frozen and killed; `alive` are those that nobody has harmed."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._all: list[BaseProcess] = []
        self.alive: list[BaseProcess] = []

    def start(self) -> None:
        worker = processes.Process(target=charging_worker.main, args=(self._environment,))
        worker.start()
        self._all.append(worker)
        self.alive.append(worker)

    async def kill_all(self) -> None:
        for worker in self._all:
            worker.kill()
            await asyncio.to_thread(worker.join)


async def test_workers_that_are_killed_pay_no_delivery_twice(
    database_url: str, fakes: Fakes, environment: Mapping[str, str], pool: JobPool
) -> None:
    day = datetime.now(INDIA).date()
    database = Database(database_url, application_name="indostar test", pool_size=4)
    shop = ChargingShop(DeliveryShop(database), fakes, GatewayTransport(fakes))
    await prepare(shop, day)
    settings = {
        **environment,
        "JOB_LEASE_SECONDS": "1",
        "SCHEDULE_TIMEZONE": "Asia/Kolkata",
        "SUBSCRIPTIONS_CONCURRENCY": "10",
        "PRE_DEBIT_NOTICE_DAYS": "0",
    }

    async def left() -> int:
        """How many deliveries nobody has taken on yet."""
        [(count,)] = await shop.shop.sql(
            "SELECT count(*) FROM subscriptions s LEFT JOIN tasks.charges c ON c.subscription_id = s.id"
            " WHERE coalesce(c.state, 'planned') IN ('planned', 'notified') OR c.state = 'submitting' AND payer IS NULL"
        )
        return int(count)

    async def so_few_are_left(most: int) -> bool:
        return await left() <= most

    random, workers = Random(11), Workers(settings)
    try:
        workers.start()
        workers.start()
        await midnight_run.enqueue(pool, delivery_date=day)
        for most in sorted(random.sample(range(20, DELIVERIES), KILLS), reverse=True):
            await until(partial(so_few_are_left, most), every=0.01)
            victim = workers.alive.pop(random.randrange(2))
            assert victim.pid is not None
            # Some are only frozen, while others take over what they run; half of those wake up again.
            is_frozen = random.random() < 0.4
            os.kill(victim.pid, signal.SIGSTOP if is_frozen else signal.SIGKILL)
            workers.start()
            if is_frozen and random.random() < 0.5:
                await until(partial(so_few_are_left, most - 10), every=0.01)
                os.kill(victim.pid, signal.SIGCONT)
        await until(partial(so_few_are_left, 0), every=0.05)
    finally:
        await workers.kill_all()

    # What was under way when its worker died is settled by looks that come hours later.
    fakes.faults.clear()
    shop.now = datetime.now(UTC) + timedelta(minutes=2)
    charging = shop.charging()
    while open_charges := [each for each in await shop.shop.charges() if each.state in ("submitting", "unknown")]:
        for charge in open_charges:
            try:
                await shop.charge(charge.subscription_id, day, by=charging)
            except Unavailable:
                continue
        shop.now += timedelta(hours=3)
    assert await shop.faults() == []
    states = {charge.state for charge in await shop.shop.charges()}
    assert {"captured", "pending", "refused"} <= states
    await database.close()
