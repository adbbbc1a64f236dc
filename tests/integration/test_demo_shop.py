"""The demo shop: complete, believable, the same every time, and never half there."""

import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime, time, timedelta
from itertools import product

import phonenumbers
import pytest
import redis.exceptions
from redis.asyncio import Redis
from sqlalchemy import func, insert, select, text

from app.db.engine import Database
from app.db.shop import (
    Address,
    AuditLog,
    Cart,
    CartItem,
    DistributorStatus,
    Payment,
    Product,
    ShopTable,
    Subscription,
    SubscriptionFrequency,
    SubscriptionStatus,
    User,
    UserRole,
)
from app.dev.demo_rows import DemoShop
from app.dev.demo_shop import seed

TODAY = date(2026, 3, 1)
MIDNIGHT = datetime.combine(TODAY, time())

# Source: India Post, the first two digits of a PIN code (403 is Goa's).
STATES_BY_PIN = {
    "11": {"Delhi"},
    "14": {"Punjab"},
    "16": {"Chandigarh"},
    "22": {"Uttar Pradesh"},
    "30": {"Rajasthan"},
    "38": {"Gujarat"},
    "39": {"Gujarat"},
    "40": {"Maharashtra", "Goa"},
    "41": {"Maharashtra"},
    "44": {"Maharashtra"},
    "45": {"Madhya Pradesh"},
    "46": {"Madhya Pradesh"},
    "50": {"Telangana"},
    "52": {"Andhra Pradesh"},
    "53": {"Andhra Pradesh"},
    "56": {"Karnataka"},
    "57": {"Karnataka"},
    "60": {"Tamil Nadu"},
    "62": {"Tamil Nadu"},
    "64": {"Tamil Nadu"},
    "68": {"Kerala"},
    "69": {"Kerala"},
    "70": {"West Bengal"},
    "75": {"Odisha"},
    "78": {"Assam"},
    "80": {"Bihar"},
}


@pytest.fixture(scope="module")
def shop() -> DemoShop:
    return DemoShop(TODAY)


@asynccontextmanager
async def connected(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, application_name="indostar test", pool_size=1)
    yield database
    await database.close()


async def contents(database_url: str) -> dict[str, list[tuple[object, ...]]]:
    async with connected(database_url) as database, database.session() as session:
        return {
            table.name: [tuple(map(str, row)) for row in await session.execute(select(table).order_by(table.c.id))]
            for table in ShopTable.metadata.sorted_tables
        }


def test_people_are_an_owner_distributors_and_customers(shop: DemoShop) -> None:
    users = shop.rows[User]

    assert Counter(user["role"] for user in users) == {
        UserRole.OWNER: 1,
        UserRole.DISTRIBUTOR: 12,
        UserRole.CONSUMER: 320,
    }
    assert {user["distributor_status"] for user in users if user["role"] is UserRole.DISTRIBUTOR} == {
        *DistributorStatus
    }
    assert {user["is_active"] for user in users if user["role"] is UserRole.CONSUMER} == {True, False}


def test_phones_are_distinct_indian_mobile_numbers(shop: DemoShop) -> None:
    phones = [user["phone"] for user in shop.rows[User]]

    assert len(set(phones)) == len(phones)
    for phone in phones:
        number = phonenumbers.parse(phone)
        assert phonenumbers.is_valid_number_for_region(number, "IN")
        assert phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.MOBILE


def test_mail_addresses_are_distinct_and_reach_nobody(shop: DemoShop) -> None:
    emails = [user["email"] for user in shop.rows[User] if user["email"]]

    assert 250 < len(emails) == len(set(emails)) < len(shop.rows[User])
    for email in emails:
        assert re.fullmatch(r"[a-z]+\.[a-z]+\.\d+@example\.(com|net|org)", email)


def test_everybody_lives_where_the_pin_code_says(shop: DemoShop) -> None:
    addresses = shop.rows[Address]

    assert Counter(address["user_id"] for address in addresses if address["is_default"]) == {
        user["id"]: 1 for user in shop.rows[User]
    }
    for address in addresses:
        pin = address["postal_code"]
        assert re.fullmatch(r"[1-8]\d{5}", pin)
        assert address["state"] in STATES_BY_PIN[pin[:2]]
        assert (address["state"] == "Goa") == pin.startswith("403")


def test_products_show_every_trouble_with_stock(shop: DemoShop) -> None:
    due = Counter(
        row["product_id"]
        for row in shop.rows[Subscription]
        if row["status"] is SubscriptionStatus.ACTIVE and row["next_delivery_date"] <= TODAY
    )
    subscribed = [row for row in shop.rows[Product] if due[row["id"]]]

    assert len(shop.rows[Product]) == 20
    assert any(row["stock_quantity"] == 0 for row in subscribed)
    assert any(not row["is_active"] for row in subscribed)
    assert any(0 < row["stock_quantity"] < due[row["id"]] for row in subscribed)
    assert all(row["is_subscription_available"] for row in subscribed)


def test_subscriptions_come_in_every_situation_with_every_frequency(shop: DemoShop) -> None:
    found = defaultdict(set)
    users = {user["id"]: user for user in shop.rows[User]}
    for row in shop.rows[Subscription]:
        days = (row["next_delivery_date"] - TODAY).days
        situation = row["status"]
        if situation is SubscriptionStatus.ACTIVE:
            situation = ("today", "tomorrow", "later")[days] if days >= 0 else "overdue"
        if not users[row["user_id"]]["is_active"]:
            situation = f"inactive customer, {situation}"
        found[situation].add(row["plan_frequency"])

    frequencies = {*SubscriptionFrequency}
    for situation in ("today", "tomorrow", "later", "overdue", "paused", "cancelled"):
        assert found[situation] == frequencies, situation
    assert found["inactive customer, today"]
    assert any(users[row["user_id"]]["role"] is UserRole.DISTRIBUTOR for row in shop.rows[Subscription])


def test_carts_are_fresh_old_and_empty(shop: DemoShop) -> None:
    filled = {row["cart_id"] for row in shop.rows[CartItem]}
    found = set()
    for row in shop.rows[Cart]:
        age = MIDNIGHT - row["updated_at"]
        # Nothing in between, so that the hour of the clean-up does not matter.
        assert age < timedelta(days=29) or timedelta(days=30) < age < timedelta(days=91)
        found.add(("old" if age > timedelta(days=30) else "fresh", row["id"] in filled))

    assert found == {*product(("old", "fresh"), (True, False))}


def test_audit_logs_are_on_both_sides_of_ninety_days(shop: DemoShop) -> None:
    ages = [MIDNIGHT - row["created_at"] for row in shop.rows[AuditLog]]

    assert sum(age < timedelta(days=88) for age in ages) == sum(age > timedelta(days=92) for age in ages) == 150


def test_nothing_happened_later_than_the_day_before(shop: DemoShop) -> None:
    for table, rows in shop.rows.items():
        for row in rows:
            moments = [row[column] for column in ("created_at", "updated_at") if column in row]
            assert moments == sorted(moments), table
            assert all(moment < MIDNIGHT for moment in moments), table


def test_the_same_day_gives_the_same_shop_and_another_day_the_same_people(shop: DemoShop) -> None:
    again, later = DemoShop(TODAY), DemoShop(TODAY + timedelta(days=100))

    assert (again.rows, again.keys) == (shop.rows, shop.keys)
    assert [user["phone"] for user in later.rows[User]] == [user["phone"] for user in shop.rows[User]]
    assert later.rows[Subscription] != shop.rows[Subscription]


async def test_two_databases_get_equal_shops(database_url: str, empty_database_url: str, redis_url: str) -> None:
    assert await seed(database_url, redis_url, today=TODAY)
    assert await seed(empty_database_url, redis_url, today=TODAY)

    stored = await contents(database_url)
    assert all(stored.values())
    assert await contents(empty_database_url) == stored


async def test_amounts_of_orders_items_and_payments_agree(shop: DemoShop, database_url: str, redis_url: str) -> None:
    await seed(database_url, redis_url, today=TODAY)

    async with connected(database_url) as database, database.session() as session:
        wrong = await session.scalar(
            text("""
                SELECT count(*) FROM orders JOIN payments ON order_id = orders.id
                WHERE final_amount <> total_amount - discount_amount OR amount <> final_amount
                OR payments.status <> payment_status OR order_number LIKE 'SUB-%' <> (subscription_id IS NOT NULL)
                OR total_amount <> (SELECT sum(quantity * unit_price) FROM order_items WHERE order_id = orders.id)
                OR total_amount <> (SELECT sum(total_price) FROM order_items WHERE order_id = orders.id)
            """)
        )
        deliveries = await session.scalar(text("SELECT count(*) FROM payments WHERE subscription_id IS NOT NULL"))

    assert (wrong, deliveries) == (0, len(shop.rows[Payment]) - 240)


async def test_keys_of_each_kind_have_lost_their_expiry_or_kept_it(database_url: str, redis_url: str) -> None:
    longest = {"otp": 600, "password_reset": 86_400, "email_verification": 86_400, "session": 7 * 86_400}
    async with connected(database_url) as database:
        await seed(database_url, redis_url, today=TODAY)
        async with database.session() as session:
            contacts = {contact for row in await session.execute(select(User.phone, User.email)) for contact in row}

    found = defaultdict(list)
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        async for key in client.scan_iter():
            kind, _, name = key.partition(":")
            found[kind].append(await client.ttl(key))
            if kind == "otp":
                assert name in contacts
            elif kind != "session":
                assert await client.get(key) in contacts

    assert found.keys() == longest.keys()
    for kind, left in found.items():
        assert -1 in left
        assert longest[kind] - 60 < max(left) <= longest[kind]


async def test_a_second_call_changes_nothing(database_url: str, redis_url: str) -> None:
    await seed(database_url, redis_url, today=TODAY)
    before = await contents(database_url)
    async with Redis.from_url(redis_url) as client:
        await client.flushall()

        assert not await seed(database_url, redis_url, today=TODAY + timedelta(days=1))

        assert await client.dbsize() == 0
    assert await contents(database_url) == before


async def test_a_shop_with_users_of_its_own_is_left_alone(database_url: str, redis_url: str) -> None:
    async with connected(database_url) as database, database.session() as session:
        await session.execute(insert(User).values(phone="+919800000001", name="Asha", role=UserRole.OWNER))

    assert not await seed(database_url, redis_url, today=TODAY)

    assert len((await contents(database_url))["users"]) == 1


async def test_new_rows_can_be_added_after_the_demo_ones(database_url: str, redis_url: str) -> None:
    await seed(database_url, redis_url, today=TODAY)

    async with connected(database_url) as database, database.session() as session:
        user = User(phone="+919600000001", name="Asha", role=UserRole.CONSUMER)
        session.add(user)
        await session.flush()

        assert user.id == await session.scalar(select(func.count()).select_from(User))


async def test_what_is_interrupted_leaves_no_row_and_can_be_done_again(database_url: str, redis_url: str) -> None:
    with pytest.raises(redis.exceptions.ConnectionError):
        await seed(database_url, "redis://127.0.0.1:1/0", today=TODAY)
    assert not any((await contents(database_url)).values())

    assert await seed(database_url, redis_url, today=TODAY)
