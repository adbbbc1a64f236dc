"""What else follows for a subscription where one of its deliveries finds an invoice's window paid."""

from datetime import UTC, date, datetime, time, timedelta

import pytest

from tests.integration.charging_shop import MIDNIGHT, PRICE, ChargingShop
from tests.integration.delivery_shop import DAY, ONE_DAY
from tests.integration.invoice_shop import MONDAY, WEEK, bill, open_by_invoices


@pytest.fixture
async def shop(opened: ChargingShop) -> ChargingShop:
    await open_by_invoices(opened)
    return opened


class TestNewMandate:
    """A customer on Razorpay's own subscription gives us a mandate in the middle of a week."""

    async def test_what_an_invoice_has_paid_for_is_not_debited_as_well(self, shop: ChargingShop) -> None:
        invoice = bill(shop)
        await shop.plan()
        await shop.charge()
        await give_mandate(shop, max_amount=1, expires_at=MIDNIGHT)
        for number in range(1, 7):
            shop.now = MIDNIGHT + number * ONE_DAY
            await shop.shop.run(DAY + number * ONE_DAY)

            assert (await shop.charge(1, DAY + number * ONE_DAY)).state == "captured"

        assert [money.payment_id for money in shop.fakes.razorpay.books.captured()] == [invoice.payment_id]
        assert await shop.faults() == []

    async def test_what_was_announced_is_not_debited_as_well(self, shop: ChargingShop) -> None:
        bill(shop)
        await shop.plan()
        await give_mandate(shop)
        await shop.shop.sql(
            "INSERT INTO tasks.debit_notices (delivery_date, subscription_id, product_id, amount_paise, token_id,"
            " razorpay_order_id) VALUES (:day, 1, 1, 7000, 'token_0', 'order_1')",
            day=DAY + ONE_DAY,
        )
        await shop.charge()
        shop.now += ONE_DAY
        await shop.shop.run(DAY + ONE_DAY)

        await shop.charge(1, DAY + ONE_DAY)

        charge = await shop.one(1, DAY + ONE_DAY)
        assert (charge.way, charge.state, charge.amount_paise) == ("invoice", "captured", PRICE)

    async def test_what_comes_after_it_is_debited(self, shop: ChargingShop) -> None:
        bill(shop)
        await shop.plan()
        await shop.charge()
        await give_mandate(shop)
        shop.now = MIDNIGHT + WEEK
        await shop.shop.run(DAY + WEEK)

        assert (await shop.one(1, DAY + WEEK)).way == "mandate"

    async def test_what_was_paid_to_another_subscription_of_razorpays_covers_nothing(self, shop: ChargingShop) -> None:
        bill(shop)
        await shop.plan()
        await shop.charge()
        await give_mandate(shop)
        await shop.shop.sql("UPDATE subscriptions SET razorpay_subscription_id = 'sub_2'")
        await shop.shop.run(DAY + ONE_DAY)

        assert (await shop.one(1, DAY + ONE_DAY)).way == "mandate"

    async def test_the_latest_period_is_what_counts(self, shop: ChargingShop) -> None:
        earlier = bill(shop, paid=False)
        await shop.plan()
        await shop.charge()
        bill(shop, first=MONDAY + WEEK)
        shop.now = MIDNIGHT + WEEK
        await shop.shop.run(DAY + WEEK)
        await shop.charge(1, DAY + WEEK)
        shop.fakes.razorpay.books.pay(earlier)
        assert (await shop.charge()).state == "captured"

        periods = await shop.shop.sql("SELECT first_date, end_date FROM tasks.paid_periods")

        assert [tuple(row) for row in periods] == [(MONDAY + WEEK, MONDAY + 2 * WEEK)]


async def give_mandate(
    shop: ChargingShop, *, max_amount: int | None = None, expires_at: datetime | None = None
) -> None:
    await shop.shop.sql(
        "INSERT INTO tasks.mandates VALUES (1, 'cust_0', 'token_0', 'upi', :max_amount, :expires_at)",
        max_amount=max_amount,
        expires_at=expires_at,
    )


class TestPaidLater:
    """Given up, or asked about in vain, until the customer paid the invoice after all."""

    async def test_what_was_refused_is_owed_once_another_day_finds_its_week_paid(self, shop: ChargingShop) -> None:
        invoice = bill(shop, paid=False)
        shop.fakes.razorpay.books.subscriptions["sub_1"].status = "halted"
        await shop.plan()
        assert (await shop.charge()).state == "refused"
        shop.fakes.razorpay.books.subscriptions["sub_1"].status = "active"
        shop.fakes.razorpay.books.pay(invoice)

        asked = await charge_next_day(shop, DAY + ONE_DAY)

        assert asked == ["delivery:1:2026-03-02:paid:2026-03-03"]
        charged = await shop.charge()
        assert (charged.state, charged.is_owed, charged.units_held) == ("captured", True, 0)

    async def test_what_was_asked_about_in_vain_is_settled(self, shop: ChargingShop) -> None:
        invoice = bill(shop, paid=False)
        await shop.plan()
        await shop.charge()
        while (await shop.one()).next_look_at is not None:
            await shop.look()
        shop.fakes.razorpay.books.pay(invoice)

        asked = await charge_next_day(shop, DAY + 6 * ONE_DAY)

        assert asked == ["delivery:1:2026-03-02:paid:2026-03-08"]
        assert (await shop.charge()).state == "captured"
        assert await shop.faults() == []

    async def test_what_was_refused_is_looked_at_for_some_days_though_nothing_else_is_in_its_window(
        self, shop: ChargingShop
    ) -> None:
        invoice = bill(shop, amount=PRICE, paid=False)
        await shop.shop.sql("UPDATE subscriptions SET plan_frequency = 'weekly'")
        shop.fakes.razorpay.books.subscriptions["sub_1"].status = "halted"
        await shop.plan()
        assert (await shop.charge()).state == "refused"
        assert (await shop.look()).state == "refused"
        shop.fakes.razorpay.books.subscriptions["sub_1"].status = "active"
        shop.fakes.razorpay.books.pay(invoice)

        charged = await shop.look()

        assert (charged.state, charged.is_owed) == ("captured", True)

    async def test_what_was_refused_is_not_looked_at_for_ever(self, shop: ChargingShop) -> None:
        bill(shop, paid=False)
        shop.fakes.razorpay.books.subscriptions["sub_1"].status = "halted"
        await shop.plan()
        await shop.charge()

        while (await shop.one()).next_look_at is not None:
            await shop.look()

        assert timedelta(days=5) <= shop.now - MIDNIGHT <= timedelta(days=8)


async def charge_next_day(shop: ChargingShop, day: date) -> list[str]:
    """Its delivery is captured; the jobs by which others of its window are asked about."""
    shop.now = datetime.combine(day, time(), UTC)
    await shop.shop.run(day)
    assert (await shop.charge(1, day)).state == "captured"
    jobs = await shop.shop.jobs()
    return [job.key for job in jobs if job.key and ":paid:" in job.key]
