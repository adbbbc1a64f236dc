"""A midnight run of the demo shop: what became of its deliveries, whether it adds up, and that it happens once."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table
from sqlalchemy import Row, text

from app.db.engine import Database
from app.india import INDIA
from app.jobs.pool import JobPool
from app.money import rupees_of
from app.tasks.subscriptions import midnight_run

WITHIN_SECONDS = 60

_OUTCOMES = text("""
    SELECT way, state, reason, count(*) AS deliveries, CAST(sum(amount_paise) AS bigint) AS paise,
        count(order_id) AS orders, CAST(sum(units_held) AS integer) AS units
    FROM tasks.charges WHERE delivery_date = :day GROUP BY way, state, reason ORDER BY state, way, reason
""")
_UNDER_WAY = text("""
    SELECT count(*) FROM tasks.charges
    WHERE delivery_date = :day AND state IN ('planned', 'notified', 'submitting')
""")
_PAID = text("""
    SELECT count(*) AS orders, coalesce(sum(o.final_amount), 0) AS rupees FROM orders o
    WHERE o.payment_status = 'paid' AND EXISTS (
        SELECT FROM tasks.charges c WHERE c.delivery_date = :day AND c.order_id = o.id
    )
""")
_EVERYTHING = text("""
    SELECT (SELECT md5(string_agg(CAST(c AS text), '|' ORDER BY delivery_date, subscription_id)) FROM tasks.charges c),
        (SELECT md5(string_agg(CAST(o AS text), '|' ORDER BY id)) FROM orders o),
        (SELECT md5(string_agg(CAST(p AS text), '|' ORDER BY id)) FROM payments p),
        (SELECT sum(stock_quantity) FROM products)
""")


async def run_demo_midnight(pool: JobPool, database: Database, environment: Mapping[str, str]) -> bool:
    """Runs today's deliveries twice and prints what became of them; whether they add up and came once."""
    day = datetime.now(INDIA).date()
    before = await _read(database, _OUTCOMES, day)
    await _run(pool, database, day)
    outcomes, [paid] = await _read(database, _OUTCOMES, day), await _read(database, _PAID, day)
    faults = _faults(outcomes, paid)
    if not before:
        # The fakes forget with each start what they took.
        faults += await _faults_with(environment["RAZORPAY_BASE_URL"], outcomes, day)
    first = await _read(database, _EVERYTHING, None)
    await _run(pool, database, day)
    if await _read(database, _EVERYTHING, None) != first:
        faults.append("a second run of the same day changed something")
    _show(day, outcomes, faults)
    return not faults


async def _run(pool: JobPool, database: Database, day: date) -> None:
    """Returns once each of the day's deliveries is paid, refused, skipped, or left to the bank."""
    job = await midnight_run.enqueue(pool, delivery_date=day)
    if job is None:
        raise RuntimeError("a job without an id of its own was refused")
    await job.result(timeout=WITHIN_SECONDS, poll_delay=0.05)
    give_up_at = time.monotonic() + WITHIN_SECONDS
    while (await _read(database, _UNDER_WAY, day))[0][0]:
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"not every delivery of {day} was charged within {WITHIN_SECONDS} s")
        await asyncio.sleep(0.1)


async def _read(database: Database, question: Any, day: date | None) -> Sequence[Row[Any]]:
    async with database.session() as session:
        return (await session.execute(question, {} if day is None else {"day": day})).all()


def _faults(outcomes: Sequence[Row[Any]], paid: Row[Any]) -> list[str]:
    """What the shop's books say otherwise than the ledger of charges."""
    captured = [row for row in outcomes if row.state == "captured"]
    expected = sum(row.deliveries for row in captured), rupees_of(sum(row.paise for row in captured))
    if (paid.orders, paid.rupees) == expected:
        return []
    return [f"{paid.orders} orders of Rs {paid.rupees} are paid, and {expected[0]} charges of Rs {expected[1]}"]


async def _faults_with(fakes_url: str, outcomes: Sequence[Row[Any]], day: date) -> list[str]:
    """What the fake Razorpay took otherwise than the ledger says."""
    async with httpx.AsyncClient(base_url=fakes_url, trust_env=False) as fakes:
        answer = (await fakes.get("/razorpay/captured")).raise_for_status().json()
    ours = [each for each in answer["payments"] if f"-{day:%Y%m%d}" in (each["receipt"] or "")]
    taken = len(ours), sum(each["amount"] for each in ours)
    by_mandate = [row for row in outcomes if (row.way, row.state) == ("mandate", "captured")]
    expected = sum(row.deliveries for row in by_mandate), sum(row.paise for row in by_mandate)
    return [] if taken == expected else [f"the gateway took {taken}, the ledger says {expected} (charges, paise)"]


def _show(day: date, outcomes: Sequence[Row[Any]], faults: Sequence[str]) -> None:
    table = Table(title=f"The deliveries of {day}", box=None)
    for column in ("Outcome", "Way", "Reason"):
        table.add_column(column)
    for column in ("Deliveries", "Rupees", "Orders"):
        table.add_column(column, justify="right")
    for row in outcomes:
        rupees = rupees_of(row.paise)
        table.add_row(row.state, row.way, row.reason or "", str(row.deliveries), str(rupees), str(row.orders))
    console = Console(width=130)
    console.print(table)
    total = sum(row.deliveries for row in outcomes)
    verdict = "; ".join(faults) if faults else "paid orders, charges and what the gateway took agree"
    console.print(f"{total} deliveries; {'[red]' if faults else ''}{verdict}")
