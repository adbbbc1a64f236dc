"""The tasks that charge deliveries, as jobs of a worker."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from app.db.migrate import migrate
from app.dev.demo_shop import create_shop_tables
from app.dev.fakes.razorpay_fates import Fate
from app.jobs.serializer import JobFailed
from app.jobs.task import Task
from app.tasks import TASKS
from app.tasks.subscriptions import announce_debit, follow_up_charge, process_single_subscription
from tests.integration.charging_shop import ChargingShop, charging_shop
from tests.integration.delivery_shop import DAY, ONE_DAY
from tests.running import open_pool, run_burst
from tests.settings import make_settings


@pytest.fixture
async def shop(opened: ChargingShop) -> ChargingShop:
    """With two deliveries planned."""
    await opened.open(2)
    await opened.plan()
    return opened


async def done(shop: ChargingShop, redis_url: str, task: Task[..., Any], **arguments: Any) -> Any:
    """What the job returns."""
    async with open_pool(redis_url, TASKS) as pool:
        job = await task.enqueue(pool, **arguments)
        await run_burst(pool, [shop.shop.database, make_settings(), shop.charging()])
        assert job is not None
        return await job.result(timeout=60)


async def test_a_delivery_that_is_paid_is_a_success(shop: ChargingShop, redis_url: str) -> None:
    result = await done(shop, redis_url, process_single_subscription, subscription_id=2, delivery_date=DAY)

    assert result == {
        "subscription_id": 2,
        "status": "success",
        "reason": None,
        "order_id": result["order_id"],
        "order_number": "SUB-20260302-2",
        "next_delivery_date": DAY + ONE_DAY,
    }
    assert isinstance(result["order_id"], int)


@pytest.mark.parametrize(
    ("fate", "status", "reason", "has_order"),
    [
        (Fate(becomes="created"), "pending", None, True),
        (Fate(becomes="failed", reason="insufficient_funds"), "failed", "insufficient_funds", False),
    ],
    ids=str,
)
async def test_what_is_not_paid_says_why(
    shop: ChargingShop, redis_url: str, fate: Fate, status: str, reason: str | None, *, has_order: bool
) -> None:
    shop.fakes.razorpay.fates.add(fate)

    result = await done(shop, redis_url, process_single_subscription, subscription_id=1, delivery_date=DAY)

    assert (result["status"], result["reason"], result["order_number"] is not None) == (status, reason, has_order)


async def test_a_subscription_that_is_not_due_is_skipped(shop: ChargingShop, redis_url: str) -> None:
    await shop.shop.sql("UPDATE subscriptions SET next_delivery_date = '2300-01-01'")

    result = await done(shop, redis_url, process_single_subscription, subscription_id=1)

    assert (result["status"], result["reason"], result["next_delivery_date"]) == (
        ("skipped", "not_due", date(2300, 1, 1))
    )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"subscription_id": 77}, "UnknownSubscription: subscription 77 does not exist"),
        (
            {"subscription_id": 1, "delivery_date": datetime.now(UTC).date() + 3 * ONE_DAY},
            "DateNotCome: the deliveries",
        ),
    ],
    ids=["unknown", "not come"],
)
async def test_what_can_not_be_done_is_refused_by_name(
    shop: ChargingShop, redis_url: str, arguments: dict[str, Any], error: str
) -> None:
    with pytest.raises(JobFailed, match=error):
        await done(shop, redis_url, process_single_subscription, **arguments)


async def test_a_look_settles_what_was_left_open(shop: ChargingShop, redis_url: str) -> None:
    shop.fakes.razorpay.fates.add(Fate(becomes="created"))
    await shop.charge(1)
    [payment] = shop.fakes.razorpay.books.payments.values()
    shop.fakes.razorpay.books.move(payment, "captured")

    result = await done(shop, redis_url, follow_up_charge, subscription_id=1, delivery_date=DAY, look=1)

    assert (result["status"], result["order_number"]) == ("success", "SUB-20260302-1")


async def test_a_notice_that_is_not_needed_is_said_to_be_so(shop: ChargingShop, redis_url: str) -> None:
    assert await done(shop, redis_url, announce_debit, subscription_id=1, delivery_date=DAY) == "not_needed"


async def test_a_shop_without_our_tables_gets_them_and_its_deliveries_paid(empty_database_url: str) -> None:
    await create_shop_tables(empty_database_url)
    await migrate(empty_database_url)
    async with charging_shop(empty_database_url) as shop:
        await shop.open(3, stock=2)
        await shop.plan()
        shop.fakes.razorpay.fates.add(Fate(becomes="failed", times=1))

        states = [(await shop.charge(number)).state for number in (1, 2, 3)]

        assert states == ["refused", "captured", "skipped"]
        assert await shop.shop.stock() == {1: 1}
