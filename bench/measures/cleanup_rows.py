"""Cleaning up millions of carts and audit logs, beside the plain DELETE that does the same in one go."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg

from app.db.engine import Database
from app.dev.demo_shop import create_shop_tables
from app.dev.postgres import DATABASE, EmbeddedPostgres
from app.jobs.context import Context, Resources
from app.jobs.registry import resident_bytes
from app.tasks.cleanup import cleanup_expired_carts, cleanup_old_audit_logs
from bench.plan import Plan, median
from bench.report import Section, Target
from bench.writing import Writes, writer

TRIES = 3
ALONE_SECONDS = 5.0
LOOK = 0.01

WANTED_TIMES = 1.5
WANTED_LOCK_MS = 500
WANTED_SLOWER_PERCENT = 20
WANTED_MIB = 40

DELETING = "indostar cleanup"

PRODUCT = """
INSERT INTO products (id, owner_id, title, description, category_id, sku, unit_size, consumer_price, distributor_price)
VALUES (1, 1, 'Milk', '', 1, 'milk', '1 l', 64, 60);
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """A table with many old rows. Odd numbers are young carts, so that the old ones lie among them."""

    name: str
    fill: str
    millions: float
    plain: str
    task: Callable[[Context], Awaitable[object]]
    write: str


CARTS = Subject(
    "1,000,000 carts with 3,000,000 items among 2,000,000",
    PRODUCT
    + """
    INSERT INTO carts (user_id, updated_at)
    SELECT n, now() - CASE WHEN n % 2 = 0 THEN interval '60 days' ELSE interval '1 day' END
    FROM generate_series(1, {rows}) n;
    INSERT INTO cart_items (cart_id, product_id, unit_price)
    SELECT n, 1, 64 FROM generate_series(1, {rows}) n, generate_series(1, 3) k WHERE n % 2 = 0 OR k = 1;
    """,
    2,
    "DELETE FROM carts WHERE updated_at < now() - interval '30 days'",
    cleanup_expired_carts,
    "UPDATE carts SET updated_at = now() WHERE id = $1::integer * 2 + 1",
)
AUDIT_LOGS = Subject(
    "2,000,000 audit logs among 4,000,000",
    """
    INSERT INTO audit_logs (actor_id, action_type, object_type, object_id, details, created_at)
    SELECT n % 100, 'update', 'product', n, '{{"price": 64}}', now() - (1 - n / {rows}.0) * interval '180 days'
    FROM generate_series(1, {rows}) n;
    """,
    4,
    "DELETE FROM audit_logs WHERE created_at < now() - interval '90 days'",
    cleanup_old_audit_logs,
    "INSERT INTO audit_logs (actor_id, action_type, object_type, object_id, details)"
    " VALUES ($1, 'update', 'product', 1, '{}')",
)


@dataclass(frozen=True, slots=True)
class Beside:
    """A deletion beside a writer: what he wrote alone, just before it, and beside it; how long it took."""

    alone: Writes
    beside: Writes
    seconds: float
    transaction_ms: float

    @property
    def slower_percent(self) -> float:
        return 100 * (1 - self.beside.per_second / self.alone.per_second)


async def measure(plan: Plan) -> Section:
    """Each try on a copy of the same database; plain and ours in turn."""
    section = Section(
        "Cleaning up rows",
        f"Medians of {TRIES}: seconds with nobody there, and beside a customer who writes without a pause; what he "
        f"writes in {ALONE_SECONDS:g} s before that and until its end, how much slower he is, and how long the slowest "
        f"hundredth and the slowest of his writes take. The longest transaction of all, seen every {LOOK * 1000:.0f} "
        f"ms; how much memory the worker took more. Scale {plan.scale:g}.",
        (
            "",
            "alone s",
            "beside a writer s",
            "writes/s alone",
            "beside",
            "slower %",
            "p99 / slowest ms alone",
            "beside",
            "longest transaction ms",
            "memory MiB",
        ),
    )
    for subject in (CARTS, AUDIT_LOGS):
        async with _site(subject, plan.scale) as copies:
            await _measure(subject, copies, section)
    return section


async def _measure(subject: Subject, copies: AsyncIterator[str], section: Section) -> None:
    plain, ours = [], []
    before = resident_bytes()
    for _ in range(TRIES):
        plain.append(await _seconds(_delete(subject, await anext(copies))))
        ours.append(await _seconds(_clean(subject, await anext(copies))))
    grown_mib = (resident_bytes() - before) / 2**20
    besides_plain, besides = [], []
    for _ in range(TRIES):
        besides_plain.append(await _beside(subject, await anext(copies), _delete))
        besides.append(await _beside(subject, await anext(copies), _clean))
    section.rows += [
        (f"{subject.name}: plain DELETE", *_figures(median(plain), besides_plain), ""),
        ("ours", *_figures(median(ours), besides), f"{grown_mib:.0f}"),
    ]
    times = median(ours) / median(plain)
    transaction_ms = max(beside.transaction_ms for beside in besides)
    slower = median([beside.slower_percent for beside in besides])
    section.targets += [
        Target(subject.name, f"{WANTED_TIMES} x a plain DELETE", f"{times:.2f} x", times <= WANTED_TIMES),
        Target(
            subject.name,
            f"no lock over {WANTED_LOCK_MS} ms",
            f"{transaction_ms:.0f} ms",
            transaction_ms <= WANTED_LOCK_MS,
        ),
        Target(
            subject.name,
            f"a writer slowed by less than {WANTED_SLOWER_PERCENT} %",
            f"{slower:.0f} %",
            slower < WANTED_SLOWER_PERCENT,
        ),
        Target(
            subject.name,
            f"memory grows by less than {WANTED_MIB} MiB",
            f"{grown_mib:.0f} MiB",
            grown_mib < WANTED_MIB,
        ),
    ]


def _figures(seconds: float, besides: Sequence[Beside]) -> Iterator[str]:
    yield f"{seconds:.1f}"
    yield f"{median([beside.seconds for beside in besides]):.1f}"
    alone, there = [beside.alone for beside in besides], [beside.beside for beside in besides]
    for writes in (alone, there):
        yield f"{median([each.per_second for each in writes]):,.0f}"
    yield f"{median([beside.slower_percent for beside in besides]):.0f}"
    for writes in (alone, there):
        yield f"{median([each.p99_ms for each in writes]):.1f} / {median([each.longest_ms for each in writes]):.0f}"
    yield f"{max(beside.transaction_ms for beside in besides):,.0f}"


@asynccontextmanager
async def _site(subject: Subject, scale: float) -> AsyncIterator[AsyncIterator[str]]:
    """URLs of fresh copies of a filled database; each ends the one before."""
    with TemporaryDirectory(prefix="indostar-bench-") as name:
        # As root, PostgreSQL runs as another user.
        Path(name).chmod(0o711)
        async with EmbeddedPostgres(Path(name)) as server:
            await create_shop_tables(server.url)
            rows = int(subject.millions * 1_000_000 * scale)
            filling = f"SET session_replication_role = replica; {subject.fill.format(rows=rows)}"
            await _execute(server.url, filling)
            await _execute(server.url, "VACUUM (FREEZE, ANALYZE)")
            yield _copies(server)


async def _copies(server: EmbeddedPostgres) -> AsyncIterator[str]:
    administration = server.url_of("postgres")
    for number in count(1):
        await _execute(administration, f"DROP DATABASE IF EXISTS copy_{number - 1} WITH (FORCE)")
        await _execute(administration, f"CREATE DATABASE copy_{number} TEMPLATE {DATABASE} STRATEGY FILE_COPY")
        yield server.url_of(f"copy_{number}")


async def _execute(url: str, statements: str, name: str = "") -> None:
    connection = await asyncpg.connect(url, ssl=False, server_settings={"application_name": name})
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


async def _delete(subject: Subject, url: str) -> None:
    await _execute(url, subject.plain, DELETING)


async def _clean(subject: Subject, url: str) -> None:
    database = Database(url, application_name=DELETING, pool_size=2)
    context = Context("bench", "bench", subject.name, 1, 1, datetime.now(UTC), Resources([database]))
    await subject.task(context)
    await database.close()


async def _seconds(work: Awaitable[None]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def _beside(subject: Subject, url: str, work: Callable[[Subject, str], Awaitable[None]]) -> Beside:
    longest = 0.0
    looking = await asyncpg.connect(url, ssl=False)
    async with writer(url, subject.write) as customer:
        await customer.since()
        await asyncio.sleep(ALONE_SECONDS)
        alone = await customer.since()
        deleting = asyncio.create_task(_seconds(work(subject, url)))
        while not deleting.done():
            seconds = await looking.fetchval(
                "SELECT extract(epoch FROM max(clock_timestamp() - xact_start))::float FROM pg_stat_activity"
                " WHERE application_name = $1 AND backend_xid IS NOT NULL",
                DELETING,
            )
            longest = max(longest, seconds or 0)
            await asyncio.sleep(LOOK)
        beside = await customer.since()
    await looking.close()
    return Beside(alone, beside, await deleting, longest * 1000)
