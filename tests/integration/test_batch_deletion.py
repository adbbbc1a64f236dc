"""Old rows go, whatever else happens to their table, and only they."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Text, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from app.cleanup.tables import audit_logs_older_than, carts_older_than
from app.db.batch_deletion import BatchDeletion, Tally
from app.db.batch_size import BatchSize
from app.db.engine import Database
from app.db.old_rows import OldRows
from app.db.pacing import REST, REST_FOR_OTHERS
from app.db.shop import AuditLog, Cart, CartItem
from tests.endings import ended_at
from tests.resting import Rests, ticking
from tests.waiting import PATIENCE, until

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
MONTH = timedelta(days=30)
YOUNG = NOW.replace(tzinfo=None)
OLD = YOUNG - 2 * MONTH
# The rows of these tests have no users and no actors: nothing here looks at them.
WITHOUT_PARENTS = text("SET LOCAL session_replication_role = replica")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, application_name="indostar test", pool_size=5)
    async with database.session() as session:
        await session.execute(WITHOUT_PARENTS)
        await session.execute(
            text(
                "INSERT INTO products (id, owner_id, title, description, category_id, sku, unit_size, consumer_price,"
                " distributor_price) VALUES (1, 1, 'Milk', '', 1, 'milk', '1 l', 64, 60)"
            )
        )
    yield database
    await database.close()


async def fill_carts(database: Database, updated: Sequence[datetime], items: Sequence[int] = ()) -> None:
    """Carts numbered from 1, last updated at those times (naive UTC), with so many items each.

    Whatever ran beside it has ended too: items written since count as new.
    """
    async with database.session() as session:
        await session.execute(WITHOUT_PARENTS)
        await session.execute(text("TRUNCATE carts, cart_items RESTART IDENTITY"))
        if updated:
            carts = [{"id": number, "user_id": number, "updated_at": at} for number, at in enumerate(updated, 1)]
            await session.execute(insert(Cart), carts)
        if lines := [number for number, many in enumerate(items, 1) for _ in range(many)]:
            await session.execute(
                insert(CartItem), [{"cart_id": cart, "product_id": 1, "unit_price": 64} for cart in lines]
            )
        transaction = await session.scalar(text("SELECT pg_current_xact_id()::text::bigint"))

    async def is_past() -> bool:
        async with database.session() as session:
            oldest = await session.scalar(text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"))
            return bool(oldest > transaction)

    await until(is_past)


async def cart_ids(database: Database) -> list[int]:
    async with database.session() as session:
        return list(await session.scalars(select(Cart.id).order_by(Cart.id)))


async def items_of(database: Database) -> list[int]:
    async with database.session() as session:
        return list(await session.scalars(select(CartItem.cart_id).order_by(CartItem.id)))


async def delete_old(database: Database, *, batch: int = 10, rows: OldRows | None = None) -> Tally:
    deletion = BatchDeletion(database, rows or carts_older_than(NOW - MONTH), size=BatchSize(first=batch, most=batch))
    await deletion.run(lambda _tally: None)
    return deletion.tally


ages = st.one_of(st.integers(-10, 10), st.integers(-3 * 10**6, 3 * 10**6))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    now=st.datetimes(datetime(2001, 1, 1), datetime(2099, 1, 1), timezones=st.timezones()),  # noqa: DTZ001 -- aware
    carts=st.lists(st.tuples(ages, st.integers(0, 3)), max_size=40),
    batch=st.integers(1, 50),
)
async def test_exactly_the_carts_older_than_the_cutoff_go_with_their_items(
    database: Database, now: datetime, carts: list[tuple[int, int]], batch: int
) -> None:
    """Ages are seconds beyond the cutoff, negative for younger ones."""
    cutoff = (now - MONTH).astimezone(UTC).replace(tzinfo=None)
    await fill_carts(database, [cutoff - timedelta(seconds=age) for age, _ in carts], [items for _, items in carts])

    tally = await delete_old(database, batch=batch, rows=carts_older_than(now - MONTH))

    young = [(number, items) for number, (age, items) in enumerate(carts, 1) if age <= 0]
    old = [items for age, items in carts if age > 0]
    assert await cart_ids(database) == [number for number, _ in young]
    assert await items_of(database) == [number for number, items in young for _ in range(items)]
    assert tally == Tally(deleted=len(old), childless=old.count(0))


async def write_audit_logs(
    database: Database, written: Sequence[datetime], details: Mapping[str, str] | None = None
) -> None:
    """Numbered from 1, written at those times (naive UTC)."""
    log = {"actor_id": 1, "action_type": "a", "object_type": "o", "object_id": 1, "details": details or {}}
    async with database.session() as session:
        await session.execute(WITHOUT_PARENTS)
        await session.execute(insert(AuditLog), [log | {"created_at": at} for at in written])


async def test_old_audit_logs_go(database: Database) -> None:
    written = [YOUNG - MONTH + timedelta(seconds=seconds) for seconds in range(-250, 250)]
    await write_audit_logs(database, written)

    tally = await delete_old(database, batch=100, rows=audit_logs_older_than(NOW - MONTH))

    async with database.session() as session:
        assert list(await session.scalars(select(AuditLog.created_at).order_by(AuditLog.id))) == written[250:]
    assert tally == Tally(deleted=250)


async def test_audit_logs_that_cannot_go_are_counted_and_the_others_go(database: Database) -> None:
    await write_audit_logs(database, [OLD] * 50)
    async with database.session() as session:
        await session.execute(text("CREATE TABLE complaints (audit_log_id integer REFERENCES audit_logs)"))
        await session.execute(text("INSERT INTO complaints VALUES (1), (33)"))

    async with database.session() as auditor:
        await auditor.execute(select(AuditLog.id).where(AuditLog.id == 20).with_for_update())
        tally = await delete_old(database, batch=20, rows=audit_logs_older_than(NOW - MONTH))

    async with database.session() as session:
        assert list(await session.scalars(select(AuditLog.id).order_by(AuditLog.id))) == [1, 20, 33]
    assert tally == Tally(deleted=47, refused=2, refused_keys=[1, 33])


async def test_pages_around_a_row_that_cannot_go_lose_their_old_rows(database: Database) -> None:
    """More pages than one statement takes, each with one row; one row in the midst is locked."""
    written = [OLD if number % 2 else YOUNG for number in range(1, 1_001)]
    async with database.session() as session:
        await session.execute(text("ALTER TABLE audit_logs SET (fillfactor = 10)"))
        await session.execute(text("ALTER TABLE audit_logs ALTER COLUMN details SET STORAGE PLAIN"))
    await write_audit_logs(database, written, details={"": "x" * 4_500})

    async with database.session() as auditor:
        await auditor.execute(select(AuditLog.id).where(AuditLog.id == 331).with_for_update())
        tally = await delete_old(database, rows=audit_logs_older_than(NOW - MONTH))

    async with database.session() as session:
        left = list(await session.scalars(select(AuditLog.id).order_by(AuditLog.id)))
    assert left == sorted([331, *range(2, 1_001, 2)])
    assert tally == Tally(deleted=499)


async def told_of(database: Database, rows: OldRows, size: BatchSize) -> list[int]:
    """How many each transaction deleted, where each took a second, which is five times as long as it should."""
    told = [0]
    deletion = BatchDeletion(database, rows, size=size, clock=ticking(), rest=Rests())
    await deletion.run(lambda tally: told.append(tally.deleted))
    return [after - before for before, after in pairwise(told)]


async def test_transactions_that_take_too_long_are_followed_by_smaller_ones(database: Database) -> None:
    await fill_carts(database, [OLD] * 400)
    async with database.session() as session:
        await session.execute(text("ALTER TABLE audit_logs ALTER COLUMN details SET STORAGE PLAIN"))
    # One a page.
    await write_audit_logs(database, [OLD] * 120, details={"": "x" * 4_500})

    carts = await told_of(database, carts_older_than(NOW - MONTH), BatchSize(first=200))
    logs = await told_of(database, audit_logs_older_than(NOW - MONTH), BatchSize())

    assert carts[:3] == [200, 40, 10]
    assert logs[:3] == [64, 12, 10]


async def test_old_rows_are_found_on_whatever_page_they_lie(database: Database) -> None:
    """More pages than one transaction looks through, with old rows on the last as on the first."""
    async with database.session() as session:
        await session.execute(WITHOUT_PARENTS)
        # A row fills a page.
        await session.execute(text("ALTER TABLE carts SET (fillfactor = 10)"))
        await session.execute(
            text(
                "INSERT INTO carts (id, user_id, updated_at, coupon_code) SELECT n, n,"
                " CASE WHEN n % 1000 = 0 THEN CAST(:old AS timestamp) ELSE CAST(:young AS timestamp) END,"
                " repeat('x', 100) FROM generate_series(1, 15000) n"
            ),
            {"old": OLD, "young": YOUNG},
        )

    tally = await delete_old(database)

    assert tally.deleted == 15
    assert len(await cart_ids(database)) == 15_000 - 15


async def test_carts_that_somebody_is_changing_are_passed_over(database: Database) -> None:
    await fill_carts(database, [OLD] * 30)

    async with database.session() as session:
        await session.execute(update(Cart).where(Cart.id == 7).values(coupon_code="MILK"))
        async with database.session() as other:
            await other.execute(insert(CartItem).values(cart_id=8, product_id=1, unit_price=64))
            tally = await delete_old(database)

    assert await cart_ids(database) == [7, 8]
    assert tally.deleted == 28


class Stop:
    """Stands where a deletion rests, until it may go on."""

    def __init__(self) -> None:
        self.is_reached = asyncio.Event()
        self.may_go_on = asyncio.Event()

    async def __call__(self, _seconds: float) -> None:
        self.is_reached.set()
        await self.may_go_on.wait()


async def test_a_cart_that_gets_an_item_during_the_run_stays_with_all_it_has(database: Database) -> None:
    await fill_carts(database, [OLD] * 30, [1] * 30)
    stop = Stop()
    deletion = BatchDeletion(database, carts_older_than(NOW - MONTH), size=BatchSize(first=10, most=10), rest=stop)

    async with database.session() as before:
        # Begun before the run and committed in its midst; in a savepoint, as it has a transaction number of its own.
        await before.execute(select(func.pg_current_xact_id().cast(Text)))
        async with before.begin_nested():
            await before.execute(insert(CartItem).values(cart_id=15, product_id=1, unit_price=64))
        running = asyncio.create_task(deletion.run(lambda _tally: None))
        await stop.is_reached.wait()
    async with database.session() as meanwhile:
        await meanwhile.execute(insert(CartItem).values(cart_id=25, product_id=1, unit_price=64))
    stop.may_go_on.set()
    await running

    assert await cart_ids(database) == [15, 25]
    assert await items_of(database) == [15, 25, 15, 25]
    assert deletion.tally == Tally(deleted=28, in_use=2)


async def test_customers_who_touch_carts_all_the_time_lose_none(database: Database) -> None:
    """What a customer was told is done must be there in the end."""
    await fill_carts(database, [OLD] * 600, [1] * 600)
    touched: set[int] = set()
    filled: set[int] = set()
    is_over = asyncio.Event()

    async def customer(first: int) -> None:
        for cart in range(first, 601, 7):
            if is_over.is_set():
                return
            async with database.session() as session:
                if cart % 2:
                    touch = update(Cart).where(Cart.id == cart).values(updated_at=YOUNG)
                    found = await session.scalar(touch.returning(Cart.id))
                else:
                    found = await session.scalar(
                        text(
                            "INSERT INTO cart_items (cart_id, product_id, unit_price) SELECT id, 1, 64 FROM carts"
                            " WHERE id = :id FOR KEY SHARE RETURNING cart_id"
                        ),
                        {"id": cart},
                    )
            if found:
                (touched if cart % 2 else filled).add(cart)

    customers = [asyncio.create_task(customer(first)) for first in (7, 5, 3)]
    tally = await delete_old(database, batch=20)
    is_over.set()
    await asyncio.gather(*customers)

    left = await cart_ids(database)
    assert set(left) >= touched | filled
    assert tally.deleted == 600 - len(left)
    items = await items_of(database)
    assert all(items.count(cart) == 2 for cart in filled)
    assert all(items.count(cart) == 1 for cart in touched)


async def test_who_waits_for_what_we_have_is_never_the_one_to_give_way(database: Database) -> None:
    """A customer changes an item first and its cart after it; the cart's lock is ours, the item's is not."""
    await fill_carts(database, [OLD] * 30, [1] * 30)

    async with database.session() as customer:
        await customer.execute(update(CartItem).where(CartItem.cart_id == 12).values(quantity=2))
        running = asyncio.create_task(delete_old(database))
        # Waits for us, or is there before us: it may go on either way.
        await customer.execute(update(Cart).where(Cart.id == 12).values(updated_at=YOUNG))
    tally = await running

    assert await cart_ids(database) == [12]
    assert await items_of(database) == [12]
    assert tally.deleted == 29


async def test_rows_that_a_foreign_key_keeps_are_counted_and_the_others_go(database: Database) -> None:
    await fill_carts(database, [OLD] * 100, [1] * 100)
    async with database.session() as session:
        await session.execute(text("CREATE TABLE gifts (cart_id integer REFERENCES carts ON DELETE RESTRICT)"))
        await session.execute(text("CREATE TABLE notes (cart_id integer REFERENCES carts INITIALLY DEFERRED)"))
        await session.execute(text("INSERT INTO gifts VALUES (3), (4), (77)"))
        await session.execute(text("INSERT INTO notes VALUES (50)"))

    tally = await delete_old(database, batch=40)

    assert await cart_ids(database) == await items_of(database) == [3, 4, 50, 77]
    assert tally == Tally(deleted=96, refused=4, refused_keys=tally.refused_keys)
    assert sorted(tally.refused_keys) == [3, 4, 50, 77]


async def test_it_rests_for_longer_while_somebody_writes(database: Database, database_url: str) -> None:
    customer = Database(database_url, application_name="customer", pool_size=1)

    async def rests(rest: Rests) -> Rests:
        await fill_carts(database, [*[OLD] * 60, YOUNG])
        size = BatchSize(first=10, most=10)
        deletion = BatchDeletion(database, carts_older_than(NOW - MONTH), size=size, clock=ticking(), rest=rest)
        await deletion.run(lambda _tally: None)
        assert await cart_ids(database) == [61]
        return rest

    class Busy(Rests):
        async def __call__(self, seconds: float) -> None:
            await super().__call__(seconds)
            async with customer.session() as session:
                await session.execute(update(Cart).where(Cart.id == 61).values(coupon_code="MILK"))

    alone, beside = await rests(Rests()), await rests(Busy())
    await customer.close()

    # The server's own housekeeping may write during some of them.
    assert REST in alone
    assert beside[1:] == [REST_FOR_OTHERS] * 5


async def test_what_is_wrong_with_no_row_is_raised(database: Database) -> None:
    await fill_carts(database, [OLD])
    async with database.session() as session:
        await session.execute(
            text(
                "CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not on Sundays'; END $$;"
            )
        )
        await session.execute(
            text("CREATE TRIGGER forbid BEFORE DELETE ON carts FOR EACH ROW EXECUTE FUNCTION forbid()")
        )

    with pytest.raises(DBAPIError, match="not on Sundays"):
        await delete_old(database)


async def test_ended_at_any_await_and_run_again_it_ends_where_one_run_would_have(database_url: str) -> None:
    setting_up = Database(database_url, application_name="indostar test", pool_size=2)

    async def has_gone() -> bool:
        """Whether the server has ended what it was told by a connection that was broken off."""
        async with setting_up.session() as session:
            sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ended'"
            return not await session.scalar(text(sessions))

    async with asyncio.timeout(5 * PATIENCE):
        for step in count(1):
            await fill_carts(setting_up, [OLD, YOUNG] * 10, [0, 0, 1, 1] * 5)
            # A run of its own: what its connections are left in dies with it.
            database = Database(database_url, application_name="ended", pool_size=1)
            deletion = BatchDeletion(database, carts_older_than(NOW - MONTH), size=BatchSize(first=4, most=4))
            has_ended = await ended_at(step, deletion.run(lambda _tally: None))
            await database.close()
            await until(has_gone)
            left = [cart for cart in await cart_ids(setting_up) if cart % 2]
            again = await delete_old(setting_up, batch=4)

            # The last transaction may have been committed without anybody hearing of it.
            assert 10 - len(left) - deletion.tally.deleted in (0, 4, 2)
            assert again.deleted == len(left)
            assert await cart_ids(setting_up) == list(range(2, 21, 2))
            assert await items_of(setting_up) == list(range(4, 21, 4))
            if has_ended:
                break
    await setting_up.close()
    assert step > 10
