"""The demo shop's customers at the fake Razorpay: their mandates and subscriptions, and what their banks will say."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

import httpx
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.engine import Database
from app.india import INDIA

# Two of three customers have given a mandate; the others' deliveries Razorpay bills by the week.
_GIVE_MANDATES = text("""
    INSERT INTO tasks.mandates (subscription_id, customer_id, token_id, method)
    SELECT id, 'cust_demo' || user_id, 'token_demo' || id, 'upi' FROM subscriptions WHERE id % 3 <> 0
    ON CONFLICT (subscription_id) DO NOTHING
""")
_MANDATES = text("SELECT subscription_id, customer_id, token_id FROM tasks.mandates ORDER BY subscription_id")
_BILLED = text("""
    SELECT s.id, s.razorpay_subscription_id, s.user_id,
        CAST(100 * CASE u.role WHEN 'distributor' THEN p.distributor_price ELSE p.consumer_price END AS integer)
            AS paise,
        CASE s.plan_frequency WHEN 'daily' THEN 7 WHEN 'alternate_days' THEN 4 ELSE 1 END AS deliveries
    FROM subscriptions s JOIN users u ON u.id = s.user_id JOIN products p ON p.id = s.product_id
    WHERE s.status = 'active' AND NOT EXISTS (SELECT FROM tasks.mandates m WHERE m.subscription_id = s.id)
    ORDER BY s.id
""")
# So few customers have no money, and so few banks take their time; one in so many weeks is not paid yet.
_POOR, _SLOW, _UNPAID, _HALTED = 9, 10, 5, 11
# A line that is cut after a charge, a bank that does not answer, and too many requests.
_FAULTS = (
    {"provider": "razorpay", "on": "charge", "kind": "dropped_after", "times": 2},
    {"provider": "razorpay", "on": "charge", "kind": "failure", "status": 502, "takes_effect": True, "times": 1},
    {"provider": "razorpay", "on": "order", "kind": "failure", "status": 429, "retry_after": 1, "times": 1},
)


async def open_accounts(database_url: str, fakes_url: str) -> None:
    """Has the fake Razorpay know everybody, as it does not remember an earlier start."""
    today = datetime.now(INDIA).date()
    database = Database(database_url, application_name="indostar demo", pool_size=1)
    try:
        async with database.session() as session, httpx.AsyncClient(base_url=fakes_url, trust_env=False) as fakes:
            mandates = await _mandates(session)
            await _post(fakes, "/razorpay/mandates", [_account(row) for row in mandates])
            for row in await session.execute(_BILLED):
                await _bill(fakes, row, today)
            for row in mandates:
                await _decide(fakes, row.subscription_id, row.token_id)
            # What is not decided on otherwise is paid at once, though nobody announced it.
            await _post(fakes, "/razorpay/fates", {"becomes": "captured"})
            for fault in _FAULTS:
                await _post(fakes, "/faults", fault)
    finally:
        await database.close()


async def _mandates(session: AsyncSession) -> Sequence[Row[Any]]:
    await session.execute(_GIVE_MANDATES)
    return (await session.execute(_MANDATES)).all()


def _account(row: Row[Any]) -> dict[str, str]:
    return {"customer_id": row.customer_id, "token_id": row.token_id}


async def _bill(fakes: httpx.AsyncClient, row: Row[Any], today: date) -> None:
    subscription_id = row.razorpay_subscription_id
    account = {"id": subscription_id, "customer_id": f"cust_demo{row.user_id}"}
    (await fakes.put("/razorpay/subscriptions", json=account)).raise_for_status()
    week = {
        "amount": max(100, row.paise * row.deliveries),
        "billing_start": datetime.combine(today, time(), INDIA).isoformat(),
        "billing_end": datetime.combine(today + timedelta(days=7), time(), INDIA).isoformat(),
        "paid": row.id % _UNPAID != 0 and row.id % _HALTED != 0,
    }
    await _post(fakes, f"/razorpay/subscriptions/{subscription_id}/invoices", week)
    if row.id % _HALTED == 0:
        halted = account | {"status": "halted"}
        (await fakes.put("/razorpay/subscriptions", json=halted)).raise_for_status()


async def _decide(fakes: httpx.AsyncClient, subscription_id: int, token_id: str) -> None:
    if subscription_id % _POOR == 1:
        fate = {"becomes": "failed", "reason": "insufficient_funds", "of": token_id}
        await _post(fakes, "/razorpay/fates", fate)
    elif subscription_id % _SLOW == 1:
        await _post(fakes, "/razorpay/fates", {"becomes": "created", "of": token_id})


async def _post(fakes: httpx.AsyncClient, path: str, body: Any) -> None:
    (await fakes.post(path, json=body)).raise_for_status()
