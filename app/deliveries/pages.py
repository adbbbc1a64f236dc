"""Going through all subscriptions page by page, in the order of their ids."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.shop import SubscriptionId
from app.deliveries.decisions import IS_DUE, Terms

# Subscriptions in one transaction. More of them are hardly faster, and hold their rows and the products' for longer.
PAGE = 2000

# Begins a transaction that sees one state of the database in all its statements, and in which nothing can be written.
ONE_STATE = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

# The next subscriptions whether due or not: each is looked at once, by the primary key, whatever the statistics say.
_NEXT = text(
    f"""
    SELECT max(s.id), array_agg(s.id ORDER BY s.id) FILTER (WHERE {IS_DUE})
    FROM (SELECT * FROM subscriptions WHERE id > :after ORDER BY id LIMIT :most) AS s
    """  # noqa: S608 -- our own condition
)
# What is due, wherever it stands.
_NEXT_DUE = text(
    f"""
    SELECT array_agg(id ORDER BY id)
    FROM (SELECT s.id FROM subscriptions s WHERE s.id > :after AND {IS_DUE} ORDER BY s.id LIMIT :most) AS page
    """  # noqa: S608 -- our own condition
)
_FREE = text(
    "SELECT id FROM subscriptions WHERE id = ANY(CAST(:ids AS integer[])) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"
)


class Page(NamedTuple):
    """Those of the subscriptions up to the id `last` that are due."""

    last: SubscriptionId
    due: Sequence[SubscriptionId]


async def next_page(session: AsyncSession, terms: Terms, after: SubscriptionId, most: int) -> Page | None:
    """What is due of the next so many subscriptions behind the id `after`; None where there are none."""
    last, due = (await session.execute(_NEXT, {**terms.parameters, "after": after, "most": most})).one()
    return None if last is None else Page(last, due or [])


async def next_due(session: AsyncSession, terms: Terms, after: SubscriptionId, most: int) -> Page | None:
    """The next so many that are due behind the id `after`; None where there are none. It looks at all of them."""
    due = await session.scalar(_NEXT_DUE, {**terms.parameters, "after": after, "most": most})
    return Page(due[-1], due) if due else None


async def free_of(session: AsyncSession, ids: Sequence[SubscriptionId]) -> Sequence[SubscriptionId]:
    """Those of the subscriptions that nobody holds; they stay locked until the transaction ends."""
    return list(await session.scalars(_FREE, {"ids": ids})) if ids else []
