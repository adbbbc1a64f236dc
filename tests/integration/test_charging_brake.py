"""The brake while charging: a run whose first charges go very unlike those of the runs before."""

import asyncio
from datetime import timedelta

import pytest

from app.billing.failures import ChargeLater, RunPaused
from app.billing.watch import RunWatch
from app.deliveries import runs
from app.dev.fakes.faults import Failure
from app.dev.fakes.inbox import Provider
from app.dev.fakes.razorpay_fates import Fate
from app.tasks.run_news import RunNews
from tests.integration.charging_shop import MIDNIGHT, ChargingShop
from tests.integration.delivery_shop import BOUNDS, DAY, ONE_DAY

RAZORPAY = Provider.RAZORPAY


async def refused(shop: ChargingShop, count: int) -> None:
    await shop.open(count + 2, notices=False)
    shop.fakes.razorpay.fates.add(Fate(becomes="failed"))
    await shop.plan()
    charging = shop.charging()
    await asyncio.gather(*(shop.charge(number, by=charging) for number in range(1, count + 1)))
    shop.now += timedelta(seconds=2)


async def test_a_paused_run_is_not_charged_further_until_somebody_resumes_it(shop: ChargingShop) -> None:
    await refused(shop, 110)

    with pytest.raises(RunPaused, match="of the latest 110 charges 100 % are refused"):
        await shop.charge(111)

    assert (await shop.one(111)).state == "planned"
    assert await runs.resume(shop.shop.database, DAY, "asha")
    assert (await shop.charge(111)).state == "refused"


async def test_it_settles_what_was_begun_and_gives_up_the_rest_at_the_end_of_the_day(shop: ChargingShop) -> None:
    await shop.open(2, notices=False)
    await shop.plan()
    await shop.charge(1)
    await runs.pause(shop.shop.database, DAY, "a person wants to look")

    shop.move("captured")
    assert (await shop.charge(1)).state == "captured"
    with pytest.raises(RunPaused, match="a person wants to look"):
        await shop.charge(2)
    shop.now = MIDNIGHT + timedelta(hours=18, minutes=30)
    charged = await shop.charge(2)

    assert (charged.state, charged.reason) == ("skipped", "run_paused")
    assert await shop.faults() == []


async def test_it_holds_what_was_begun_and_nobody_had_paid(shop: ChargingShop) -> None:
    await shop.open()
    await shop.plan()
    shop.fakes.faults.add(Failure(provider=RAZORPAY, on="charge", status=429, times=1))
    with pytest.raises(ChargeLater):
        await shop.charge()
    await runs.pause(shop.shop.database, DAY, "a person wants to look")
    shop.now += timedelta(seconds=2)

    with pytest.raises(RunPaused):
        await shop.charge()
    await runs.resume(shop.shop.database, DAY, "asha")
    shop.now += timedelta(seconds=2)

    assert (await shop.charge()).state == "captured"


async def test_its_pause_is_told_to_the_owner(shop: ChargingShop) -> None:
    await refused(shop, 110)
    await shop.shop.sql("UPDATE users SET email = 'owner@example.com' WHERE role = 'owner'")
    watch = RunWatch(shop.shop.database, BOUNDS, at_brake=RunNews([]).braked)

    await watch.why_paused(DAY)

    assert [job.kwargs["email"] for job in await shop.shop.jobs() if job.task == "send_run_paused_task"] == [
        "owner@example.com"
    ]


async def test_it_is_looked_at_once_a_second(shop: ChargingShop) -> None:
    await shop.open()
    await shop.plan()
    watch = shop.charging().watch
    assert await watch.why_paused(DAY) is None
    await runs.pause(shop.shop.database, DAY, "a person wants to look")

    before = await watch.why_paused(DAY)
    shop.now += timedelta(seconds=1)

    assert (before, await watch.why_paused(DAY)) == (None, "a person wants to look")


async def test_a_run_whose_day_is_over_is_not_paused_any_more(shop: ChargingShop) -> None:
    await refused(shop, 110)
    shop.now = MIDNIGHT + ONE_DAY

    left = await shop.charge(111)

    [run] = await shop.shop.sql("SELECT paused_because FROM tasks.subscription_runs")
    assert (left.state, left.reason) == ("skipped", "not_charged_in_time")
    assert run.paused_because is None
