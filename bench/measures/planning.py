"""The midnight run's plan of a million subscriptions: how long, in how much memory, and what one hot product costs."""

import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from app.db.engine import Database
from app.db.migrate import migrate
from app.deliveries.brake import BrakeBounds
from app.deliveries.decisions import Terms
from app.deliveries.preview import Preview
from app.deliveries.run import DeliveryRun, RunOptions
from app.dev.demo_shop import create_shop_tables
from app.dev.postgres import EmbeddedPostgres
from app.jobs.registry import resident_bytes
from bench.many_subscriptions import DAY, make_shop
from bench.plan import Plan
from bench.report import Section, Target

SUBSCRIPTIONS = 1_000_000
WANTED_SECONDS = 60
# Between the first tenth of the run and its end.
WANTED_GROWTH_MIB = 8
WANTED_DIFFERENCE = 0.15

BOUNDS = BrakeBounds(refused_points=40, unknown_points=25, amount_factor=3)


@dataclass(frozen=True, slots=True)
class Planned:
    """One run; memory is this process's, in MiB, after a tenth of it and in the end."""

    seconds: float
    early_mib: float
    last_mib: float
    preview_seconds: float


async def measure(_plan: Plan) -> Section:
    """Ours alone, in this process: what takes time is PostgreSQL."""
    shapes = {
        "one product, invoices": await _run(1, has_mandates=False, notice_days=2),
        "a hundred products, invoices": await _run(100, has_mandates=False, notice_days=2),
        "one product, mandates": await _run(1, has_mandates=True, notice_days=0),
        "one product, mandates with notices": await _run(1, has_mandates=True, notice_days=2),
    }
    one, hundred = shapes["one product, invoices"], shapes["a hundred products, invoices"]
    growth = max(each.last_mib - each.early_mib for each in shapes.values())
    difference = abs(one.seconds / hundred.seconds - 1)
    return Section(
        "The plan of a million deliveries",
        f"{SUBSCRIPTIONS:,} due subscriptions in pages, on a PostgreSQL that syncs every commit: charges, jobs in the "
        "outbox, next dates, stock. With notices, those of two days later are planned as well. Memory: after a tenth "
        "of the run, and in the end.",
        ("", "s", "a second", "early MiB", "last MiB", "preview s"),
        [
            (
                name,
                f"{each.seconds:.1f}",
                f"{SUBSCRIPTIONS / each.seconds:,.0f}",
                f"{each.early_mib:.0f}",
                f"{each.last_mib:.0f}",
                f"{each.preview_seconds:.1f}",
            )
            for name, each in shapes.items()
        ],
        [
            *(
                Target(
                    f"plan of a million, {name}",
                    f"under {WANTED_SECONDS} s",
                    f"{each.seconds:.1f} s",
                    each.seconds < WANTED_SECONDS,
                )
                for name, each in shapes.items()
            ),
            Target(
                "memory while planning",
                f"grows by less than {WANTED_GROWTH_MIB} MiB",
                f"{growth:.1f} MiB",
                growth < WANTED_GROWTH_MIB,
            ),
            Target(
                "one product against a hundred",
                f"within {WANTED_DIFFERENCE:.0%}",
                f"{difference:.0%}",
                difference < WANTED_DIFFERENCE,
            ),
        ],
    )


async def _run(products: int, *, has_mandates: bool, notice_days: int) -> Planned:
    with TemporaryDirectory(prefix="indostar-bench-") as name:
        Path(name).chmod(0o711)
        async with EmbeddedPostgres(Path(name)) as server:
            await create_shop_tables(server.url)
            await migrate(server.url)
            database = Database(server.url, application_name="indostar bench", pool_size=2)
            await make_shop(database, SUBSCRIPTIONS, products, has_mandates=has_mandates)
            planned = await _measured(database, notice_days)
            await database.close()
            return planned


async def _measured(database: Database, notice_days: int) -> Planned:
    began = time.monotonic()
    lines = 0
    async for _ in Preview(database, Terms(DAY)).lines():
        lines += 1
    preview_seconds = time.monotonic() - began

    early: list[int] = []

    def note(done: int, _last: int | None) -> None:
        if not early and done >= SUBSCRIPTIONS // 10:
            early.append(resident_bytes())

    options = RunOptions(charging="charge", bounds=BOUNDS, notice=timedelta(days=notice_days))
    began = time.monotonic()
    run = await DeliveryRun(database, Terms(DAY), options, by="bench").run(note)
    seconds = time.monotonic() - began
    if not lines == run.charges == SUBSCRIPTIONS:
        raise RuntimeError(f"{lines} lines of preview, {run.charges} charges: {SUBSCRIPTIONS} are due")
    return Planned(seconds, early[0] / 2**20, resident_bytes() / 2**20, preview_seconds)
