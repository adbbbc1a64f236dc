"""A delivery that no run has planned, planned by the job that charges it, while others are at its rows."""

import asyncio

import pytest
from sqlalchemy import text

from app.billing.failures import ChargeLater, UnknownSubscription
from tests.integration.charging_shop import ChargingShop
from tests.waiting import until

WAITERS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
async def shop(opened: ChargingShop) -> ChargingShop:
    await opened.open()
    return opened


async def test_a_subscription_that_is_deleted_meanwhile_is_unknown(shop: ChargingShop) -> None:
    async with shop.shop.database.session() as deleting:
        await deleting.execute(text("DELETE FROM subscriptions"))
        planning = asyncio.create_task(shop.charge())
        await until(lambda: shop.shop.sql(WAITERS))

    with pytest.raises(UnknownSubscription):
        await planning


async def test_what_others_keep_locked_for_too_long_is_planned_later(shop: ChargingShop) -> None:
    async with shop.shop.database.session() as editing:
        await editing.execute(text("SELECT FROM subscriptions FOR UPDATE"))
        planning = asyncio.create_task(shop.charge())
        [[waiter]] = await until(lambda: shop.shop.sql(WAITERS))
        await shop.shop.sql("SELECT pg_cancel_backend(:waiter)", waiter=waiter)

        with pytest.raises(ChargeLater, match="others hold"):
            await planning

    assert (await shop.charge()).state == "captured"
