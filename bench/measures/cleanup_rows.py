"""Cleaning up millions of carts and audit logs, beside the plain DELETE that does the same in one go."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
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
from app.settings import PROJECT_ROOT
from app.tasks.cleanup import cleanup_expired_carts, cleanup_old_audit_logs
from bench.plan import Plan, median
from bench.report import Section, Target

TRIES = 3
ALONE_SECONDS = 5.0
LOOK = 0.01

WANTED_TIMES = 1.5
WANTED_LOCK_MS = 500
WANTED_SLOWER_PERCENT = 20

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
    """What a writer did while the cleanup ran, and the cleanup's longest transaction."""

    per_second: float
    longest_ms: float
    transaction_ms: float


async def measure(plan: Plan) -> Section:
    """Each try on a copy of the same database; plain and ours in turn."""
    section = Section(
        "Cleaning up rows",
        f"Seconds, medians of {TRIES}. Then a customer who writes without a pause: alone, beside the plain DELETE and "
        f"beside ours, medians too; the longest transaction, seen every {LOOK * 1000:.0f} ms; how much memory the "
        f"worker took more. Scale {plan.scale:g}.",
        (
            "",
            "plain DELETE s",
            "ours s",
            "writes/s alone",
            "beside plain",
            "beside ours",
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
        plain.append(await _seconds(_execute(await anext(copies), subject.plain)))
        ours.append(await _seconds(_clean(subject, await anext(copies))))
    grown_mib = (resident_bytes() - before) / 2**20
    besides = []
    alones = []
    besides_plain = []
    for _ in range(TRIES):
        alones.append(await _alone(subject, await anext(copies)))
        besides_plain.append(await _beside_plain(subject, await anext(copies)))
        besides.append(await _beside(subject, await anext(copies)))
    alone, beside_plain = median(alones), median(besides_plain)
    per_second = median([beside.per_second for beside in besides])
    transaction_ms = max(beside.transaction_ms for beside in besides)
    plain_s, ours_s = median(plain), median(ours)
    times, slower = ours_s / plain_s, 100 * (1 - per_second / alone)
    section.rows.append(
        (
            subject.name,
            *(f"{figure:.1f}" for figure in (plain_s, ours_s)),
            *(f"{figure:,.0f}" for figure in (alone, beside_plain, per_second, transaction_ms, grown_mib)),
        )
    )
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
    ]


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


async def _execute(url: str, statements: str) -> None:
    connection = await asyncpg.connect(url, ssl=False)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


async def _clean(subject: Subject, url: str) -> None:
    database = Database(url, application_name="indostar cleanup", pool_size=2)
    context = Context("bench", "bench", subject.name, 1, 1, datetime.now(UTC), Resources([database]))
    await subject.task(context)
    await database.close()


async def _seconds(work: Awaitable[None]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def _alone(subject: Subject, url: str) -> float:
    async with _writer(url, subject.write) as answer:
        await asyncio.sleep(ALONE_SECONDS)
    return answer["per_second"]


async def _beside_plain(subject: Subject, url: str) -> float:
    """What the machine leaves to a writer whatever deletes the rows; one that waits for a row of its own counts too."""
    async with _writer(url, subject.write) as answer:
        await _execute(url, subject.plain)
    return answer["per_second"]


async def _beside(subject: Subject, url: str) -> Beside:
    longest = 0.0
    async with _writer(url, subject.write) as answer:
        cleaning = asyncio.create_task(_clean(subject, url))
        looking = await asyncpg.connect(url, ssl=False)
        while not cleaning.done():
            seconds = await looking.fetchval(
                "SELECT extract(epoch FROM max(clock_timestamp() - xact_start))::float FROM pg_stat_activity"
                " WHERE application_name = 'indostar cleanup' AND backend_xid IS NOT NULL"
            )
            longest = max(longest, seconds or 0)
            await asyncio.sleep(LOOK)
        await looking.close()
        await cleaning
    return Beside(answer["per_second"], answer["longest_ms"], longest * 1000)


@asynccontextmanager
async def _writer(url: str, statement: str) -> AsyncIterator[dict[str, float]]:
    """A writer that is at work; what it has to say is there once the block has ended."""
    writer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.measured.writer", url, statement),
        cwd=PROJECT_ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    answer: dict[str, float] = {}
    try:
        assert writer.stdin is not None
        assert writer.stdout is not None
        await writer.stdout.readline()
        writer.stdin.write(b"count\n")
        yield answer
        said, _ = await writer.communicate(b"")
        answer.update(json.loads(said))
    finally:
        if writer.returncode is None:
            writer.kill()
            await writer.wait()
