"""Taking up again what the jobs of a day have left behind: they can die, and their patience ends."""

from datetime import date, datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.billing.settling import LOOK_IS_LOST_AFTER
from app.db.charges import ChargeState
from app.db.engine import Database
from app.db.shop import SubscriptionId
from app.deliveries.days import end_of_day

# The tasks that charge a delivery, and that sweep a day; they stand above this package.
CHARGING: Final = "process_single_subscription"
SWEEPING: Final = "sweep_charges"
# Charges in one transaction.
PAGE = 2000
# At which its job still is; what is pending or unknown is looked at when its time comes.
_UNSETTLED: Final[tuple[ChargeState, ...]] = ("planned", "notified", "submitting")
_SWEEP = text(f"""
    WITH left_behind AS (
        SELECT subscription_id, delivery_date FROM tasks.charges
        WHERE delivery_date = :day AND subscription_id > :after AND (state IN {_UNSETTLED} OR next_look_at < :late)
        ORDER BY subscription_id LIMIT :most
    ), enqueued AS (
        INSERT INTO tasks.outbox (task, kwargs, key)
        SELECT CAST(:task AS text),
            jsonb_build_object('subscription_id', subscription_id, 'delivery_date', delivery_date),
            concat_ws(':', 'delivery', subscription_id, delivery_date, 'left', CAST(:today AS date))
        FROM left_behind ORDER BY subscription_id
        ON CONFLICT (key) DO NOTHING
    )
    SELECT count(*), max(subscription_id) FROM left_behind
""")  # noqa: S608 -- our own states
# Looks can be lost as well, of what is open and of what was refused or skipped and may turn out to be paid.
_IS_LEFT = text(f"""
    SELECT EXISTS (
        SELECT FROM tasks.charges
        WHERE delivery_date = :day AND (state IN {_UNSETTLED} OR next_look_at IS NOT NULL)
    )
""")  # noqa: S608 -- our own states
_HAVE_SWEPT = text("""
    INSERT INTO tasks.outbox (task, kwargs, key, not_before)
    VALUES (:task, jsonb_build_object('delivery_date', CAST(:day AS date)), 'sweep:' || CAST(:day AS date), :ends)
    ON CONFLICT (key) DO NOTHING
""")


async def have_swept(session: AsyncSession, day: date) -> None:
    """Writes the job that sweeps that day when it is over, with the first that is planned of it."""
    await session.execute(_HAVE_SWEPT, {"task": SWEEPING, "day": day, "ends": end_of_day(day)})


async def sweep(database: Database, day: date, now: datetime) -> int:
    """Enqueues the charging of all of that day that nobody is at any more; how many they are.

    Its day has to be over, so that nothing is paid by it that is not paid yet. Called again on the same day it finds
    the same, and enqueues nothing.
    """
    total, after = 0, SubscriptionId(0)
    count: int
    while True:
        parameters = {
            "day": day,
            "after": after,
            "late": now - LOOK_IS_LOST_AFTER,
            "most": PAGE,
            "task": CHARGING,
            "today": now.date(),
        }
        async with database.session() as session:
            count, last = (await session.execute(_SWEEP, parameters)).one()
        total += count
        if count < PAGE:
            return total
        after = last


async def is_left(database: Database, day: date) -> bool:
    """Whether any charge of that day is still to be moved, now or by a look that is to come."""
    async with database.session() as session:
        return bool(await session.scalar(_IS_LEFT, {"day": day}))
