"""The database's clock."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from sqlalchemy import DateTime, func, select
from sqlalchemy.ext.asyncio import AsyncSession

# Says what time it is, in UTC.
Clock = Callable[[AsyncSession], Awaitable[datetime]]


async def database_time(session: AsyncSession) -> datetime:
    """The database's clock, which all workers share: now, not when the transaction began."""
    return (await session.scalars(select(func.clock_timestamp(type_=DateTime(timezone=True))))).one()
