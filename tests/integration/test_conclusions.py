"""Writing down what was concluded about charges: late payments, pauses, and in which order rows are locked."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.billing.finding import Finding
from app.deliveries.days import end_of_day
from app.dev.fakes.faults import Refusal
from app.dev.fakes.inbox import Provider
from app.dev.fakes.razorpay_fates import Fate
from app.providers.payments.entities import GatewayPaymentId
from app.providers.payments.standing import Standing
from tests.integration.charging_shop import MIDNIGHT, REPORTING, ChargingShop, key
from tests.integration.delivery_shop import DAY, ONE_DAY
from tests.waiting import until

RAZORPAY = Provider.RAZORPAY
REFUSED = "send_payment_failed_task delivery:1:2026-03-02:refused"


class TestLateAuthorisation:
    """The bank pays after all what it had refused."""

    async def refused(self, shop: ChargingShop, *, stock: int = 1000) -> None:
        await shop.open(stock=stock)
        shop.fakes.razorpay.fates.add(Fate(becomes="failed", reason="insufficient_funds"))
        await shop.plan()
        assert (await shop.charge()).state == "refused"
        shop.move("captured")

    async def test_is_found_though_the_request_was_refused(self, shop: ChargingShop) -> None:
        await shop.open()
        shop.fakes.razorpay.fates.add(Fate(becomes="failed", reason="insufficient_funds", refuses=True))
        await shop.plan()
        assert (await shop.charge()).reason == "insufficient_funds"
        shop.move("captured")

        charged = await shop.look()

        assert (charged.state, charged.is_owed) == ("captured", True)
        assert await shop.faults() == []

    async def test_is_looked_for_where_the_refusal_showed_no_payment(self, shop: ChargingShop) -> None:
        await shop.open()
        await shop.plan()
        refusal = Refusal(provider=RAZORPAY, on="charge", code="pre_debit_notification_not_sent", times=1)
        shop.fakes.faults.add(refusal)
        await shop.charge()

        looks = 0
        while (await shop.one()).next_look_at is not None:
            assert (await shop.look()).state == "refused"
            looks += 1

        assert looks == 3

    async def test_on_its_day_is_delivered(self, shop: ChargingShop) -> None:
        await self.refused(shop)

        charged = await shop.charge()

        order = await shop.order_of()
        assert order is not None
        assert (charged.state, charged.is_owed, order["order_status"]) == ("captured", False, "confirmed")
        assert await shop.shop.stock() == {1: 999}
        assert await shop.faults() == []

    async def test_after_its_day_is_owed(self, shop: ChargingShop) -> None:
        await self.refused(shop)

        charged = await shop.look()

        order = await shop.order_of()
        assert order is not None
        assert (charged.state, charged.is_owed) == ("captured", True)
        assert (order["payment_status"], order["order_status"], order["payment"]) == ("paid", "pending", "paid")
        assert "not to be delivered" in order["notes"]
        assert await shop.told() == [REFUSED]
        assert await shop.faults() == []

    async def test_with_nothing_left_is_owed(self, shop: ChargingShop) -> None:
        await self.refused(shop, stock=1)
        await shop.shop.sql("UPDATE products SET stock_quantity = 0")
        shop.start_stock = 0

        charged = await shop.charge()

        assert (charged.state, charged.is_owed) == ("captured", True)
        assert await shop.faults() == []

    async def test_of_a_subscription_that_is_gone_takes_nothing_from_the_stock(self, shop: ChargingShop) -> None:
        await self.refused(shop)
        await shop.shop.sql("DELETE FROM subscriptions")

        charged = await shop.charge()

        assert (charged.state, charged.is_owed, charged.units_held) == ("captured", True, 0)
        assert await shop.shop.stock() == {1: 1000}

    async def test_is_looked_for_during_three_days(self, shop: ChargingShop) -> None:
        await shop.open()
        shop.fakes.razorpay.fates.add(Fate(becomes="failed"))
        await shop.plan()
        await shop.charge()

        looks = 0
        while (await shop.one()).next_look_at is not None:
            await shop.look()
            looks += 1

        shop.transport.requests.clear()
        assert (await shop.charge()).state == "refused"
        assert (looks, len(shop.transport.requests)) == (3, 1)
        shop.now += ONE_DAY
        await shop.charging().look(key(1), lambda: None, looks)
        assert len(shop.transport.requests) == 1

    async def test_of_several_at_once_as_many_are_delivered_as_there_is_milk(self, shop: ChargingShop) -> None:
        await shop.open(5)
        shop.fakes.razorpay.fates.add(Fate(becomes="failed", reason="insufficient_funds", times=4))
        await shop.plan()
        charging = shop.charging()
        for number in range(1, 5):
            assert (await shop.charge(number, by=charging)).state == "refused"
        for payment in list(shop.fakes.razorpay.books.payments.values()):
            shop.fakes.razorpay.books.move(payment, "captured")
        await shop.shop.sql("UPDATE products SET stock_quantity = 2")
        shop.start_stock = 3

        charged = await asyncio.gather(*(shop.charge(number, by=charging) for number in range(1, 5)))

        assert [each.state for each in charged] == 4 * ["captured"]
        assert sorted(each.is_owed for each in charged) == [False, False, True, True]
        assert await shop.shop.stock() == {1: 0}
        assert await shop.faults() == []

    async def test_locks_its_product_last(self, shop: ChargingShop) -> None:
        """Planning locks subscriptions before products: the other way around each would wait for the other."""
        await shop.open(2, notices=1)
        shop.fakes.razorpay.fates.add(Fate(becomes="failed", times=1))
        await shop.plan()
        assert (await shop.charge(1)).state == "refused"
        assert (await shop.charge(2)).state == "pending"
        ledger = shop.charging(pause_after=1).ledger
        late, pending = await ledger.find(key(1)), await ledger.find(key(2))
        assert late is not None
        assert pending is not None
        paid = Finding(Standing.CAPTURED, {}, payment_id=GatewayPaymentId("pay_late"))
        async with shop.shop.database.session() as planning:
            await planning.execute(text("SELECT FROM subscriptions WHERE id = 2 FOR NO KEY UPDATE"))
            settling = asyncio.gather(
                ledger.settle(late, paid),
                ledger.settle(pending, Finding(Standing.REFUSED, {}, reason="no")),
            )
            await until(lambda: shop.shop.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))

            await planning.execute(text("SELECT FROM products FOR NO KEY UPDATE NOWAIT"))

        assert [each and each.state for each in await settling] == ["captured", "refused"]

    async def test_is_looked_for_during_three_days_from_a_refusal_that_came_late(self, shop: ChargingShop) -> None:
        await shop.open(notices=False)
        shop.fakes.razorpay.fates.add(Fate(becomes="created"))
        await shop.plan()
        await shop.charge()
        while (await shop.one()).looks < 4:
            await shop.look()
        shop.move("failed")
        assert (await shop.look()).state == "refused"

        failed_at = shop.now
        while (await shop.one()).next_look_at is not None:
            await shop.look()

        assert shop.now - failed_at >= timedelta(days=3)

    async def test_locks_its_product_after_its_order(self, shop: ChargingShop) -> None:
        """As whoever changes an order in the shop and then the stock: the other way around each waits for the other."""
        await shop.open(notices=False)
        await shop.plan()
        await shop.charge()
        shop.move("failed")
        assert (await shop.charge()).state == "refused"
        ledger = shop.charging().ledger
        late = await ledger.find(key(1))
        assert late is not None
        paid = Finding(Standing.CAPTURED, {}, payment_id=GatewayPaymentId("pay_late"))
        async with shop.shop.database.session() as editing:
            await editing.execute(text("SELECT FROM orders FOR UPDATE"))
            settling = asyncio.create_task(ledger.settle(late, paid))
            await until(lambda: shop.shop.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
            free = await editing.scalars(text("SELECT id FROM products FOR NO KEY UPDATE SKIP LOCKED"))
            products = free.all()
        await settling

        assert products == [1]


class TestPause:
    """A subscription that was refused three times in a row."""

    async def refuse(self, shop: ChargingShop, days: int) -> None:
        for number in range(days):
            day = DAY + number * ONE_DAY
            shop.now = MIDNIGHT + number * ONE_DAY + timedelta(minutes=1)
            await shop.shop.run(day)
            await shop.charge(1, day)

    async def test_is_paused_and_its_customer_told(self, shop: ChargingShop) -> None:
        await shop.open(notices=False)
        shop.fakes.razorpay.fates.add(Fate(becomes="failed"))

        await self.refuse(shop, 2)
        assert await shop.shop.sql("SELECT CAST(status AS text) FROM subscriptions") == [("active",)]
        await self.refuse(shop, 3)

        assert await shop.shop.sql("SELECT CAST(status AS text) FROM subscriptions") == [("paused",)]
        assert [each for each in await shop.told() if "paused" in each] == [
            "send_subscription_paused_task delivery:1:2026-03-04:paused"
        ]

    @pytest.mark.parametrize(("is_reported", "jobs"), [(True, 1), (False, 0)])
    async def test_is_told_to_the_owner_at_the_end_of_the_day_where_the_report_is_out(
        self, shop: ChargingShop, *, is_reported: bool, jobs: int
    ) -> None:
        await shop.open(notices=False)
        shop.fakes.razorpay.fates.add(Fate(becomes="failed"))
        await self.refuse(shop, 2)
        shop.now = MIDNIGHT + 2 * ONE_DAY + timedelta(minutes=1)
        await shop.shop.run(DAY + 2 * ONE_DAY)
        if is_reported:
            await shop.shop.sql("UPDATE tasks.subscription_runs SET reported_at = now()")

        await shop.charge(1, DAY + 2 * ONE_DAY)

        found = [job for job in await shop.shop.jobs() if job.task == REPORTING]
        assert [(job.key, job.kwargs, job.not_before) for job in found] == jobs * [
            ("report:2026-03-04:again:2026-03-04", {"delivery_date": "2026-03-04"}, end_of_day(DAY + 2 * ONE_DAY))
        ]

    async def test_has_no_way_where_razorpay_bills_on_and_the_owner_is_told(self, shop: ChargingShop) -> None:
        await shop.open(notices=False)
        await shop.shop.sql("DELETE FROM tasks.mandates")
        await shop.plan()
        await shop.shop.sql("UPDATE tasks.subscription_runs SET reported_at = now()")
        record = await shop.charging(pause_after=1).ledger.find(key(1))
        assert record is not None

        await shop.charging(pause_after=1).ledger.settle(
            record, Finding(Standing.REFUSED, {}, reason="invoice_expired")
        )

        assert await shop.shop.sql("SELECT CAST(status AS text) FROM subscriptions") == [("active",)]
        assert [job.key for job in await shop.shop.jobs() if job.task == REPORTING] == [
            "report:2026-03-02:again:2026-03-02"
        ]

    async def test_is_not_where_one_was_paid_in_between(self, shop: ChargingShop) -> None:
        await shop.open(notices=False)
        shop.fakes.razorpay.fates.add(Fate(becomes="failed", times=2))
        shop.fakes.razorpay.fates.add(Fate(becomes="captured", times=1))
        shop.fakes.razorpay.fates.add(Fate(becomes="failed", times=2))

        await self.refuse(shop, 5)

        states = [charge.state for charge in await shop.shop.charges()]
        assert states == ["refused", "refused", "captured", "refused", "refused"]
        assert await shop.shop.sql("SELECT CAST(status AS text) FROM subscriptions") == [("active",)]

    async def test_is_not_repeated_by_the_first_refusal_after_somebody_resumed_it(self, shop: ChargingShop) -> None:
        await shop.open(notices=False)
        shop.fakes.razorpay.fates.add(Fate(becomes="failed"))
        for number in range(4):
            day = DAY + number * ONE_DAY
            shop.now = MIDNIGHT + number * ONE_DAY + timedelta(minutes=1)
            if number == 3:
                assert await shop.shop.sql("SELECT CAST(status AS text) FROM subscriptions") == [("paused",)]
                await shop.shop.sql("UPDATE subscriptions SET status = 'active', next_delivery_date = :day", day=day)
            await shop.shop.run(day)
            await shop.charge(1, day)

        assert await shop.shop.sql("SELECT CAST(status AS text) FROM subscriptions") == [("active",)]
