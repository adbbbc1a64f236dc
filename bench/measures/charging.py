"""The midnight run with its charges: a hundred thousand deliveries at a gateway that takes 100 ms for each answer."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import date, datetime

import asyncpg

from app.db.engine import Database
from app.india import INDIA
from app.jobs.pool import JobPool
from app.tasks import TASKS
from bench.gateway import LATENCY_SECONDS
from bench.many_subscriptions import make_shop
from bench.measures.mails import open_database, open_provider
from bench.plan import Plan
from bench.report import Section, Target
from bench.systems import OUR_MAILS, Shape, System
from bench.trial import Workers, open_trial
from bench.usage import Usage

DELIVERIES = 100_000
SHAPE = Shape(2, 100)
WANTED_MANDATE_SECONDS = 600
WANTED_INVOICE_SECONDS = 300
WANTED_DIFFERENCE = 0.15
# Between the first tenth of the charges and the last, all processes together.
WANTED_GROWTH_MIB = 40
WITHIN = 1_800
# How often PostgreSQL is asked how many are charged (seconds).
LOOK = 0.5

OUR_CHARGES: System = replace(
    OUR_MAILS, name="ours, the midnight run", worker=lambda _shape: ("arq", "worker.SubscriptionsWorker")
)
_CAPTURED = "SELECT count(*) FROM tasks.charges WHERE state = 'captured'"


@dataclass(frozen=True, slots=True)
class Charged:
    """From the run's enqueueing until all are captured. CPU is microseconds a delivery, memory MiB of all workers."""

    seconds: float
    worker_us: float
    valkey_us: float
    early_mib: float
    peak_mib: float


async def measure(plan: Plan) -> Section:
    """Ours alone. The whole takes half an hour; a tenth of it tells as much of the rates."""
    count = max(1_000, int(DELIVERIES * plan.scale))
    shapes = {
        "mandates, one product": await _charged(count, products=1, has_mandates=True),
        "mandates, a hundred products": await _charged(count, products=100, has_mandates=True),
        "invoices, one product": await _charged(count, products=1, has_mandates=False),
    }
    bare = {
        "the gateway's calls alone, mandates": await _bare("bench.bare.gateway:mandate_sender", count // 10),
        "the gateway's calls alone, invoices": await _bare("bench.bare.gateway:invoice_sender", count // 10),
    }
    return Section(
        "The midnight run with its charges",
        f"{count:,} due deliveries, planned and charged by {SHAPE} slots; the gateway answers in "
        f"{LATENCY_SECONDS * 1000:.0f} ms and captures every debit. Workers, PostgreSQL (which syncs every commit), "
        "Valkey and the gateway share the machine. Confirmations are not sent, and the coming days' debits are "
        "announced a quarter of an hour later. The bare rows are one process with 200 calls at once.",
        ("", "s", "a second", "worker CPU us", "Valkey CPU us", "early MiB", "peak MiB"),
        [
            *(
                (
                    name,
                    f"{each.seconds:.0f}",
                    f"{count / each.seconds:,.0f}",
                    f"{each.worker_us:,.0f}",
                    f"{each.valkey_us:,.0f}",
                    f"{each.early_mib:.0f}",
                    f"{each.peak_mib:.0f}",
                )
                for name, each in shapes.items()
            ),
            *((name, "", f"{rate:,.0f}", "", "", "", "") for name, rate in bare.items()),
        ],
        _targets(count, shapes),
    )


def _targets(count: int, shapes: Mapping[str, Charged]) -> list[Target]:
    mandates, many, invoices = shapes.values()
    difference = abs(mandates.seconds / many.seconds - 1)
    growth = max(each.peak_mib - each.early_mib for each in shapes.values())
    return [
        *(
            Target(
                f"{DELIVERIES:,} deliveries, {name}",
                f"under {wanted} s",
                f"{(scaled := each.seconds * DELIVERIES / count):.0f} s",
                scaled < wanted,
            )
            for name, each, wanted in (
                ("mandates", mandates, WANTED_MANDATE_SECONDS),
                ("invoices", invoices, WANTED_INVOICE_SECONDS),
            )
        ),
        Target(
            "charging one product against a hundred",
            f"within {WANTED_DIFFERENCE:.0%}",
            f"{difference:.0%}",
            difference < WANTED_DIFFERENCE,
        ),
        Target(
            "memory while charging",
            f"grows by less than {WANTED_GROWTH_MIB} MiB",
            f"{growth:.0f} MiB",
            growth < WANTED_GROWTH_MIB,
        ),
    ]


async def _charged(count: int, *, products: int, has_mandates: bool) -> Charged:
    # The day that has begun and is not over yet, at any hour.
    day = datetime.now(INDIA).date()
    async with AsyncExitStack() as stack:
        database_url = await open_database(stack)
        database = Database(database_url, application_name="indostar bench", pool_size=1)
        await make_shop(database, count, products, has_mandates=has_mandates, day=day)
        await database.close()
        gateway = await stack.enter_async_context(open_provider("bench.gateway"))
        environment = {
            "RAZORPAY_BASE_URL": gateway.url,
            "SUBSCRIPTIONS_CONCURRENCY": str(SHAPE.slots),
            # Where it begins first.
            "SCHEDULE_TIMEZONE": "Asia/Kolkata",
        }
        trial = await stack.enter_async_context(
            open_trial(OUR_CHARGES, SHAPE, provider_url=gateway.url, database_url=database_url, environment=environment)
        )
        workers = await stack.enter_async_context(trial.workers())
        connection = await asyncpg.connect(database_url, ssl=False)
        stack.push_async_callback(connection.close)
        before, valkey_before, began = workers.usage(), trial.valkey_usage(), time.monotonic()
        await _start(trial.valkey.url, day)
        early = await _until(connection, count // 10, workers)
        last = await _until(connection, count, workers)
        seconds = time.monotonic() - began
        used, valkey_used = last.since(before), trial.valkey_usage().since(valkey_before)
    return Charged(
        seconds,
        used.cpu_seconds / count * 1e6,
        valkey_used.cpu_seconds / count * 1e6,
        early.peak_mib,
        used.peak_mib,
    )


async def _start(redis_url: str, day: date) -> None:
    pool = JobPool.from_dsn(redis_url, TASKS)
    await pool.enqueue_job("process_due_subscriptions", delivery_date=day)
    await pool.aclose()


async def _until(connection: "asyncpg.Connection[asyncpg.Record]", count: int, workers: Workers) -> Usage:
    """What the workers have taken once so many are captured."""
    async with asyncio.timeout(WITHIN):
        while await connection.fetchval(_CAPTURED) < count:
            workers.check()
            await asyncio.sleep(LOOK)
    return workers.usage()


async def _bare(sender: str, count: int) -> float:
    """Deliveries a second by a process that makes nothing but the calls."""
    shape = Shape(1, SHAPE.processes * SHAPE.slots)
    async with (
        open_provider("bench.gateway") as gateway,
        open_trial(OUR_CHARGES, shape, provider_url=gateway.url) as trial,
    ):
        await trial.produce("fill", "charge", count, shape.slots, sender=sender)
        return (await gateway.seen()).per_second
