"""A shop with as many subscriptions as one likes, made by the database itself."""

from datetime import date

from sqlalchemy import text

from app.db.engine import Database

DAY = date(2026, 3, 2)

_SHOP = """
    INSERT INTO users (id, phone, name, role) SELECT 1, '+910', 'Owner', 'owner';
    INSERT INTO categories (id, name, slug) VALUES (1, 'Milk', 'milk');
    INSERT INTO products (id, owner_id, title, description, category_id, sku, unit_size, consumer_price,
            distributor_price, stock_quantity, is_subscription_available)
        SELECT n, 1, 'Milk ' || n, 'Milk', 1, 'milk-' || n, '1 l', 68, 60, {subscriptions}, true
        FROM generate_series(1, {products}) n;
    INSERT INTO users (id, email, phone, name, role)
        SELECT n + 1, 'customer' || n || '@example.com', '+91' || (6000000000 + n), 'Customer ' || n, 'consumer'
        FROM generate_series(1, {subscriptions}) n;
    INSERT INTO addresses (id, user_id, name, phone, address_line1, city, state, postal_code)
        SELECT n, n + 1, 'Customer', '+91' || n, '12 Lake View', 'Chennai', 'Tamil Nadu', '600004'
        FROM generate_series(1, {subscriptions}) n;
    INSERT INTO subscriptions (id, user_id, product_id, razorpay_subscription_id, plan_frequency, start_date,
            next_delivery_date, delivery_address_id)
        SELECT n, n + 1, n % {products} + 1, 'sub_' || n, 'daily', DATE '{day}', DATE '{day}', n
        FROM generate_series(1, {subscriptions}) n;
    INSERT INTO tasks.mandates (subscription_id, customer_id, token_id, method)
        SELECT n, 'cust_' || n, 'token_' || n, 'upi' FROM generate_series(1, {subscriptions}) n
        WHERE {has_mandates};
"""


async def make_shop(
    database: Database, subscriptions: int, products: int, *, has_mandates: bool, day: date = DAY
) -> None:
    """Daily subscriptions to so many products, due on that day, in a database with empty tables."""
    made = _SHOP.format(subscriptions=subscriptions, products=products, day=day, has_mandates=has_mandates)
    async with database.session() as session:
        for statement in made.split(";"):
            if statement.strip():
                await session.execute(text(statement))
    async with database.autocommit() as connection:
        await connection.execute(text("VACUUM ANALYZE"))
