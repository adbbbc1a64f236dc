"""Charging a delivery from the customer's mandate: what each answer of the gateway leads to."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from app.billing import sweeping
from app.billing.effects import DeliveryCharges
from app.billing.failures import ChargeLater, UnknownSubscription
from app.billing.single import NotDue
from app.billing.sweeping import sweep
from app.deliveries.days import end_of_day
from app.dev.fakes.faults import Breakage, Failure, Refusal
from app.dev.fakes.inbox import Provider
from app.dev.fakes.razorpay import ReceiptRule
from app.dev.fakes.razorpay_books import Order, new_id
from app.dev.fakes.razorpay_fates import Fate
from app.jobs.context import Resources
from app.jobs.effects import PastJob
from app.jobs.failures import LeaseRanOut
from app.tasks.sweeping import sweep_charges
from tests.integration.charging_shop import CHARGING, MIDNIGHT, PRICE, ChargingShop, receipt
from tests.integration.delivery_shop import DAY, ONE_DAY

RAZORPAY = Provider.RAZORPAY
CONFIRMED = "send_order_confirmation_task delivery:1:2026-03-02:confirmed"
REFUSED = "send_payment_failed_task delivery:1:2026-03-02:refused"
SKIPPED = "send_delivery_skipped_task delivery:1:2026-03-02:skipped"


def lose(shop: ChargingShop, path: str, *, after: bool, times: int = 1) -> None:
    """The next requests to that path get no answer: after it took effect, or without any."""
    left = [times]

    async def interfere(request: httpx.Request) -> None:
        if request.method == "POST" and request.url.path.endswith(path) and left[0]:
            left[0] -= 1
            raise httpx.ReadTimeout("no answer")

    if after:
        shop.transport.after = interfere
    else:
        shop.transport.before = interfere


async def test_a_delivery_that_is_paid_is_ordered_and_confirmed(shop: ChargingShop) -> None:
    await shop.open()
    await shop.plan()

    charged = await shop.charge()

    assert (charged.state, charged.reason, charged.order_number) == ("captured", None, "SUB-20260302-1")
    assert shop.captured() == 1
    assert await shop.order_of() == {
        "payment_status": "paid",
        "order_status": "confirmed",
        "total_amount": Decimal("68.00"),
        "final_amount": Decimal("68.00"),
        "quantity": 1,
        "unit_price": Decimal("68.00"),
        "total_price": Decimal("68.00"),
        "payment": "paid",
        "amount": Decimal("68.00"),
        "payment_method": "upi",
        "subscription_id": 1,
        "notes": None,
        "user_id": 2,
        "delivery_address_id": 1,
    }
    assert await shop.told() == [CONFIRMED]
    assert await shop.faults() == []


async def test_charging_again_changes_nothing(shop: ChargingShop) -> None:
    await shop.open()
    await shop.plan()
    await shop.charge()
    before = [await shop.shop.everything(), await shop.shop.sql("SELECT * FROM orders, payments, order_items")]

    charged = await shop.charge()

    after = [await shop.shop.everything(), await shop.shop.sql("SELECT * FROM orders, payments, order_items")]
    assert (charged.state, after) == ("captured", before)


async def test_a_debit_without_notice_is_pending_until_the_bank_has_made_it(shop: ChargingShop) -> None:
    await shop.open(notices=False)
    await shop.plan()

    charged = await shop.charge()

    order = await shop.order_of()
    assert order is not None
    assert (charged.state, order["payment_status"], order["order_status"], order["payment"]) == (
        ("pending", "pending", "pending", "pending")
    )
    assert await shop.told() == []
    waits = [(await shop.one()).next_look_at]
    while (await shop.look()).state == "pending":
        waits.append((await shop.one()).next_look_at)
    order = await shop.order_of()
    assert order is not None
    assert (order["payment_status"], order["order_status"], order["payment"]) == ("paid", "confirmed", "paid")
    assert [at and round((at - MIDNIGHT) / timedelta(minutes=1)) for at in waits] == [6, 36, 156, 1596]
    assert await shop.told() == [CONFIRMED]
    assert await shop.faults() == []


async def test_a_refusal_gives_the_unit_back_and_says_why_and_where_to_pay(shop: ChargingShop) -> None:
    await shop.open()
    shop.fakes.razorpay.fates.add(Fate(becomes="failed", reason="insufficient_funds"))
    await shop.plan()

    charged = await shop.charge()

    assert (charged.state, charged.reason, await shop.order_of()) == ("refused", "insufficient_funds", None)
    assert await shop.shop.stock() == {1: 1000}
    assert await shop.told() == [REFUSED]
    [job] = [job for job in await shop.shop.jobs() if job.task == "send_payment_failed_task"]
    assert job.kwargs["retry_payment_url"] == "https://shop.example/subscriptions/1"
    assert (job.kwargs["order_number"], job.kwargs["order_total"]) == ("SUB-20260302-1", "68.00")
    assert "insufficient" in job.kwargs["failure_reason"].lower()
    assert await shop.faults() == []


async def test_a_refusal_of_a_pending_debit_cancels_its_order(shop: ChargingShop) -> None:
    await shop.open(notices=False)
    await shop.plan()
    await shop.charge()
    shop.move("failed")

    charged = await shop.look()

    order = await shop.order_of()
    assert order is not None
    assert (charged.state, order["payment_status"], order["order_status"], order["payment"]) == (
        ("refused", "failed", "cancelled", "failed")
    )
    assert await shop.told() == [REFUSED]
    assert await shop.faults() == []


async def test_a_charge_whose_answer_is_lost_is_asked_about(shop: ChargingShop) -> None:
    await shop.open()
    await shop.plan()
    lose(shop, "/recurring", after=True)

    charged = await shop.charge()

    assert (charged.state, shop.captured()) == ("captured", 1)
    assert await shop.faults() == []


async def test_a_charge_that_never_arrived_is_made_two_hours_later(shop: ChargingShop) -> None:
    await shop.open()
    await shop.plan()
    lose(shop, "/recurring", after=False)

    assert (await shop.charge()).state == "unknown"
    assert (await shop.look()).state == "unknown"
    assert (await shop.charge()).state == "unknown"
    assert (await shop.look()).state == "unknown"
    assert await shop.told() == []
    charged = await shop.look()

    assert (charged.state, shop.captured(), await shop.told()) == ("captured", 1, [CONFIRMED])
    assert shop.now > MIDNIGHT + timedelta(hours=2)
    assert await shop.faults() == []


async def test_a_charge_that_never_arrived_by_the_end_of_its_day_is_given_up(shop: ChargingShop) -> None:
    await shop.open()
    await shop.plan()
    shop.now = MIDNIGHT + timedelta(hours=18)
    lose(shop, "/recurring", after=False)
    await shop.charge()

    while (charged := await shop.look()).state == "unknown":
        pass

    assert (charged.state, charged.reason, shop.captured()) == ("refused", "not_charged_in_time", 0)
    assert await shop.shop.stock() == {1: 1000}
    assert await shop.told() == [SKIPPED]
    given_up = shop.now
    while (await shop.one()).next_look_at is not None:
        assert (await shop.look()).state == "refused"
    assert shop.now - given_up == 3 * ONE_DAY


async def test_what_nobody_can_tell_waits_for_a_person_in_the_end(shop: ChargingShop) -> None:
    await shop.open()
    shop.fakes.razorpay.fates.add(Fate(becomes="created"))
    await shop.plan()
    await shop.charge()

    looks = 0
    while (await shop.one()).next_look_at is not None:
        await shop.look()
        looks += 1

    charge = await shop.one()
    assert (looks, charge.state, charge.reason) == (8, "pending", "asked_in_vain")
    shop.move("captured")
    assert (await shop.charge()).state == "captured"
    assert (await shop.one()).reason is None
    assert await shop.faults() == []


async def test_a_look_that_somebody_overtakes_comes_again(shop: ChargingShop) -> None:
    await shop.open()
    await shop.plan()
    lose(shop, "/recurring", after=False)
    await shop.charge()

    async def submit_again(request: httpx.Request) -> None:
        if request.url.path.endswith("/payments"):
            await shop.shop.sql("UPDATE tasks.charges SET state = 'submitting', paying_since = :now", now=shop.now)

    shop.transport.before = submit_again

    with pytest.raises(ChargeLater, match="somebody is having it paid"):
        await shop.look()


async def test_asking_by_hand_leaves_the_looks_as_they_are(shop: ChargingShop) -> None:
    await shop.open()
    shop.fakes.razorpay.fates.add(Fate(becomes="created"))
    await shop.plan()
    await shop.charge()
    await shop.charge()
    await shop.look()
    await shop.charge()

    jobs = [(job.key, job.not_before) for job in await shop.shop.jobs() if job.task == "follow_up_charge"]
    assert [key for key, _ in jobs] == ["delivery:1:2026-03-02:look:1", "delivery:1:2026-03-02:look:2"]
    assert (await shop.one()).next_look_at == jobs[1][1]


@pytest.mark.parametrize(
    ("fault", "state", "captured"),
    [
        (Failure(provider=RAZORPAY, on="charge", status=502, times=1), "unknown", 0),
        (Failure(provider=RAZORPAY, on="charge", status=502, takes_effect=True, times=1), "captured", 1),
        (Failure(provider=RAZORPAY, on="charge", status=500, times=1), "unknown", 0),
        (Failure(provider=RAZORPAY, on="charge", status=503, takes_effect=True, times=1), "captured", 1),
        (Breakage(provider=RAZORPAY, on="charge", kind="dropped_before", times=1), "unknown", 0),
        (Breakage(provider=RAZORPAY, on="charge", kind="dropped_after", times=1), "captured", 1),
        (Breakage(provider=RAZORPAY, on="charge", kind="wrong_json", times=1), "captured", 1),
        (Refusal(provider=RAZORPAY, on="charge", code="pre_debit_notification_not_sent", times=1), "refused", 0),
    ],
    ids=str,
)
async def test_every_answer_to_a_charge_is_settled_by_what_the_gateway_did(
    shop: ChargingShop, fault: Any, state: str, captured: int
) -> None:
    await shop.open()
    await shop.plan()
    shop.fakes.faults.add(fault)

    charged = await shop.charge()

    assert (charged.state, shop.captured()) == (state, captured)
    assert await shop.faults() == []
    await shop.charge()
    assert shop.captured() == captured


async def test_a_landline_however_it_is_written_pays(shop: ChargingShop) -> None:
    await shop.open()
    await shop.plan()
    await shop.shop.sql("UPDATE users SET phone = '044-2345 6789' WHERE role = 'consumer'")

    charged = await shop.charge()

    [payment] = shop.fakes.razorpay.books.payments.values()
    assert (charged.state, payment.contact) == ("captured", "+914423456789")


async def test_who_has_no_number_is_told_so_and_not_refused(shop: ChargingShop) -> None:
    await shop.open()
    await shop.plan()
    await shop.shop.sql("UPDATE users SET phone = '-' WHERE role = 'consumer'")

    charged = await shop.charge(by=shop.charging(pause_after=1))

    assert (charged.state, charged.reason, charged.is_active) == ("skipped", "phone_invalid", True)
    assert await shop.told() == ["send_delivery_skipped_task delivery:1:2026-03-02:skipped"]
    assert shop.fakes.razorpay.books.orders.keys() == {charged.razorpay_order_id}
    assert await shop.faults() == []


async def test_too_many_requests_leave_the_charge_to_the_next_attempt(shop: ChargingShop) -> None:
    await shop.open()
    await shop.plan()
    shop.fakes.faults.add(Failure(provider=RAZORPAY, on="charge", status=429, retry_after=7, times=1))

    with pytest.raises(ChargeLater) as raised:
        await shop.charge()

    assert raised.value.retry_after == timedelta(seconds=7)
    charge = await shop.one()
    assert (charge.state, charge.payer) == ("submitting", None)
    assert (await shop.charge()).state == "captured"
    assert await shop.faults() == []


@pytest.mark.parametrize("kind", ["lookup", "order"])
@pytest.mark.parametrize("status", [429, 500])
async def test_a_gateway_that_can_not_be_asked_is_waited_for(shop: ChargingShop, kind: Any, status: Any) -> None:
    await shop.open(notices=False)
    await shop.plan()
    shop.fakes.faults.add(Failure(provider=RAZORPAY, on=kind, status=status, times=1))

    with pytest.raises(ChargeLater):
        await shop.charge()

    assert (await shop.charge()).state == "pending"


@pytest.mark.parametrize("rule", ["reuse", "refuse", "repeat"])
async def test_an_order_whose_answer_was_lost_is_the_one_that_is_paid(shop: ChargingShop, rule: ReceiptRule) -> None:
    await shop.open(notices=False)
    shop.fakes.razorpay.receipts = rule
    await shop.plan()
    lose(shop, "/orders", after=True)
    with pytest.raises(ChargeLater):
        await shop.charge()

    charged = await shop.charge()

    [order] = shop.fakes.razorpay.books.orders.values()
    assert (charged.state, charged.razorpay_order_id, order.status) == ("pending", order.id, "attempted")


async def test_what_was_paid_before_a_backup_was_restored_is_not_paid_again(shop: ChargingShop) -> None:
    await shop.open()
    await shop.plan()
    backup = "CREATE TABLE tasks.backup AS SELECT * FROM tasks.charges"
    await shop.shop.sql(backup)
    await shop.charge()
    await shop.shop.sql("TRUNCATE tasks.charges, orders, payments, order_items, tasks.outbox CASCADE")
    await shop.shop.sql("INSERT INTO tasks.charges SELECT * FROM tasks.backup")

    charged = await shop.charge()

    assert (charged.state, shop.captured()) == ("captured", 1)
    assert await shop.faults() == []


async def test_an_order_of_another_amount_is_left_to_a_person(shop: ChargingShop) -> None:
    await shop.open(notices=False)
    await shop.plan()
    books = shop.fakes.razorpay.books
    books.add_order(Order(id=new_id("order"), receipt=receipt(1), amount=PRICE + 1, notes={}, created_at=shop.now))

    charged = await shop.charge()

    assert (charged.state, charged.reason, len(books.payments)) == ("unknown", "unacceptable_answer", 0)
    charge = await shop.one()
    assert charge.answer is not None
    assert "amount is 6801, not 6800" in charge.answer["message"]
    while (await shop.one()).next_look_at is not None:
        await shop.look()
    assert ((await shop.one()).state, len(books.payments)) == ("unknown", 0)


async def test_who_lost_his_lease_does_not_pay(shop: ChargingShop) -> None:
    await shop.open()
    await shop.plan()

    def lost() -> None:
        raise LeaseRanOut

    with pytest.raises(LeaseRanOut):
        await shop.charge(hold=lost)

    assert (shop.fakes.razorpay.books.payments, (await shop.one()).payer) == ({}, None)
    assert (await shop.charge()).state == "captured"


async def test_several_workers_at_one_charge_pay_it_once(shop: ChargingShop) -> None:
    await shop.open(notices=False)
    await shop.plan()

    outcomes = await asyncio.gather(*(shop.charge() for _ in range(6)), return_exceptions=True)

    assert {type(each) for each in outcomes if isinstance(each, Exception)} <= {ChargeLater}
    assert len(shop.fakes.razorpay.books.payments) == 1
    assert (await shop.charge()).state == "pending"
    assert await shop.faults() == []


async def test_a_customer_without_mail_is_told_by_sms(shop: ChargingShop) -> None:
    await shop.open()
    await shop.shop.sql("UPDATE users SET email = NULL")
    await shop.plan()

    await shop.charge()

    [job] = [job for job in await shop.shop.jobs() if job.task == "send_order_confirmation_task"]
    assert (job.kwargs["email"], job.kwargs["phone"]) == (None, "+919800000002")


class TestTurns:
    """Of several debits from one mandate each waits for the one before."""

    async def test_the_second_waits_until_the_first_is_settled(self, shop: ChargingShop) -> None:
        await shop.open(2, tokens=1, notices=False)
        await shop.plan()

        assert (await shop.charge(1)).state == "pending"
        assert (await shop.charge(2)).state == "planned"
        shop.move("failed")
        await shop.charge(1)

        keys = {job.key: job.not_before for job in await shop.shop.jobs() if ":2:" in str(job.key)}
        assert keys == {
            "delivery:2:2026-03-02": None,
            "delivery:2:2026-03-02:end": MIDNIGHT + timedelta(hours=18, minutes=30),
            "delivery:2:2026-03-02:after:1:2026-03-02": None,
        }
        assert (await shop.charge(2)).state == "pending"

    async def test_one_that_waited_all_day_is_skipped(self, shop: ChargingShop) -> None:
        await shop.open(2, tokens=1, notices=False)
        await shop.plan()
        await shop.charge(1)
        await shop.charge(2)
        shop.now = MIDNIGHT + timedelta(hours=18, minutes=30)

        charged = await shop.charge(2)

        assert (charged.state, charged.reason) == ("skipped", "debit_under_way")
        assert await shop.told() == [SKIPPED.replace(":1:", ":2:")]
        assert await shop.faults() == []

    async def test_of_many_at_once_one_is_under_way(self, shop: ChargingShop) -> None:
        await shop.open(12, tokens=2, notices=False)
        await shop.plan()
        workers = [shop.charging() for _ in range(3)]

        states = await asyncio.gather(*(shop.charge(n, by=workers[n % 3]) for n in range(1, 13)))

        assert sorted(record.state for record in states) == ["pending"] * 2 + ["planned"] * 10
        assert len(shop.fakes.razorpay.books.payments) == 2


class TestUnwanted:
    """Planned, and by the time of its charge the customer wants none, or none from that mandate."""

    @pytest.mark.parametrize(
        ("change", "reason", "told"),
        [
            ("UPDATE subscriptions SET status = 'paused'", "subscription_inactive", [SKIPPED]),
            ("UPDATE subscriptions SET status = 'cancelled'", "subscription_inactive", [SKIPPED]),
            ("UPDATE users SET is_active = false WHERE role = 'consumer'", "customer_inactive", []),
        ],
    )
    @pytest.mark.parametrize("is_begun", [False, True])
    async def test_it_is_skipped_and_the_milk_is_in_stock_again(
        self, shop: ChargingShop, change: str, reason: str, told: list[str], *, is_begun: bool
    ) -> None:
        await shop.open()
        await shop.plan()
        if is_begun:
            shop.fakes.faults.add(Failure(provider=RAZORPAY, on="charge", status=429, times=1))
            with pytest.raises(ChargeLater):
                await shop.charge()
        await shop.shop.sql(change)

        charged = await shop.charge()

        assert (charged.state, charged.reason, shop.fakes.razorpay.books.payments) == ("skipped", reason, {})
        assert await shop.shop.stock() == {1: 1000}
        assert await shop.told() == told

    async def test_what_waits_for_the_refusal_that_pauses_its_subscription_is_skipped(self, shop: ChargingShop) -> None:
        await shop.open(notices=False)
        await shop.plan()
        await shop.charge()
        tomorrow = DAY + ONE_DAY
        await shop.shop.run(tomorrow)
        assert (await shop.charge(1, tomorrow)).state == "planned"
        shop.move("failed")
        await shop.charge(by=shop.charging(pause_after=1))

        charged = await shop.charge(1, tomorrow)

        assert (charged.state, charged.reason) == ("skipped", "subscription_inactive")
        assert len(shop.fakes.razorpay.books.payments) == 1

    async def test_it_is_debited_from_the_mandate_that_replaced_the_announced_one(self, shop: ChargingShop) -> None:
        await shop.open()
        await shop.plan()
        await shop.replace_mandate()

        charged = await shop.charge()

        [payment] = shop.fakes.razorpay.books.payments.values()
        assert (charged.state, charged.token_id) == ("pending", "token_new")
        assert payment.order.receipt == charged.receipt == "sub-1-20260302-own"

    async def test_it_is_skipped_where_the_mandate_is_replaced_after_it_was_begun(self, shop: ChargingShop) -> None:
        await shop.open()
        await shop.plan()
        shop.fakes.faults.add(Failure(provider=RAZORPAY, on="charge", status=429, times=1))
        with pytest.raises(ChargeLater):
            await shop.charge()
        await shop.replace_mandate()

        charged = await shop.charge()

        assert (charged.state, charged.reason) == ("skipped", "mandate_replaced")
        [told] = [job.kwargs["reason"] for job in await shop.shop.jobs() if job.task == "send_delivery_skipped_task"]
        assert told == "mandate_replaced"
        assert shop.fakes.razorpay.books.payments == {}
        assert await shop.faults() == []


class TestSingle:
    """Deliveries that no run has planned."""

    async def test_one_that_is_due_is_planned_and_charged(self, shop: ChargingShop) -> None:
        await shop.open()

        charged = await shop.charge()

        assert (charged.state, charged.next_delivery_date) == ("captured", DAY + ONE_DAY)
        assert await shop.faults() == []

    async def test_one_is_swept_as_if_a_run_had_planned_it(self, shop: ChargingShop) -> None:
        await shop.open()
        await shop.charge()

        [job] = [job for job in await shop.shop.jobs() if job.key == "sweep:2026-03-02"]
        assert (job.task, job.kwargs, job.not_before) == (
            sweep_charges.name,
            {"delivery_date": "2026-03-02"},
            end_of_day(DAY),
        )

    async def test_one_that_is_not_due_is_not(self, shop: ChargingShop) -> None:
        await shop.open()
        await shop.shop.sql("UPDATE subscriptions SET next_delivery_date = :day", day=DAY + ONE_DAY)

        assert await shop.try_charge() == NotDue(DAY + ONE_DAY)
        assert await shop.shop.charges() == []

    async def test_none_is_refused_by_name(self, shop: ChargingShop) -> None:
        await shop.open()

        with pytest.raises(UnknownSubscription, match=r"^subscription 77 does not exist$"):
            await shop.charge(77)


async def test_a_day_that_is_over_is_not_charged_any_more(shop: ChargingShop) -> None:
    await shop.open()
    await shop.plan()
    shop.now = MIDNIGHT + timedelta(hours=18, minutes=30)

    charged = await shop.charge()

    assert (charged.state, charged.reason, shop.captured()) == ("skipped", "not_charged_in_time", 0)
    assert await shop.told() == [SKIPPED]
    assert await shop.faults() == []


class TestOutageUntilTheEndOfItsDay:
    """Begun, and Razorpay is away until nobody wants the milk any more."""

    async def begin(self, shop: ChargingShop) -> None:
        await shop.open()
        await shop.plan()
        shop.fakes.faults.add(Failure(provider=RAZORPAY, on="charge", status=429, times=1))
        with pytest.raises(ChargeLater):
            await shop.charge()

    async def give_up(self, shop: ChargingShop) -> None:
        shop.now = MIDNIGHT + timedelta(hours=18, minutes=30)
        shop.fakes.faults.add(Failure(provider=RAZORPAY, on="lookup", status=500, times=1))
        charged = await shop.charge()
        assert (charged.state, charged.reason) == ("refused", "not_charged_in_time")

    async def test_ends_the_charge_and_frees_its_mandate(self, shop: ChargingShop) -> None:
        await self.begin(shop)

        await self.give_up(shop)

        assert await shop.shop.stock() == {1: 1000}
        assert await shop.told() == [SKIPPED]
        assert await shop.faults() == []

    async def test_what_was_paid_before_a_backup_was_restored_is_found_later(self, shop: ChargingShop) -> None:
        await self.begin(shop)
        await shop.shop.sql("DROP TABLE IF EXISTS tasks.backup")
        await shop.shop.sql("CREATE TABLE tasks.backup AS SELECT * FROM tasks.charges")
        await shop.charge()
        await shop.shop.sql("TRUNCATE tasks.charges, orders, payments, order_items, tasks.outbox CASCADE")
        await shop.shop.sql("ALTER TABLE tasks.charges DISABLE TRIGGER USER")
        await shop.shop.sql("INSERT INTO tasks.charges SELECT * FROM tasks.backup")
        await shop.shop.sql("ALTER TABLE tasks.charges ENABLE TRIGGER USER")
        await self.give_up(shop)

        charged = await shop.look()

        assert (charged.state, charged.is_owed, shop.captured()) == ("captured", True, 1)


class TestSweep:
    """What is open when its day is over, and whose jobs may have died."""

    async def test_is_taken_up_again_unless_a_look_is_to_come(self, shop: ChargingShop) -> None:
        await shop.open(4, notices=False)
        await shop.plan()
        shop.fakes.razorpay.fates.add(Fate(becomes="captured", of=receipt(1)))
        for number in (1, 2, 3):
            await shop.charge(number)
        shop.now = MIDNIGHT + timedelta(hours=19)
        await shop.shop.sql("UPDATE tasks.charges SET next_look_at = :now WHERE subscription_id = 3", now=shop.now)

        swept = [await sweep(shop.shop.database, DAY, shop.now) for _ in range(2)]

        rows = await shop.shop.sql("SELECT task, key FROM tasks.outbox WHERE key LIKE '%left%' ORDER BY key")
        assert swept == [2, 2]
        assert [tuple(row) for row in rows] == [
            (CHARGING, f"delivery:{number}:2026-03-02:left:2026-03-02") for number in (2, 4)
        ]
        assert (await shop.charge(4)).reason == "not_charged_in_time"
        assert (await shop.charge(2)).looks == 2

    async def test_goes_through_pages(self, shop: ChargingShop, monkeypatch: pytest.MonkeyPatch) -> None:
        await shop.open(5, notices=False)
        await shop.plan()
        monkeypatch.setattr(sweeping, "PAGE", 2)

        assert await sweep(shop.shop.database, DAY, MIDNIGHT + ONE_DAY) == 5
        assert await sweep(shop.shop.database, DAY + ONE_DAY, MIDNIGHT + ONE_DAY) == 0


@pytest.mark.parametrize(
    ("fate", "effects"),
    [
        (None, [("charge", "open")]),
        (Fate(becomes="captured"), [("charge", "done")]),
        (Fate(becomes="created"), [("charge", "unknown")]),
        (Fate(becomes="failed"), []),
    ],
    ids=str,
)
async def test_who_runs_a_job_again_is_told_what_its_charge_came_to(
    shop: ChargingShop, fate: Fate | None, effects: list[tuple[str, str]]
) -> None:
    await shop.open()
    await shop.plan()
    if fate is not None:
        shop.fakes.razorpay.fates.add(fate)
        await shop.charge()

    jobs = [PastJob("job", {"subscription_id": 1, "delivery_date": day}) for day in ("2026-03-02", DAY)]
    told = await DeliveryCharges().of(Resources([shop.shop.database]), jobs)

    assert [[(effect.verb, effect.state) for effect in each] for each in told] == [effects, effects]
    assert not DeliveryCharges().can_be_repeated


async def test_a_job_of_no_named_day_tells_that_nobody_knows(shop: ChargingShop) -> None:
    [told] = await DeliveryCharges().of(Resources([shop.shop.database]), [PastJob("job", {"subscription_id": 1})])

    assert [effect.state for effect in told] == ["unknown"]


async def test_a_frozen_worker_that_wakes_up_after_others_asked_settles_what_it_did(shop: ChargingShop) -> None:
    await shop.open()
    await shop.plan()
    frozen, awake = asyncio.Event(), asyncio.Event()

    async def freeze(request: httpx.Request) -> None:
        if request.url.path.endswith("/recurring"):
            frozen.set()
            await awake.wait()

    shop.transport.before = freeze
    working = asyncio.create_task(shop.charge())
    await frozen.wait()
    with pytest.raises(ChargeLater, match="somebody is having it paid"):
        await shop.charge()
    shop.now += timedelta(minutes=2)
    assert (await shop.charge()).state == "unknown"
    awake.set()

    assert (await working).state == "captured"
    assert await shop.faults() == []
