"""A small shop with subscriptions in the database, and what a run made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Row, func, select, text

from app.db.charges import Charge
from app.db.engine import Database
from app.db.outbox import OutboxJob
from app.db.shop import Product
from app.db.subscription_runs import SubscriptionRun
from app.deliveries.brake import BrakeBounds
from app.deliveries.decisions import MissedDeliveries, Terms
from app.deliveries.run import LOCK_PATIENCE, DeliveryRun, RunOptions
from app.tasks.run_news import RunNews

DAY = date(2026, 3, 2)
ONE_DAY = timedelta(days=1)
BOUNDS = BrakeBounds(refused_points=40, unknown_points=25, amount_factor=3)

# Customers 2, 3, ... each with an address and a subscription of their own; the owner is 1.
_ROWS = """
    INSERT INTO users (id, phone, name, role) VALUES (1, '+910', 'Owner', 'owner');
    INSERT INTO categories (id, name, slug) VALUES (1, 'Milk', 'milk');
    INSERT INTO products (id, owner_id, title, description, category_id, sku, unit_size, consumer_price,
            distributor_price, stock_quantity)
        SELECT n, 1, 'Milk', 'Milk', 1, 'milk-' || n, '1 l', 68, 60.5, CAST(:stock AS integer)
        FROM generate_series(1, CAST(:products AS integer)) n;
    INSERT INTO users (id, phone, name, role)
        SELECT n + 1, '+91' || n, 'Customer', 'consumer' FROM generate_series(1, CAST(:count AS integer)) n;
    INSERT INTO addresses (id, user_id, name, phone, address_line1, city, state, postal_code)
        SELECT n, n + 1, 'Customer', '+91', '12 Lake View', 'Chennai', 'Tamil Nadu', '600004'
        FROM generate_series(1, CAST(:count AS integer)) n;
    INSERT INTO subscriptions (id, user_id, product_id, razorpay_subscription_id, plan_frequency, start_date,
            next_delivery_date, delivery_address_id)
        SELECT n, n + 1, n % CAST(:products AS integer) + 1, 'sub_' || n, 'daily', CAST(:day AS date),
            CAST(:day AS date), n
        FROM generate_series(1, CAST(:count AS integer)) n
"""
_EMPTY = """
    TRUNCATE users, categories, tasks.charges, tasks.charge_events, tasks.mandates, tasks.debit_notices,
        tasks.paid_periods, tasks.outbox, tasks.subscription_runs CASCADE
"""


@dataclass(frozen=True, slots=True)
class DeliveryShop:
    """Subscriptions 1, 2, ... to products in turn; one unit is Rs 68, for distributors Rs 60.50."""

    database: Database

    async def open(self, count: int = 1, *, products: int = 1, stock: int = 1000) -> None:
        """Daily subscriptions that are due on DAY, and nothing else, whatever was there."""
        names = {"count": count, "products": products, "stock": stock, "day": DAY}
        async with self.database.session() as session:
            await session.execute(text(_EMPTY))
            for statement in _ROWS.split(";"):
                asked = {name: value for name, value in names.items() if f":{name} " in statement}
                await session.execute(text(statement), asked)

    async def sql(self, statement: str, **parameters: Any) -> Sequence[Row[Any]]:
        """One statement in a transaction of its own, and its rows."""
        async with self.database.session() as session:
            result = await session.execute(text(statement), parameters)
            return result.all() if result.returns_rows else []  # type: ignore[attr-defined]  # a CursorResult

    def planning(
        self,
        day: date = DAY,
        *,
        missed: MissedDeliveries = "skip",
        page: int = 3,
        notice_days: int = 0,
        telling: str | None = None,
        news: RunNews | None = None,
        bounds: BrakeBounds = BOUNDS,
        announcing: str | None = None,
        lock_patience: timedelta = LOCK_PATIENCE,
    ) -> DeliveryRun:
        options = RunOptions(
            "process_single_subscription",
            bounds,
            timedelta(days=notice_days),
            page,
            telling,
            announcing=announcing,
            lock_patience=lock_patience,
        )
        if news is not None:
            options = replace(options, at_begin=news.begun, at_end=news.ended, at_brake=news.braked)
        return DeliveryRun(self.database, Terms(day, missed), options, by="test")

    async def run(self, day: date = DAY, **options: Any) -> SubscriptionRun:
        return await self.planning(day, **options).run()

    async def charges(self) -> Sequence[Charge]:
        async with self.database.session() as session:
            found = await session.scalars(select(Charge).order_by(Charge.subscription_id, Charge.delivery_date))
            return found.all()

    async def reasons(self) -> Mapping[int, str | None]:
        """Of each subscription with one charge: why it was skipped, None where it is charged."""
        return {charge.subscription_id: charge.reason for charge in await self.charges()}

    async def jobs(self) -> Sequence[OutboxJob]:
        """But for those that ask whether what is skipped is owed."""
        jobs = select(OutboxJob).where(func.coalesce(OutboxJob.key, "").not_like("%:owed")).order_by(OutboxJob.id)
        async with self.database.session() as session:
            return (await session.scalars(jobs)).all()

    async def stock(self) -> Mapping[int, int]:
        async with self.database.session() as session:
            rows = await session.execute(select(Product.id, Product.stock_quantity).order_by(Product.id))
            return {row.id: row.stock_quantity for row in rows}

    async def everything(self) -> Sequence[Sequence[Any]]:
        """All that a run writes, for comparison."""
        tables = ("tasks.charges", "tasks.outbox", "tasks.subscription_runs", "tasks.debit_notices", "subscriptions")
        return [await self.sql(f"SELECT t::text FROM {table} t ORDER BY 1") for table in (*tables, "products")]
