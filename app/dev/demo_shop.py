"""The demo shop in a database and a Redis that have no shop yet: tables, rows and keys."""

from datetime import UTC, date, datetime

from redis.asyncio import Redis
from sqlalchemy import func, insert, select

from app.db.engine import Database
from app.db.shop import ShopTable, User
from app.dev.demo_rows import DemoShop

# Any number: whoever fills the same database at the same time waits.
SEED_LOCK = 7_205_759_403_792_794


async def create_shop_tables(database_url: str) -> None:
    """Create those of the shop's tables that are absent. For databases without the shop's backend only."""
    database = Database(database_url, application_name="indostar demo", pool_size=1)
    try:
        async with database.engine.begin() as connection:
            await connection.execute(select(func.pg_advisory_xact_lock(SEED_LOCK)))
            await connection.run_sync(ShopTable.metadata.create_all)
    finally:
        await database.close()


async def seed(database_url: str, redis_url: str, *, today: date | None = None) -> bool:
    """Fill a shop that has no users yet, as of `today` (in UTC); False when it has some and was left alone.

    All or nothing, whenever it is interrupted. Creates the tables where they are absent.
    """
    await create_shop_tables(database_url)
    database = Database(database_url, application_name="indostar demo", pool_size=1)
    try:
        async with database.session() as session, Redis.from_url(redis_url) as redis:
            await session.execute(select(func.pg_advisory_xact_lock(SEED_LOCK)))
            if await session.scalar(select(User.id).limit(1)):
                return False
            shop = DemoShop(today or datetime.now(UTC).date())
            for table, rows in shop.rows.items():
                await session.execute(insert(table), rows)
                sequence = func.pg_get_serial_sequence(table.__tablename__, "id")
                await session.execute(select(func.setval(sequence, len(rows))))
            # Before COMMIT: keys without rows are written over by the next call, rows without keys would stay.
            pipeline = redis.pipeline(transaction=True)
            for key, value, expiry in shop.keys:
                pipeline.set(key, value, ex=expiry)
            await pipeline.execute()
        return True
    finally:
        await database.close()
